package conversion

import (
	"errors"
	"testing"
	"time"
)

// One launch carries two conversions. The first passes it on to the second, and
// from then on neither ends it.
func TestCarried(t *testing.T) {
	first, second := at(t, Done), fresh(t)
	second.ID = "second"
	if err := second.Uploaded(uploaded(second), epoch); err != nil {
		t.Fatal(err)
	}
	if !first.OwnsLaunch() || first.LaunchRef() != (AttemptRef{first.ID, 1}) {
		t.Errorf("before: launch %+v", first.LaunchRef())
	}
	for range 2 { // the answer was lost, and the work is claimed with the same nonce
		if err := first.PassOn(1, nonce, AttemptRef{second.ID, 1}, epoch); err != nil && !errors.Is(err, ErrUnchanged) {
			t.Fatal(err)
		}
		if err := second.BeginCarried(1, "second nonce", carrier, policy, epoch); err != nil && !errors.Is(err, ErrUnchanged) {
			t.Fatal(err)
		}
	}
	if err := first.PassOn(1, nonce, AttemptRef{"third", 1}, epoch); !errors.Is(err, ErrUnchanged) || first.Next.ConversionID != second.ID {
		t.Errorf("passed on twice: %v, %+v", err, first.Next)
	}
	if first.OwnsLaunch() || second.OwnsLaunch() || second.LaunchRef() != carrier.Launch || !second.Current(1, "second nonce") ||
		second.Launches != 1 || second.ClaimedAt.IsZero() {
		t.Errorf("carried: %+v", second)
	}
	other := carrier
	other.Launch.ConversionID = "another launch"
	for name, err := range map[string]error{
		"another nonce":  second.BeginCarried(1, "other nonce", carrier, policy, epoch),
		"another launch": second.BeginCarried(1, "second nonce", other, policy, epoch),
		"postponed":      second.Postpone(1, epoch),
	} {
		if !errors.Is(err, ErrStaleAttempt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	launched := at(t, Queued)
	if err := launched.Begin(1, policy, epoch); err != nil {
		t.Fatal(err)
	}
	if err := launched.BeginCarried(1, nonce, carrier, policy, epoch); !errors.Is(err, ErrStaleAttempt) {
		t.Errorf("carried although launched by itself: %v", err)
	}

	// Canceling the second conversion ends its attempt, and the launch goes on.
	if err := errors.Join(second.Cancel(epoch), second.PassOn(1, "second nonce", AttemptRef{"third", 1}, epoch)); err != nil {
		t.Errorf("pass on when canceled: %v", err)
	}
	// The next attempt has a launch of its own.
	if err := errors.Join(second.Retry(window, epoch), second.Begin(2, policy, epoch)); err != nil {
		t.Fatal(err)
	}
	if !second.OwnsLaunch() || second.LaunchRef() != (AttemptRef{second.ID, 2}) {
		t.Errorf("retried: %+v, %+v", second.Carrier, second.Next)
	}
}

func TestBudget(t *testing.T) {
	c := at(t, Queued)
	now := epoch
	// The pause after a counted failure grows each time. Disruptions in between
	// do not count, and the third counted failure is final.
	for i, step := range []struct {
		outcome Outcome
		state   State
		pause   time.Duration
	}{
		{Counted, Queued, 5 * time.Second},
		{Disrupted, Queued, 0},
		{Counted, Queued, 10 * time.Second},
		{Disrupted, Queued, 0},
		{Counted, Failed, 0},
	} {
		n := i + 1
		if err := c.Begin(n, policy, now); err != nil {
			t.Fatal(err)
		}
		if err := c.FailAttempt(n, Failure{CodeCrashed, "It crashed."}, step.outcome, policy, now); err != nil {
			t.Fatal(err)
		}
		var notBefore time.Time
		if step.pause > 0 {
			notBefore = now.Add(step.pause)
		}
		if c.State != step.state || !c.NotBefore.Equal(notBefore) {
			t.Fatalf("after attempt %d: %s, not before %s, want %s, %s", n, c.State, c.NotBefore, step.state, notBefore)
		}
		now = now.Add(time.Hour)
	}
	if c.Notice.State != NoticeOwed || c.Notice.Attempt != 5 || c.CleanAt.IsZero() {
		t.Errorf("failed: notice %+v, clean at %s", c.Notice, c.CleanAt)
	}
	if err := c.Retry(window, now); err != nil || c.Failures != 0 || c.Launches != 0 || c.Attempt != 5 || c.Notice != (Notice{}) {
		t.Fatalf("retry: %v, %+v", err, c)
	}
	for n := 6; ; n++ {
		if err := errors.Join(c.Begin(n, policy, now), c.FailAttempt(n, Failure{}, Disrupted, policy, now)); err != nil {
			t.Fatal(err)
		}
		if c.State == Failed {
			if c.Launches != policy.MaxLaunches {
				t.Errorf("given up after %d launches, want %d", c.Launches, policy.MaxLaunches)
			}
			return
		}
	}
}

func TestBackoffIsBounded(t *testing.T) {
	p := policy
	p.MaxAttempts, p.MaxLaunches, p.Backoff, p.MaxBackoff = 100, 100, time.Hour, 24*time.Hour
	c := at(t, Queued)
	for n := 1; n < p.MaxAttempts; n++ {
		if err := errors.Join(c.Begin(n, p, epoch), c.FailAttempt(n, Failure{}, Counted, p, epoch)); err != nil {
			t.Fatal(err)
		}
		if pause := c.NotBefore.Sub(epoch); pause < p.Backoff || pause > p.MaxBackoff {
			t.Fatalf("pause of %s after %d failures", pause, n)
		}
	}
}

func TestPostpone(t *testing.T) {
	c := at(t, Queued)
	queuedAt := c.QueuedAt
	later := epoch.Add(time.Minute)
	if err := errors.Join(c.Begin(1, policy, later), c.Postpone(1, later)); err != nil {
		t.Fatal(err)
	}
	if c.State != Queued || c.Attempt != 0 || c.Launches != 0 || !c.QueuedAt.Equal(queuedAt) || len(c.Outbox) != 0 {
		t.Errorf("postponed: %+v", c)
	}
	if err := c.Begin(1, policy, later); err != nil {
		t.Errorf("begin again: %v", err)
	}
}

// gpu returns a queued conversion of class gpu.
func gpu(t *testing.T) *Conversion {
	t.Helper()
	c, err := New(Params{OwnerID: "u1", OwnerEmail: "a@example.org", Size: 100, UploadWindow: window,
		Options: Options{Cover: CoverPoster}}, epoch)
	if err := errors.Join(err, c.Uploaded(uploaded(&c), epoch)); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestFallBack(t *testing.T) {
	c := gpu(t)
	if err := errors.Join(c.Begin(1, policy, epoch), c.FailAttempt(1, Failure{}, Counted, policy, epoch)); err != nil {
		t.Fatal(err)
	}
	pause, later := c.NotBefore, epoch.Add(time.Second)
	if c.Class != GPU || !c.SettledWake(later).Equal(pause.Add(30*time.Second)) {
		t.Errorf("class %s, next look at %s after a pause until %s", c.Class, c.SettledWake(later), pause)
	}
	if err := c.FallBack(FallbackWaited, later); err != nil {
		t.Fatal(err)
	}
	want := Fallback{From: GPU, Reason: FallbackWaited, At: later}
	if c.Class != CPU || *c.Fallback != want || c.State != Queued || c.Attempt != 1 || c.Failures != 1 ||
		!c.QueuedAt.Equal(epoch) || !c.NotBefore.Equal(pause) {
		t.Errorf("fell back: %+v", c)
	}
	if m := c.Outbox; len(m) != 1 || m[0] != (Message{Kind: Work, Attempt: 2, NotBefore: pause}) {
		t.Errorf("its work: %v", m)
	}
	if got, want := c.SettledWake(later), pause.Add(10*time.Minute); !got.Equal(want) {
		t.Errorf("next look at %s, want %s", got, want)
	}
	if err := c.FallBack(FallbackWaited, later); !errors.Is(err, ErrUnchanged) {
		t.Errorf("again: %v", err)
	}
}

// If an attempt cannot be started on a GPU, that is not the file's fault, and
// the conversion goes on without one. The attempt still counts as a launch.
func TestFailStart(t *testing.T) {
	c := gpu(t)
	failure := Failure{CodeLaunchFailed, "It did not start."}
	if err := errors.Join(c.Begin(1, policy, epoch), c.FailStart(1, failure, policy, epoch)); err != nil {
		t.Fatal(err)
	}
	if c.State != Queued || c.Class != CPU || c.Fallback == nil || c.Fallback.Reason != FallbackWaited ||
		c.Failures != 0 || c.Launches != 1 || !c.NotBefore.IsZero() || *c.Error != failure {
		t.Errorf("on a GPU: %+v", c)
	}
	if err := errors.Join(c.Begin(2, policy, epoch), c.FailStart(2, failure, policy, epoch)); err != nil {
		t.Fatal(err)
	}
	if c.State != Queued || c.Failures != 1 || c.NotBefore.IsZero() {
		t.Errorf("then on a CPU: %+v", c)
	}

	c = gpu(t)
	p := policy
	p.MaxLaunches = 1
	if err := errors.Join(c.Begin(1, p, epoch), c.FailStart(1, failure, p, epoch)); err != nil {
		t.Fatal(err)
	}
	if c.State != Failed || c.Fallback != nil {
		t.Errorf("at the end of the budget: %s, %+v", c.State, c.Fallback)
	}
}

// The owner's retry asks for a GPU again, and the wait for it begins anew.
func TestRetryAfterFallBack(t *testing.T) {
	c := gpu(t)
	later := epoch.Add(time.Hour)
	if err := errors.Join(c.FallBack(FallbackWaited, epoch), c.Cancel(epoch), c.Retry(window, later)); err != nil {
		t.Fatal(err)
	}
	if c.Class != GPU || c.Fallback != nil || !c.QueuedAt.Equal(later) || !c.WakeAt.Equal(later.Add(5*time.Second)) {
		t.Errorf("retried: %+v", c)
	}
}

// The wait begins once, however many attempts fail in between.
func TestQueuedAt(t *testing.T) {
	c, now := gpu(t), epoch
	for n := 1; n <= 4; n++ {
		now = now.Add(time.Minute)
		if err := errors.Join(c.Begin(n, policy, now), c.FailAttempt(n, Failure{}, Disrupted, policy, now)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.Begin(5, policy, now), c.Postpone(5, now)); err != nil {
		t.Fatal(err)
	}
	if !c.QueuedAt.Equal(epoch) {
		t.Errorf("queued at %s, want %s", c.QueuedAt, epoch)
	}
}
