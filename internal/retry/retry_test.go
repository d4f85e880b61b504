package retry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/retry"
)

const ms = time.Millisecond

var errDown = errors.New("down")

func TestPause(t *testing.T) {
	tests := []struct {
		initial, longest time.Duration
		want             map[int]time.Duration
	}{
		{100 * ms, time.Second, map[int]time.Duration{-1: 100 * ms, 0: 100 * ms, 1: 100 * ms, 2: 200 * ms, 3: 400 * ms, 4: 800 * ms, 5: time.Second, 6: time.Second, 1 << 40: time.Second}},
		{30 * time.Second, time.Hour, map[int]time.Duration{1: 30 * time.Second, 7: 32 * time.Minute, 8: time.Hour, 1000: time.Hour}},
		{time.Minute, time.Second, map[int]time.Duration{1: time.Second, 9: time.Second}},
		{0, time.Second, map[int]time.Duration{1: 0, 1 << 40: 0}},
	}
	for _, tt := range tests {
		p := retry.Policy{Initial: tt.initial, Max: tt.longest, Jitter: 1}
		for n, want := range tt.want {
			if got := p.Pause(n); got != want {
				t.Errorf("%v to %v, failure %d: got %v, want %v", tt.initial, tt.longest, n, got, want)
			}
		}
	}
}

// pauses runs one Do. It returns the pauses, as Before saw them and as the
// clock measured them, and the error of Do.
func pauses(ctx context.Context, t *testing.T, p retry.Policy, try func(n int) error) ([]time.Duration, error) {
	t.Helper()
	var told, slept []time.Duration
	p.Before = func(err error, pause time.Duration) {
		if err == nil {
			t.Error("Before was called without an error")
		}
		told = append(told, pause)
	}
	n, last := 0, time.Now()
	err := retry.Do(ctx, p, func(context.Context) error {
		if n++; n > 1 {
			slept = append(slept, time.Since(last))
		}
		err := try(n)
		last = time.Now()
		return err
	})
	if ctx.Err() == nil && !slices.Equal(told, slept) {
		t.Errorf("told of %v, slept %v", told, slept)
	}
	return told, err
}

func TestDo(t *testing.T) {
	plain := retry.Policy{Initial: 100 * ms, Max: time.Second}
	patient := func(d time.Duration) retry.Policy { p := plain; p.Patience = d; return p }
	counting := patient(time.Second)
	counting.PausesOnly = true
	final := retry.Permanent(errDown)
	tests := []struct {
		name   string
		policy retry.Policy
		try    func(n int) error
		want   []time.Duration
		err    error
	}{
		{"at once", plain, func(int) error { return nil }, nil, nil},
		{"until it works", plain, func(n int) error {
			if n < 7 {
				return errDown
			}
			return nil
		}, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second, time.Second}, nil},
		{"permanent at once", plain, func(int) error { return final }, nil, final},
		{"permanent later", plain, func(n int) error {
			if n < 3 {
				return errDown
			}
			return fmt.Errorf("wrapped: %w", final)
		}, []time.Duration{100 * ms, 200 * ms}, final},
		{"no pause beyond patience", patient(1499 * ms), func(int) error { return errDown }, []time.Duration{100 * ms, 200 * ms, 400 * ms}, errDown},
		{"a pause up to patience", patient(1500 * ms), func(int) error { return errDown }, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms}, errDown},
		{"tries use patience up", patient(time.Second), func(int) error { time.Sleep(500 * ms); return errDown }, []time.Duration{100 * ms}, errDown},
		{"tries do not count", counting, func(int) error { time.Sleep(time.Hour); return errDown }, []time.Duration{100 * ms, 200 * ms, 400 * ms}, errDown},
		{"less patience than a pause", patient(1), func(int) error { return errDown }, nil, errDown},
		{"progress begins anew", patient(time.Second), func(n int) error {
			if n == 3 {
				return retry.Progress(errDown)
			}
			return errDown
		}, []time.Duration{100 * ms, 200 * ms, 100 * ms, 200 * ms, 400 * ms}, errDown},
		{"progress with pauses that count", counting, func(n int) error {
			if n == 4 {
				return retry.Progress(errDown)
			}
			return errDown
		}, []time.Duration{100 * ms, 200 * ms, 400 * ms, 100 * ms, 200 * ms, 400 * ms}, errDown},
		{"asked for a longer pause", plain, func(n int) error {
			switch n {
			case 1:
				return fmt.Errorf("answer 503: %w", retry.After(errDown, 7*time.Second))
			case 2:
				return retry.After(errDown, ms)
			}
			return nil
		}, []time.Duration{7 * time.Second, 200 * ms}, nil},
		{"asked for more than patience", patient(5 * time.Second), func(int) error { return retry.After(errDown, 7*time.Second) }, nil, errDown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, err := pauses(t.Context(), t, tt.policy, tt.try)
				if !slices.Equal(got, tt.want) {
					t.Errorf("pauses %v, want %v", got, tt.want)
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
			})
		})
	}
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{Initial: time.Second, Max: time.Second, Jitter: 0.5, Patience: time.Hour}
		got, _ := pauses(t.Context(), t, p, func(int) error { return errDown })
		low, high := slices.Min(got), slices.Max(got)
		if low < time.Second || high >= 1500*ms {
			t.Errorf("pauses from %v to %v, want 1 to 1.5 s", low, high)
		}
		if low > 1100*ms || high < 1400*ms {
			t.Errorf("%d pauses from %v to %v, want them spread from 1 to 1.5 s", len(got), low, high)
		}
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	errStop := errors.New("stop")
	p := retry.Policy{Initial: time.Second, Max: time.Second}
	both := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, errStop) || !errors.Is(err, errDown) || err.Error() != "stop; last: down" {
			t.Errorf("got %v, want both errors", err)
		}
	}
	t.Run("in a pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(2500*ms, func() { cancel(errStop) })
			start := time.Now()
			got, err := pauses(ctx, t, p, func(int) error { return errDown })
			both(t, err)
			if took := time.Since(start); took != 2500*ms || len(got) != 3 {
				t.Errorf("ended after %v in pause %d, want 2.5 s and 3", took, len(got))
			}
		})
	})
	t.Run("in a try", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		got, err := pauses(ctx, t, p, func(int) error { cancel(errStop); return errDown })
		both(t, err)
		if len(got) != 0 {
			t.Errorf("told of a pause although the context had ended")
		}
	})
	t.Run("by the try's error", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := pauses(ctx, t, p, func(int) error { cancel(errStop); return fmt.Errorf("call: %w", errStop) })
		if err == nil || err.Error() != "call: stop" {
			t.Errorf("got %v, want the cause once", err)
		}
	})
	t.Run("before the first try", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		tried := false
		if _, err := pauses(ctx, t, p, func(int) error { tried = true; return nil }); err != nil || !tried {
			t.Errorf("got %v, tried %t; want one try", err, tried)
		}
	})
}

func TestForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{Initial: time.Second, Max: time.Second, Patience: time.Minute}
		n := 0
		err := retry.Forever(t.Context(), p, func(context.Context) error {
			if n++; n < 100 {
				return retry.Permanent(errDown)
			}
			return nil
		})
		if err != nil || n != 100 {
			t.Errorf("got %v after %d tries, want 100", err, n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err = retry.Forever(ctx, p, func(context.Context) error { return errDown })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) {
			t.Errorf("got %v, want both errors", err)
		}
	})
}
