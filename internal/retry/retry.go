// Package retry repeats calls that may succeed later. It holds the schedule of
// the pauses, and what an error says about a further try: that none can help
// ([Permanent]), how long the other side wants to be left alone ([After]), or
// that the try got further than the one before ([Progress]). Marks do not change
// an error's text, and errors.Is and errors.As look through them.
package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Policy says how long the pauses between tries are, and when to give up.
//
// The first pause is Initial; each further one is twice the one before, up to
// Max. Jitter then makes each longer by chance, so that clients that failed
// together do not come back together. With Initial 100 ms, Max 1 s and Jitter
// 0.5 the pauses are
//
//	after failure     1        2        3        4        5, 6, …
//	pause, ms      100–150  200–300  400–600  800–1200  1000–1500
//
// A server that asks for a longer pause gets it; see [After].
type Policy struct {
	Initial time.Duration // the first pause; above 0
	Max     time.Duration // the longest pause, without jitter
	Jitter  float64       // each pause is longer by up to this share of it; 0 for none
	// Patience is how long Do goes on, counted from the first try or from the
	// last progress. A pause that would end later is not begun. 0 means no
	// limit.
	Patience time.Duration
	// PausesOnly: only the pauses count towards Patience. It is for tries that
	// take long because they move much data.
	PausesOnly bool
	// Before is called before each pause with the try's error; may be nil.
	Before func(err error, pause time.Duration)
}

// Pause returns the pause after the nth failure in a row, counted from 1,
// without jitter. It is for those who keep the count elsewhere, such as in a
// record.
func (p Policy) Pause(n int) time.Duration {
	pause := p.Initial
	for i := 1; i < n && 0 < pause && pause < p.Max; i++ {
		pause = min(2*pause, p.Max)
	}
	return min(pause, p.Max)
}

// Do calls try, at least once, until it succeeds. It gives up when an error is
// permanent or Patience is used up, and returns that error. When ctx ends it
// returns an error that wraps both ctx's cause and the last error.
func Do(ctx context.Context, p Policy, try func(context.Context) error) error {
	return do(ctx, p, try, IsPermanent)
}

// Forever is Do without Patience, and tries again even after permanent errors.
// It is for services that wait for their neighbours. It fails only when ctx
// ends, with the same error as Do.
func Forever(ctx context.Context, p Policy, try func(context.Context) error) error {
	p.Patience = 0
	return do(ctx, p, try, func(error) bool { return false })
}

func do(ctx context.Context, p Policy, try func(context.Context) error, final func(error) bool) error {
	since, paused := time.Now(), time.Duration(0)
	for n := 1; ; n++ {
		err := try(ctx)
		switch {
		case err == nil || final(err):
			return err
		case ctx.Err() != nil:
			return ended(ctx, err)
		case progressed(err):
			n, since, paused = 1, time.Now(), 0
		}
		pause := p.Pause(n)
		pause = max(pause+time.Duration(rand.Float64()*p.Jitter*float64(pause)), asked(err))
		spent := time.Since(since)
		if p.PausesOnly {
			spent = paused
		}
		if p.Patience > 0 && spent+pause > p.Patience {
			return err
		}
		paused += pause
		if p.Before != nil {
			p.Before(err, pause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ended(ctx, err)
		}
	}
}

// ended returns the error of a Do whose ctx has ended; last is the error of the
// last try.
func ended(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if errors.Is(last, cause) {
		return last
	}
	return fmt.Errorf("%w; last: %w", cause, last)
}
