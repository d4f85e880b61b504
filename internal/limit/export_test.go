package limit

const MostKeys = mostKeys

// Keys counts the budgets that are kept.
func (m *Memory) Keys() int { return len(m.full) }
