package conversion

// Over 500 lines: a table of every transition in every state.

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	nonce  = "nonce"
	window = time.Hour
)

var policy = DefaultPolicy

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var carrier = Carrier{Launch: AttemptRef{"first", 1}, Files: 2, Size: 100, Until: epoch.Add(time.Hour)}

// uploaded is what the store says of a complete upload of 100 bytes.
func uploaded(c *Conversion) Object {
	return Object{Key: c.Object.Key, Version: "etag", ETag: "etag", Size: 100}
}

func fresh(t *testing.T) *Conversion {
	t.Helper()
	c, err := New(Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4",
		Size: 100, UploadWindow: window}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// at returns a conversion on its ordinary way to state: an attempt that runs is
// claimed, a failed one is the first attempt's, a canceled one was running.
func at(t *testing.T, state State) *Conversion {
	t.Helper()
	c := fresh(t)
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("reach %s: %v", state, err)
		}
	}
	switch state {
	case AwaitingUpload:
		return c
	case Expired:
		must(c.Expire(epoch.Add(window)))
		return c
	}
	must(c.Uploaded(uploaded(c), epoch))
	if state == Queued {
		return c
	}
	must(c.Begin(1, policy, epoch), c.Claim(1, nonce, policy, epoch))
	switch state {
	case Done:
		must(c.Complete(1, nonce, Source{}, MP3{}, policy, epoch))
	case Failed:
		must(c.FailAttempt(1, Failure{CodeNoAudio, "No sound."}, Final, policy, epoch))
	case Canceled:
		must(c.Cancel(epoch))
	case Deleted:
		must(c.Delete(epoch))
	}
	return c
}

// TestTransitions tries every transition in every state. Below, "=" stands for
// ErrUnchanged, "!" for ErrState, "stale" for ErrStaleAttempt, and a state for
// success.
func TestTransitions(t *testing.T) { //nolint:funlen // most of it is a table
	late := epoch.Add(2 * window)
	fail := func(o Outcome) func(*Conversion) error {
		return func(c *Conversion) error {
			return c.FailAttempt(1, Failure{CodeCrashed, "It crashed."}, o, policy, late)
		}
	}
	for name, tt := range map[string]struct {
		do   func(*Conversion) error
		want string // one word for each of States
	}{
		"uploaded": {func(c *Conversion) error { return c.Uploaded(uploaded(c), late) },
			"queued = = = = = queued ="},
		"uploaded, empty": {func(c *Conversion) error { return c.Uploaded(Object{ETag: "e"}, late) },
			"failed = = = = = failed ="},
		"uploaded, other size": {func(c *Conversion) error { return c.Uploaded(Object{ETag: "e", Size: 99}, late) },
			"failed = = = = = failed ="},
		"look":       {func(c *Conversion) error { return c.Look(late) }, "awaiting_upload = = = = = = ="},
		"expire":     {func(c *Conversion) error { return c.Expire(late) }, "expired = = = = = = ="},
		"expire now": {func(c *Conversion) error { return c.Expire(epoch) }, "! = = = = = = ="},
		"begin 1":    {func(c *Conversion) error { return c.Begin(1, policy, late) }, "stale running = stale stale stale stale stale"},
		"begin 2":    {func(c *Conversion) error { return c.Begin(2, policy, late) }, "stale stale stale stale stale stale stale stale"},
		"postpone":   {func(c *Conversion) error { return c.Postpone(1, late) }, "stale stale stale stale stale stale stale stale"},
		"extend":     {func(c *Conversion) error { return c.Extend(1, policy, late) }, "stale stale running stale stale stale stale stale"},
		"claim":      {func(c *Conversion) error { return c.Claim(1, nonce, policy, late) }, "stale stale running stale stale stale stale stale"},
		"claim by another": {func(c *Conversion) error { return c.Claim(1, "other", policy, late) },
			"stale stale stale stale stale stale stale stale"},
		"claim without nonce": {func(c *Conversion) error { return c.Claim(1, "", policy, late) },
			"stale stale stale stale stale stale stale stale"},
		"report": {func(c *Conversion) error { return c.Report(1, nonce, Progress{}, policy, late) },
			"stale stale running stale stale stale stale stale"},
		"report by another": {func(c *Conversion) error { return c.Report(1, "other", Progress{}, policy, late) },
			"stale stale stale stale stale stale stale stale"},
		"begin carried": {func(c *Conversion) error { return c.BeginCarried(1, nonce, carrier, policy, late) },
			"stale running stale stale stale stale stale stale"},
		"begin carried without nonce": {func(c *Conversion) error { return c.BeginCarried(1, "", carrier, policy, late) },
			"stale stale stale stale stale stale stale stale"},
		"begin carried 2": {func(c *Conversion) error { return c.BeginCarried(2, nonce, carrier, policy, late) },
			"stale stale stale stale stale stale stale stale"},
		"pass on": {func(c *Conversion) error { return c.PassOn(1, nonce, AttemptRef{"next", 1}, late) },
			"stale stale stale done failed stale stale stale"},
		"pass on by another": {func(c *Conversion) error { return c.PassOn(1, "other", AttemptRef{"next", 1}, late) },
			"stale stale stale stale stale stale stale stale"},
		"pass on unclaimed": {func(c *Conversion) error { return c.PassOn(1, "", AttemptRef{"next", 1}, late) },
			"stale stale stale stale stale stale stale stale"},
		"complete": {func(c *Conversion) error { return c.Complete(1, nonce, Source{}, MP3{}, policy, late) },
			"stale stale done = stale stale stale stale"},
		"complete by another": {func(c *Conversion) error { return c.Complete(1, "other", Source{}, MP3{}, policy, late) },
			"stale stale stale stale stale stale stale stale"},
		"complete unclaimed": {func(c *Conversion) error { return c.Complete(1, "", Source{}, MP3{}, policy, late) },
			"stale stale stale stale stale stale stale stale"},
		"fail for good":    {fail(Final), "stale stale failed stale = stale stale stale"},
		"fail, counted":    {fail(Counted), "stale stale queued stale = stale stale stale"},
		"fail, disrupted":  {fail(Disrupted), "stale stale queued stale = stale stale stale"},
		"fail start":       {func(c *Conversion) error { return c.FailStart(1, Failure{}, policy, late) }, "stale stale queued stale = stale stale stale"},
		"fall back":        {func(c *Conversion) error { return c.FallBack(FallbackOff, late) }, "= = = = = = = ="},
		"reject":           {func(c *Conversion) error { return c.Reject(Failure{}, late) }, "failed failed = = = = failed ="},
		"cancel":           {func(c *Conversion) error { return c.Cancel(late) }, "canceled canceled canceled ! ! = ! !"},
		"retry":            {func(c *Conversion) error { return c.Retry(window, late) }, "! ! ! ! queued queued awaiting_upload !"},
		"delete":           {func(c *Conversion) error { return c.Delete(late) }, "deleted deleted deleted deleted deleted deleted deleted ="},
		"cleaned":          {func(c *Conversion) error { return c.Cleaned(time.Time{}, late) }, "= = = done failed canceled expired deleted"},
		"source removed":   {func(c *Conversion) error { return c.SourceRemoved(late) }, "= = = done failed canceled expired deleted"},
		"claim notice":     {func(c *Conversion) error { return c.ClaimNotice(1, window, late) }, "= = = done failed = = ="},
		"claim notice 0":   {func(c *Conversion) error { return c.ClaimNotice(0, window, late) }, "= = = = = = = ="},
		"notice delivered": {func(c *Conversion) error { return c.NoticeDelivered(1, late) }, "= = = = = = = ="},
		"notice failed": {func(c *Conversion) error { return c.NoticeFailed(1, "", true, window, late) },
			"= = = = = = = ="},
		"republish": {func(c *Conversion) error { return c.Republish(late) }, "awaiting_upload queued running done failed canceled expired deleted"},
	} {
		words := strings.Fields(tt.want)
		for i, state := range States {
			c := at(t, state)
			got := ""
			switch err := tt.do(c); {
			case err == nil:
				got = string(c.State)
			case errors.Is(err, ErrUnchanged):
				got = "="
			case errors.Is(err, ErrState):
				got = "!"
			case errors.Is(err, ErrStaleAttempt):
				got = "stale"
			default:
				got = err.Error()
			}
			if got != words[i] {
				t.Errorf("%s when %s: got %s, want %s", name, state, got, words[i])
			}
		}
	}
}

// One launch carries two conversions: the first one passes it on, and neither
// ends it any more.
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

	// Its cancel ends the second one, and the launch goes on.
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
	// Two counted failures wait longer each time, disruptions in between do not
	// count, the third counted one is final.
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

// What could not be started on a GPU is not the file's fault, and goes on
// without one. Its budget of launches is spent all the same.
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

// The owner's retry asks for a GPU again, and waits for it from then on.
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

// The wait begins once, however often attempts go wrong in between.
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

func TestStopSurvivesRetry(t *testing.T) {
	c := at(t, Canceled)
	if err := c.Retry(window, epoch); err != nil {
		t.Fatal(err)
	}
	if len(c.Outbox) != 2 || c.Outbox[0].Kind != Stop || c.Outbox[0].Attempt != 1 ||
		c.Outbox[1].Kind != Work || c.Outbox[1].Attempt != 2 {
		t.Errorf("outbox after cancel and retry: %+v", c.Outbox)
	}
}

func TestRetentionAndLeftovers(t *testing.T) {
	c := at(t, Done)
	if want := epoch.Add(policy.SourceRetention); !c.SourceUntil.Equal(want) || !c.CleanAt.IsZero() {
		t.Errorf("done: source until %s, clean at %s, want %s and never", c.SourceUntil, c.CleanAt, want)
	}
	if err := c.Delete(epoch); err != nil {
		t.Fatal(err)
	}
	if !c.SourceUntil.IsZero() || !c.CleanAt.Equal(epoch) || len(c.Owed()) != 0 {
		t.Errorf("deleted: source until %s, clean at %s, owed %v", c.SourceUntil, c.CleanAt, c.Owed())
	}

	// A second attempt's result: the first one may still store its own.
	c = at(t, Queued)
	if err := errors.Join(
		c.Begin(1, policy, epoch), c.FailAttempt(1, Failure{}, Disrupted, policy, epoch),
		c.Begin(2, policy, epoch), c.Claim(2, nonce, policy, epoch),
		c.Complete(2, nonce, Source{}, MP3{Key: "elsewhere", ID: "other"}, policy, epoch),
	); err != nil {
		t.Fatal(err)
	}
	if c.CleanAt.IsZero() || c.MP3.Key != c.MP3Key(2) || c.MP3.ID == "other" || c.Error != nil {
		t.Errorf("done by the second attempt: %+v", c)
	}

	c = at(t, Failed)
	if err := errors.Join(c.SourceRemoved(epoch)); err != nil {
		t.Fatal(err)
	}
	if err := c.Retry(window, epoch); !errors.Is(err, ErrState) {
		t.Errorf("retry without a source: got %v, want ErrState", err)
	}
}

func TestNotice(t *testing.T) {
	c := at(t, Done)
	now := epoch
	claim := func() error { return c.ClaimNotice(1, time.Minute, now) }
	if err := claim(); err != nil {
		t.Fatal(err)
	}
	if err := claim(); !errors.Is(err, ErrUnchanged) {
		t.Fatalf("second claim: %v", err)
	}
	if err := c.NoticeFailed(1, "451 busy", true, time.Minute, now); err != nil || c.Notice.State != NoticeOwed {
		t.Fatalf("temporary failure: %v, %+v", err, c.Notice)
	}
	if err := claim(); !errors.Is(err, ErrUnchanged) {
		t.Fatalf("claim during the pause: %v", err)
	}
	now = now.Add(time.Minute)
	if err := claim(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute) // the sender went away
	if err := claim(); err != nil || c.Notice.Tries != 3 {
		t.Fatalf("claim of a lost one: %v, %+v", err, c.Notice)
	}
	now = now.Add(6 * 24 * time.Hour)
	if err := c.NoticeFailed(1, "451 busy", true, time.Minute, now); err != nil || c.Notice.State != NoticeRefused {
		t.Fatalf("temporary failure after days: %v, %+v", err, c.Notice)
	}

	c = at(t, Failed)
	if err := errors.Join(claim(), c.NoticeFailed(1, "550 unknown", false, 0, now)); err != nil ||
		c.Notice.State != NoticeRefused || c.Notice.Reason == "" {
		t.Errorf("permanent failure: %v, %+v", err, c.Notice)
	}

	c = at(t, Done)
	if err := errors.Join(claim(), c.NoticeDelivered(1, now)); err != nil || c.Notice.State != NoticeSent {
		t.Errorf("delivered: %v, %+v", err, c.Notice)
	}
	if err := claim(); !errors.Is(err, ErrUnchanged) {
		t.Errorf("claim of a sent one: %v", err)
	}
}

// TestNotifyNone: an outcome owes no mail where none is wanted, and all else is
// as ever.
func TestNotifyNone(t *testing.T) {
	for _, state := range []State{Done, Failed} {
		c := at(t, Running)
		c.Notify = NotifyNone
		end := c.Complete(1, nonce, Source{}, MP3{}, policy, epoch)
		if state == Failed {
			c = at(t, Running)
			c.Notify = NotifyNone
			end = c.FailAttempt(1, Failure{CodeNoAudio, "No sound."}, Final, policy, epoch)
		}
		if end != nil || c.State != state || c.Notice != (Notice{}) || len(c.Owed()) != 0 || len(c.Outbox) != 0 {
			t.Errorf("%s: %v, notice %+v, owed %v, outbox %v", state, end, c.Notice, c.Owed(), c.Outbox)
		}
		checkRecord(t, c, epoch)
		if c.WakeAt.IsZero() { // the source's retention ends, or leftovers are looked for
			t.Errorf("%s: nobody looks again", state)
		}
		if err := c.ClaimNotice(1, window, epoch); !errors.Is(err, ErrUnchanged) {
			t.Errorf("claim the notice when %s: %v", state, err)
		}
		if err := c.Republish(epoch); err != nil || len(c.Outbox) != 0 {
			t.Errorf("republish when %s: %v, %v", state, err, c.Outbox)
		}
	}
	c := at(t, Queued)
	c.Notify = NotifyNone
	if err := c.Reject(Failure{CodeSourceMissing, "Gone."}, epoch); err != nil || c.Notice != (Notice{}) {
		t.Errorf("rejected: %v, %+v", err, c.Notice)
	}
}
