package limit

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// mostKeys is how many budgets, and how many marks, a Memory keeps at once.
const mostKeys = 100_000

// Memory is a Store for one process. It never fails.
type Memory struct {
	now   func() time.Time
	mu    sync.Mutex
	full  map[string]time.Time // when a budget will be full again
	marks map[string]time.Time // when a mark ends
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty Memory with this clock.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, full: map[string]time.Time{}, marks: map[string]time.Time{}}
}

// Take implements Store. It keeps for each budget the time at which it will be
// full again, and adds to that what one try costs (GCRA, the generic cell rate
// algorithm).
func (m *Memory) Take(_ context.Context, budgets ...Budget) (wait time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	full := make([]time.Time, len(budgets))
	for i, b := range budgets {
		full[i] = m.fullAt(b, now)
		wait = max(wait, full[i].Add(b.Limit.Every).Sub(now)-b.Limit.whole())
	}
	if wait > 0 {
		return wait, nil
	}
	for i, b := range budgets {
		keep(m.full, b.Key, full[i].Add(b.Limit.Every), now)
	}
	return 0, nil
}

// fullAt is when a budget will be full, and not before now. If that is later than
// when all of it is taken now, the clock has gone back, and it is then.
func (m *Memory) fullAt(b Budget, now time.Time) time.Time {
	at, latest := m.full[b.Key], now.Add(b.Limit.whole())
	switch {
	case at.Before(now):
		return now
	case at.After(latest):
		m.full[b.Key] = latest
		return latest
	}
	return at
}

// whole is how long it takes until an empty budget is full.
func (l Limit) whole() time.Duration { return time.Duration(l.Burst) * l.Every }

// Return implements Store.
func (m *Memory) Return(_ context.Context, budgets ...Budget) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, b := range budgets {
		if at := m.fullAt(b, now).Add(-b.Limit.Every); at.After(now) {
			m.full[b.Key] = at
		} else {
			delete(m.full, b.Key)
		}
	}
	return nil
}

// Mark implements Store.
func (m *Memory) Mark(_ context.Context, key string, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	keep(m.marks, key, now.Add(life), now)
	return nil
}

// Marked implements Store.
func (m *Memory) Marked(_ context.Context, key string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.marks[key].After(m.now()), nil
}

// keep keeps an end. An attacker with many names must not fill the memory: what
// has ended makes room, then what ends first, which is what least was taken from.
func keep(ends map[string]time.Time, key string, end, now time.Time) {
	if _, known := ends[key]; !known && len(ends) >= mostKeys {
		order := make([]int64, 0, len(ends))
		for _, end := range ends {
			order = append(order, end.UnixNano())
		}
		slices.Sort(order)
		latest := max(now.UnixNano(), order[len(order)/4]) // many, so that this is rare
		maps.DeleteFunc(ends, func(_ string, end time.Time) bool { return end.UnixNano() <= latest })
	}
	ends[key] = end
}
