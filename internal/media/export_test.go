package media

// Plain returns the spec for a conversion that never begins on a guess.
func (s Spec) Plain() Spec {
	s.plain = true
	return s
}
