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

// at returns a conversion that came to state on the ordinary way: a running
// attempt is claimed, a failed conversion failed in its first attempt, a
// canceled one was running.
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
		"plan parts": {func(c *Conversion) error { return c.PlanParts("upload", 16, late) },
			"awaiting_upload ! ! ! ! ! ! !"},
		"plan parts again": {func(c *Conversion) error {
			return errors.Join(c.PlanParts("upload", 16, late), c.PlanParts("other", 16, late))
		}, "! ! ! ! ! ! ! !"},
		"restart upload": {func(c *Conversion) error {
			c.Upload = &Upload{ID: "lost", PartSize: 16, Parts: 7}
			return c.RestartUpload("lost", "new", late)
		}, "awaiting_upload ! ! ! ! ! ! !"},
		"restart upload, restarted before": {func(c *Conversion) error {
			c.Upload = &Upload{ID: "another", PartSize: 16, Parts: 7}
			return c.RestartUpload("lost", "new", late)
		}, "= ! ! ! ! ! ! !"},
		"restart upload without parts": {func(c *Conversion) error { return c.RestartUpload("", "new", late) },
			"! ! ! ! ! ! ! !"},
		"reject upload": {func(c *Conversion) error { return c.RejectUpload(uploaded(c), Failure{}, late) },
			"failed = = = = = failed ="},
		"look":       {func(c *Conversion) error { return c.Look(late) }, "awaiting_upload = = = = = expired ="},
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
		"fail for good":   {fail(Final), "stale stale failed stale = stale stale stale"},
		"fail, counted":   {fail(Counted), "stale stale queued stale = stale stale stale"},
		"fail, disrupted": {fail(Disrupted), "stale stale queued stale = stale stale stale"},
		"fail start":      {func(c *Conversion) error { return c.FailStart(1, Failure{}, policy, late) }, "stale stale queued stale = stale stale stale"},
		"fall back":       {func(c *Conversion) error { return c.FallBack(FallbackOff, late) }, "= = = = = = = ="},
		"reject":          {func(c *Conversion) error { return c.Reject(Failure{}, late) }, "failed failed = = = = failed ="},
		"cancel":          {func(c *Conversion) error { return c.Cancel(late) }, "canceled canceled canceled ! ! = ! !"},
		"retry":           {func(c *Conversion) error { return c.Retry(window, late) }, "! ! ! ! queued queued awaiting_upload !"},
		"redo":            {func(c *Conversion) error { return c.Redo(late) }, "= = = queued = = = ="},
		"redo without source": {func(c *Conversion) error { c.SourceGone = true; return c.Redo(late) },
			"= = = ! = = = ="},
		"delete":           {func(c *Conversion) error { return c.Delete(late) }, "deleted deleted deleted deleted deleted deleted deleted ="},
		"cleaned":          {func(c *Conversion) error { return c.Cleaned(time.Time{}, time.Hour, late) }, "= = = done failed canceled expired deleted"},
		"keep source":      {func(c *Conversion) error { return c.KeepSource(window, late) }, "= = = = failed canceled = ="},
		"mp3 removed":      {func(c *Conversion) error { return c.MP3Removed(late) }, "= = = done = = = ="},
		"source removed":   {func(c *Conversion) error { return c.SourceRemoved(late) }, "= = = done failed canceled expired deleted"},
		"claim notice":     {func(c *Conversion) error { return c.ClaimNotice(1, window, late) }, "= = = done failed = = ="},
		"claim notice 0":   {func(c *Conversion) error { return c.ClaimNotice(0, window, late) }, "= = = = = = = ="},
		"renew notice":     {func(c *Conversion) error { return c.RenewNotice(1, 0, window, late) }, "= = = = = = = ="},
		"notice delivered": {func(c *Conversion) error { return c.NoticeDelivered(1, late) }, "= = = = = = = ="},
		"notice failed": {func(c *Conversion) error { return c.NoticeFailed(1, "", true, window, late) },
			"= = = = = = = ="},
		"readdress": {func(c *Conversion) error { return c.Readdress(Addressee{Email: "new@example.org"}, late) },
			"awaiting_upload queued running done failed canceled expired ="},
		"readdress to the same": {func(c *Conversion) error { return c.Readdress(Addressee{Email: c.OwnerEmail}, late) },
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

// An ended conversion is deleted RecordRetention after its end, whatever the
// end was.
func TestRetain(t *testing.T) {
	const retention = 30 * 24 * time.Hour
	for _, state := range States {
		c := at(t, state)
		c.Retain(0)
		if !c.RecordUntil.IsZero() {
			t.Errorf("%s goes at %s without a retention", state, c.RecordUntil)
		}
		c.Retain(retention)
		want := c.FinishedAt.Add(retention)
		if !state.Terminal() || state == Deleted {
			want = time.Time{}
		}
		if !c.RecordUntil.Equal(want) {
			t.Errorf("%s goes at %s, want %s", state, c.RecordUntil, want)
		}
		checkRecord(t, c, epoch)
	}

	c := at(t, Done)
	c.Retain(retention)
	until := c.RecordUntil
	if c.Outlived(until) {
		t.Error("outlived while the mail is owed")
	}
	if err := errors.Join(c.ClaimNotice(1, time.Minute, epoch), c.NoticeDelivered(1, epoch), c.SourceRemoved(epoch)); err != nil {
		t.Fatal(err)
	}
	if c.Outlived(until.Add(-time.Millisecond)) || !c.Outlived(until) || !c.WakeAt.Equal(until) {
		t.Errorf("to go at %s, wakes at %s", until, c.WakeAt)
	}
	c.Outbox = []Message{}
	if err := c.Delete(until); err != nil || !c.RecordUntil.IsZero() || !c.WakeAt.Equal(until) {
		t.Errorf("deleted: %v, to go at %s, wakes at %s", err, c.RecordUntil, c.WakeAt)
	}

	// A conversion that ended before a retention was set does not get one from
	// a later transition.
	c = at(t, Done)
	if err := c.SourceRemoved(epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	c.Retain(retention)
	if !c.RecordUntil.IsZero() {
		t.Errorf("an old one goes at %s", c.RecordUntil)
	}

	for name, again := range map[string]func(*Conversion) error{
		"retried":       func(c *Conversion) error { return c.Retry(window, epoch) },
		"uploaded late": func(c *Conversion) error { return c.Uploaded(uploaded(c), epoch) },
	} {
		c := at(t, Expired)
		c.Retain(retention)
		if err := again(c); err != nil || !c.RecordUntil.IsZero() {
			t.Errorf("%s: %v, goes at %s", name, err, c.RecordUntil)
		}
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
