package encode

// steps joins the progress of several runs over the same audio. The joined
// progress only grows, up to the audio's length.
type steps struct {
	report func(seconds float64) // nil for nobody

	length      float64 // seconds that the first run made
	base        float64 // progress of the runs before
	last, share float64 // of the present run
	best        float64
}

// next begins another run, which is a share of the whole work.
func (s *steps) next(share float64) func(seconds float64) {
	if s.base += s.last * s.share; s.length == 0 {
		s.length = s.last
	}
	s.last, s.share = 0, share
	return func(seconds float64) {
		s.last = seconds
		at := s.base + seconds*share
		if s.length > 0 {
			at = min(at, s.length)
		}
		if s.report != nil && at > s.best {
			s.best = at
			s.report(at)
		}
	}
}

// growing passes on only progress that is greater than what was reported before:
// work may have to be done anew.
func growing(report func(seconds float64)) func(seconds float64) {
	if report == nil {
		return nil
	}
	best := 0.0
	return func(seconds float64) {
		if seconds > best {
			best = seconds
			report(seconds)
		}
	}
}
