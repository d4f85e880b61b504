package media

import (
	"bufio"
	"bytes"
	"strconv"
	"time"
)

// progressReader reads ffmpeg's -progress output: lines of key=value.
type progressReader struct {
	report func(seconds float64) // nil for nobody
	line   []byte
}

func (p *progressReader) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if len(p.line)+len(b) < bufio.MaxScanTokenSize {
				p.line = append(p.line, b...)
			}
			return n, nil
		}
		line := append(p.line, b[:i]...)
		if v, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("out_time_us=")); ok && p.report != nil {
			if us, err := strconv.ParseInt(string(v), 10, 64); err == nil && us >= 0 {
				p.report(float64(us) / 1e6)
			}
		}
		p.line, b = p.line[:0], b[i+1:]
	}
}

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

// human writes seconds as a person would.
func human(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// exact writes seconds with all digits that the options can have.
func exact(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond).String()
}
