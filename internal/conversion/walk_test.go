package conversion

// Over 500 lines: one random walk, and every move that it may take.

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestRandomWalk drives conversions through every transition in random order,
// with current and stale attempts, and checks the invariants after each step.
// From whatever state was reached, following WakeAt alone must then lead to
// rest.
func TestRandomWalk(t *testing.T) {
	taken := map[string]int{}
	for seed := range uint64(120) {
		w := &walk{T: t, rand: rand.New(rand.NewPCG(seed, 1)), now: epoch, taken: taken}
		w.start(seed)
		for range 250 {
			w.step()
			if t.Failed() {
				t.Fatalf("seed %d: %+v", seed, w.c)
			}
		}
		w.rest()
		if t.Failed() {
			t.Fatalf("seed %d, coming to rest: %+v", seed, w.c)
		}
	}
	for _, name := range moveNames() {
		if taken[name] == 0 {
			t.Errorf("the walks never succeeded with %s", name)
		}
	}
}

type walk struct {
	*testing.T
	rand  *rand.Rand
	now   time.Time
	c     Conversion
	mp3ID string
	taken map[string]int // successes by name of the move, over all walks

	retention time.Duration // of records, 0 in every other walk

	claimed  int // highest attempt that was claimed
	results  int
	outcomes int // done and failed
	mails    int // delivered for the last outcome
	sending  time.Time
	stops    []int // attempts with a stop that was not published
}

func (w *walk) start(seed uint64) {
	p := Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4", Size: 100, UploadWindow: time.Hour}
	if seed%2 == 0 {
		p.Options.Cover = CoverPoster
	}
	if seed%3 == 0 {
		p.Key, p.Version, p.Size = InboxPrefix+"a@example.org/f.mp4", "v", 0
	}
	if seed%5 == 0 {
		p.Notify = NotifyNone
	}
	c, err := New(p, w.now)
	if err != nil {
		w.Fatal(err)
	}
	if seed%3 == 1 {
		if err := c.PlanParts("multipart", 50, w.now); err != nil {
			w.Fatal(err)
		}
	}
	w.c, w.mp3ID = c, c.MP3.ID
	w.retention = time.Duration(seed%2) * 24 * time.Hour
	checkRecord(w.T, &w.c, w.now)
}

// number is an attempt's number, more often than not the current one's.
func (w *walk) number() int { return w.c.Attempt + []int{0, 0, 0, 0, -1, 1, 2}[w.rand.IntN(7)] }

func (w *walk) nonce() string {
	return []string{w.c.Nonce, w.c.Nonce, w.c.Nonce, "other", ""}[w.rand.IntN(5)]
}

type move struct {
	name   string
	weight int
	do     func(w *walk) error
}

var moves = []move{

	{"uploaded", 1, func(w *walk) error {
		o := Object{Version: "e", ETag: "e", Size: []int64{100, 100, 100, 100, 0, 7}[w.rand.IntN(6)]}
		return w.c.Uploaded(o, w.now)
	}},
	{"plan parts", 1, func(w *walk) error { return w.c.PlanParts("planned", 50, w.now) }},
	{"restart upload", 1, func(w *walk) error {
		lost, id := []string{"multipart", "planned", ""}[w.rand.IntN(3)], "restarted"
		possible := w.c.State == AwaitingUpload && w.c.Upload != nil && w.c.Upload.ID == lost
		err := w.c.RestartUpload(lost, id, w.now)
		if (err == nil) != possible || possible && w.c.Upload.ID != id {
			w.Errorf("restart upload %q as %s: %v, %+v", lost, w.c.State, err, w.c.Upload)
		}
		return err
	}},
	{"reject upload", 0, func(w *walk) error {
		if w.rand.IntN(3) > 0 {
			return ErrUnchanged
		}
		return w.c.RejectUpload(Object{Version: "e", ETag: "e", Size: 1 << 40}, Failure{CodeLimitExceeded, "Too large."}, w.now)
	}},
	{"look", 2, func(w *walk) error { return w.c.Look(w.now) }},
	{"expire", 2, func(w *walk) error { return w.c.Expire(w.now) }},
	{"begin", 8, func(w *walk) error { return w.c.Begin(w.number()+w.rand.IntN(2), policy, w.now) }},
	{"begin carried", 3, func(w *walk) error {
		n := w.number() + w.rand.IntN(2)
		possible := w.c.State == Queued && n == w.c.Attempt+1
		by := Carrier{Launch: AttemptRef{"first", 1}, Files: 2, Size: 100, Until: w.now.Add(time.Hour)}
		err := w.c.BeginCarried(n, strconv.Itoa(w.rand.IntN(3)), by, policy, w.now)
		if (err == nil) != possible {
			w.Errorf("begin carried attempt %d: %v", n, err)
		}
		if err == nil {
			w.claimed = max(w.claimed, n)
		}
		return err
	}},
	{"pass on", 3, func(w *walk) error {
		n, nonce := w.number(), w.nonce()
		possible := w.c.State.Terminal() && n == w.c.Attempt && nonce != "" && nonce == w.c.Nonce && w.c.Next == nil &&
			(w.c.Carrier != nil || w.c.State != Canceled && w.c.State != Deleted)
		err := w.c.PassOn(n, nonce, AttemptRef{"next", 1}, w.now)
		if (err == nil) != possible {
			w.Errorf("pass on attempt %d: %v", n, err)
		}
		return err
	}},
	{"postpone", 1, func(w *walk) error { return w.c.Postpone(w.number(), w.now) }},
	{"fall back", 1, func(w *walk) error {
		possible := w.c.State == Queued && w.c.Class == GPU
		err := w.c.FallBack(FallbackOff, w.now)
		if (err == nil) != possible {
			w.Errorf("fall back from %s of class %s: %v", w.c.State, w.c.Class, err)
		}
		return err
	}},
	{"fail start", 1, func(w *walk) error {
		before := w.c
		err := w.stale(w.number(), "", false, func(n int, p Policy, now time.Time) error {
			return w.c.FailStart(n, Failure{CodeLaunchFailed, "No start."}, p, now)
		})
		if counted := w.c.Failures - before.Failures; err == nil && (counted == 0) != (before.Class == GPU) {
			w.Errorf("start failed in class %s: %d counted", before.Class, counted)
		}
		return err
	}},
	{"extend", 1, func(w *walk) error { return w.stale(w.number(), "", false, w.c.Extend) }},
	{"await", 1, func(w *walk) error {
		n := w.number()
		if w.c.Nonce != "" {
			n = 0 // an attempt that was claimed waits for nothing
		}
		return w.stale(n, "", false, func(n int, p Policy, now time.Time) error { return w.c.Await(n, WaitNode, p, now) })
	}},
	{"adopt", 1, func(w *walk) error {
		if w.c.Carrier != nil {
			return ErrUnchanged
		}
		return w.stale(w.number(), "", false, func(n int, _ Policy, now time.Time) error { return w.c.Adopt(n, newLaunch(), now) })
	}},
	{"relaunch", 1, func(w *walk) error {
		if w.c.Nonce != "" {
			return ErrUnchanged
		}
		return w.stale(w.number(), "", false, func(n int, _ Policy, now time.Time) error { return w.c.Relaunch(n, now) })
	}},
	{"hand back", 2, func(w *walk) error {
		before := w.c
		err := w.stale(w.number(), "", false, func(n int, p Policy, now time.Time) error {
			return w.c.HandBack(n, FaultDisk, Failure{CodeInternal, "The disk is full."}, p, now)
		})
		if err == nil && (w.c.State != Queued || w.c.Failures != before.Failures || w.c.Launches != before.Launches-1 ||
			!w.c.NotBefore.After(w.now) || w.c.Waiting == nil) {
			w.Errorf("handed back: %+v", w.c)
		}
		return err
	}},
	{"give up", 1, func(w *walk) error {
		before := w.c
		err := w.stale(w.number(), "", false, func(n int, p Policy, now time.Time) error {
			return w.c.GiveUp(n, Failure{CodeLost, "It was silent."}, p, now)
		})
		if counted := w.c.Failures - before.Failures; err == nil && (counted == 0) != (before.Silences == 0) {
			w.Errorf("silent for the %dth time: %d counted", before.Silences+1, counted)
		}
		return err
	}},
	{"claim", 8, func(w *walk) error {
		n, nonce := w.number(), strconv.Itoa(w.rand.IntN(3))
		err := w.c.Claim(n, nonce, policy, w.now)
		if err == nil {
			w.claimed = max(w.claimed, n)
		}
		return err
	}},
	{"report", 4, func(w *walk) error {
		n, nonce := w.number(), w.nonce()
		return w.stale(n, nonce, true, func(n int, p Policy, now time.Time) error {
			return w.c.Report(n, nonce, Progress{DoneSeconds: w.rand.Float64()}, p, now)
		})
	}},
	{"complete", 2, func(w *walk) error {
		n, nonce := w.number(), w.nonce()
		before := w.c.State
		err := w.stale(n, nonce, before != Done, func(n int, p Policy, now time.Time) error {
			return w.c.Complete(n, nonce, Source{Codec: "aac"}, MP3{Size: int64(n)}, p, now)
		})
		if err == nil {
			w.results++
			if w.c.MP3.Size != int64(n) || w.c.Attempt != n {
				w.Errorf("attempt %d completed, recorded is %+v of %d", n, w.c.MP3, w.c.Attempt)
			}
		}
		return err
	}},
	{"fail", 3, func(w *walk) error {
		o := []Outcome{Final, Counted, Counted, Disrupted, Disrupted}[w.rand.IntN(5)]
		return w.stale(w.number(), "", false, func(n int, p Policy, now time.Time) error {
			return w.c.FailAttempt(n, Failure{CodeCrashed, "It crashed."}, o, p, now)
		})
	}},
	{"reject", 1, func(w *walk) error { return w.c.Reject(Failure{CodeSourceMissing, "Gone."}, w.now) }},
	{"cancel", 1, func(w *walk) error {
		running := w.c.State == Running
		err := w.c.Cancel(w.now)
		if err == nil && running {
			w.stops = append(w.stops, w.c.Attempt)
		}
		return err
	}},
	{"retry", 4, func(w *walk) error { return w.c.Retry(time.Hour, w.now) }},
	{"redo", 0, func(w *walk) error {
		err := w.c.Redo(w.now)
		if err == nil {
			w.results, w.mails = 0, 0
		}
		return err
	}},
	{"delete", 0, func(w *walk) error { // rare: nothing leads back from it
		if w.rand.IntN(20) > 0 {
			return ErrUnchanged
		}
		running := w.c.State == Running
		err := w.c.Delete(w.now)
		if err == nil && running {
			w.stops = append(w.stops, w.c.Attempt)
		}
		return err
	}},
	{"cleaned", 2, func(w *walk) error {
		next := []time.Time{{}, w.now.Add(time.Hour)}[w.rand.IntN(2)]
		return w.c.Cleaned(next, time.Hour, w.now)
	}},
	{"keep source", 1, func(w *walk) error { return w.c.KeepSource(time.Hour, w.now) }},
	{"mp3 removed", 1, func(w *walk) error {
		if w.rand.IntN(3) > 0 {
			return ErrUnchanged
		}
		return w.c.MP3Removed(w.now)
	}},
	{"source removed", 0, func(w *walk) error {
		if w.rand.IntN(10) > 0 {
			return ErrUnchanged
		}
		return w.c.SourceRemoved(w.now)
	}},
	{"claim notice", 4, func(w *walk) error {
		claim := 10 * time.Minute
		err := w.c.ClaimNotice(w.number(), claim, w.now)
		if err == nil {
			if w.now.Before(w.sending) {
				w.Errorf("notice claimed while another sends it until %s", w.sending)
			}
			w.sending = w.c.Notice.ClaimedUntil
		}
		return err
	}},
	{"renew notice", 1, func(w *walk) error {
		err := w.c.RenewNotice(w.number(), w.c.Notice.Tries, 10*time.Minute, w.now)
		if err == nil {
			w.sending = w.c.Notice.ClaimedUntil
		}
		return err
	}},
	{"notice delivered", 2, func(w *walk) error {
		err := w.c.NoticeDelivered(w.number(), w.now)
		if err == nil {
			w.mails++
			w.sending = time.Time{}
		}
		return err
	}},
	{"notice failed", 2, func(w *walk) error {
		err := w.c.NoticeFailed(w.number(), "451", w.rand.IntN(4) > 0, time.Minute, w.now)
		if err == nil {
			w.sending = time.Time{}
		}
		return err
	}},
	{"readdress", 1, func(w *walk) error {
		a := Addressee{Email: []string{"a@example.org", "b@example.org"}[w.rand.IntN(2)], Language: []string{"", "de"}[w.rand.IntN(2)]}
		if w.rand.IntN(50) == 0 { // rare: nothing leads back to more mails
			a.Notify = []NotifyPreference{NotifyFailures, NotifyNone}[w.rand.IntN(2)]
		}
		before := w.c
		err := w.c.Readdress(a, w.now)
		if err == nil && (w.c.OwnerEmail != a.Email || w.c.Language != a.Language || w.c.State != before.State) {
			w.Errorf("readdressed to %+v: %+v", a, w.c)
		}
		if w.c.Notice != before.Notice {
			w.sending = time.Time{} // it is no longer owed, so nobody sends it again
		}
		return err
	}},
	{"republish", 1, func(w *walk) error { return w.c.Republish(w.now) }},
	{"settle", 6, func(w *walk) error {
		if len(w.c.Outbox) == 0 {
			return ErrUnchanged
		}
		w.settle()
		return nil
	}},
}

func moveNames() []string {
	var names []string
	for _, m := range moves {
		names = append(names, m.name)
	}
	return names
}

// stale calls do for attempt n, and checks that it succeeds only for the
// current attempt and, if claim is set, only with the nonce that claimed it.
func (w *walk) stale(n int, nonce string, claim bool, do func(int, Policy, time.Time) error) error {
	current := w.c.State == Running && w.c.Attempt == n && (!claim || nonce != "" && nonce == w.c.Nonce)
	err := do(n, policy, w.now)
	if (err == nil) != current {
		w.Errorf("attempt %d, current %t: %v", n, current, err)
	}
	return err
}

// settle does what Store.Settle does once everything is published.
func (w *walk) settle() {
	w.c.Outbox, w.c.WakeAt = []Message{}, w.c.SettledWake(w.now)
	w.stops = nil
}

func (w *walk) pick() move {
	total := 0
	for _, m := range moves {
		total += m.weight + 1
	}
	n := w.rand.IntN(total)
	for _, m := range moves {
		if n -= m.weight + 1; n < 0 {
			return m
		}
	}
	panic("unreachable")
}

func (w *walk) step() {
	if w.rand.IntN(3) == 0 {
		w.now = w.now.Add(time.Duration(w.rand.ExpFloat64() * float64(20*time.Minute)))
	}
	m := w.pick()
	before := clone(w.c)
	err := m.do(w)
	if err != nil {
		if !errors.Is(err, ErrUnchanged) && !errors.Is(err, ErrState) && !errors.Is(err, ErrStaleAttempt) {
			w.Errorf("%s: %v", m.name, err)
		}
		if !reflect.DeepEqual(w.c, before) {
			w.Errorf("%s changed the conversion and returned %v; it was %+v", m.name, err, before)
		}
		return
	}
	w.c.Retain(w.retention)
	w.taken[m.name]++
	w.check(m.name, before)
}

func (w *walk) check(name string, before Conversion) {
	c := &w.c
	checkRecord(w.T, c, w.now)
	outcome := before.State != c.State && (c.State == Done || c.State == Failed)
	if outcome {
		w.outcomes++
		w.mails = 0
	}
	if c.State != Done && c.State != Failed || outcome {
		w.sending = time.Time{} // no outcome, or a new one: nobody is sending it
	}
	switch {
	case c.Attempt == before.Attempt:
	case name == "begin" && c.Attempt == before.Attempt+1 && c.Attempt > w.claimed:
	case name == "begin carried" && c.Attempt == before.Attempt+1 && c.Attempt == w.claimed:
	case name == "postpone" && c.Attempt == before.Attempt-1 && c.Attempt >= w.claimed:
	default:
		w.Errorf("%s: attempt %d became %d, claimed were up to %d", name, before.Attempt, c.Attempt, w.claimed)
	}
	if (c.Class != before.Class || !reflect.DeepEqual(c.Fallback, before.Fallback)) &&
		name != "fall back" && name != "fail start" && name != "retry" {
		w.Errorf("%s: class %s, %+v, was %s, %+v", name, c.Class, c.Fallback, before.Class, before.Fallback)
	}
	if !c.QueuedAt.Equal(before.QueuedAt) && name != "uploaded" && name != "retry" && name != "redo" {
		w.Errorf("%s: queued at %s, was %s", name, c.QueuedAt, before.QueuedAt)
	}
	if c.MP3.ID != w.mp3ID || w.results > 1 {
		w.Errorf("%s: MP3 %s was %s, %d results", name, c.MP3.ID, w.mp3ID, w.results)
	}
	if made := w.results == 1; made != (c.MP3.Key != "") || c.State == Done && !made ||
		made && (c.State != Done && c.State != Deleted || c.MP3.Key != c.MP3Key(c.Attempt)) {
		w.Errorf("%s: %s with MP3 %q, attempt %d, %d results", name, c.State, c.MP3.Key, c.Attempt, w.results)
	}
	if w.mails > 1 || w.mails > 0 && w.outcomes == 0 {
		w.Errorf("%s: %d mails for outcome %d", name, w.mails, w.outcomes)
	}
	for _, n := range w.stops {
		if !slices.Contains(c.Outbox, Message{Kind: Stop, Attempt: n}) {
			w.Errorf("%s: the stop of attempt %d was not published and is gone: %v", name, n, c.Outbox)
		}
	}
}

// rest does what the services do when a conversion is due, with every message
// lost, until nothing is due any more.
func (w *walk) rest() {
	for range 500 {
		if w.c.WakeAt.IsZero() || w.c.State == Deleted && w.c.CleanAt.IsZero() && len(w.c.Outbox) == 0 {
			return
		}
		if w.c.WakeAt.After(w.now) {
			w.now = w.c.WakeAt
		}
		before := clone(w.c)
		err := w.due()
		w.c.Retain(w.retention)
		if w.settle(); err != nil {
			w.Errorf("due at %s: %v", w.now, err)
			return
		}
		if before.Class == GPU && before.State == Queued {
			w.check("fall back", before)
		} else {
			w.check("due", before)
		}
		if !w.c.WakeAt.IsZero() && !w.c.WakeAt.After(w.now) && reflect.DeepEqual(before, w.c) {
			w.Errorf("still due after all was done")
			return
		}
	}
	w.Errorf("no rest")
}

func (w *walk) due() error {
	c, past := &w.c, func(t time.Time) bool { return !t.IsZero() && !t.After(w.now) }
	switch {
	case len(c.Outbox) > 0:
		return nil // published, then settled
	case c.State == AwaitingUpload && past(c.ExpiresAt):
		return c.Expire(w.now)
	case c.State == AwaitingUpload:
		return c.Look(w.now)
	case c.State == Queued && c.Class == GPU:
		return c.FallBack(FallbackWaited, w.now)
	case c.State == Queued:
		return c.Reject(Failure{CodeSourceMissing, "Gone."}, w.now)
	case c.State == Running:
		return c.FailAttempt(c.Attempt, Failure{CodeLost, "Lost."}, Disrupted, policy, w.now)
	case c.Notice.State == NoticeOwed || c.Notice.State == NoticeSending && past(c.Notice.ClaimedUntil):
		if err := c.ClaimNotice(c.Notice.Attempt, time.Minute, w.now); err != nil {
			return err
		}
		w.mails++
		return c.NoticeDelivered(c.Notice.Attempt, w.now)
	case c.Outlived(w.now):
		return c.Delete(w.now)
	case past(c.CleanAt):
		return c.Cleaned(time.Time{}, time.Hour, w.now)
	case past(c.SourceUntil):
		return c.SourceRemoved(w.now)
	case past(c.MP3Until):
		return c.MP3Removed(w.now)
	case c.State == Expired:
		return c.Look(w.now)
	}
	return errors.New("nothing to do")
}

// clone copies what transitions change in place.
func clone(c Conversion) Conversion {
	c.Outbox = slices.Clone(c.Outbox)
	if c.Upload != nil {
		upload := *c.Upload
		c.Upload = &upload
	}
	return c
}
