package dispatcher_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// begun returns a conversion whose first attempt was launched and then does
// nothing.
func begun(w *world) conversion.Conversion {
	w.Helper()
	w.launcher.set(func(l *launcher) { l.script = idle })
	c := w.uploaded("owner")
	w.until("the attempt is launched", func() bool { return w.launcher.started(c.ID)[1] == 1 })
	return w.read(c.ID)
}

func (w *world) claim(id, token, nonce string) (attempt.Assignment, int) {
	w.Helper()
	var as attempt.Assignment
	status, _ := w.post("/attempts/"+id+"/claim", token, attempt.Claim{Nonce: nonce}, &as)
	return as, status
}

func (w *world) progress(id, token, nonce string) (attempt.ProgressReply, int) {
	w.Helper()
	var g attempt.ProgressReply
	status, _ := w.post("/attempts/"+id+"/progress", token, attempt.Progress{
		Nonce: nonce, Progress: conversion.Progress{Phase: conversion.PhaseEncoding, DoneSeconds: 3},
	}, &g)
	return g, status
}

func (w *world) result(id, token string, r attempt.Result) (conversion.State, int) {
	w.Helper()
	var taken attempt.ResultReply
	status, _ := w.post("/attempts/"+id+"/result", token, r, &taken)
	return taken.State, status
}

func resultOf(nonce, content string) attempt.Result {
	return attempt.Result{Nonce: nonce, Source: &conversion.Source{}, MP3: &conversion.MP3{Size: int64(len(content)), Duration: 1}}
}

// unsigned removes from an assignment what differs each time it is signed.
func unsigned(as attempt.Assignment) attempt.Assignment {
	for _, r := range []*attempt.Request{&as.Source, &as.Target} {
		r.URL, _, _ = strings.Cut(r.URL, "?")
		r.Header = nil
	}
	return as
}

func TestClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	c := begun(w)
	token := attemptKey.Token(c.ID, 1)
	for name, r := range map[string]struct{ token, nonce string }{
		"no token":                    {"", "a"},
		"garbage":                     {"1.garbage", "a"},
		"the webhook's":               {eventToken, "a"},
		"of another conversion":       {attemptKey.Token(conversion.NewID(), 1), "a"},
		"of another key":              {attempt.Key(strings.Repeat("x", 32)).Token(c.ID, 1), "a"},
		"with another attempt's name": {"2" + strings.TrimPrefix(token, "1"), "a"},
	} {
		if _, status := w.claim(c.ID, r.token, r.nonce); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	if _, status := w.claim(c.ID, attemptKey.Token(c.ID, 2), "a"); status != http.StatusConflict {
		t.Errorf("an attempt to come: %d", status)
	}
	if _, status := w.claim(c.ID, token, ""); status != http.StatusConflict {
		t.Errorf("no nonce: %d", status)
	}
	if status, _ := w.post("/attempts/"+c.ID+"/claim", token, []byte("{"), nil); status != http.StatusBadRequest {
		t.Errorf("no JSON: %d", status)
	}
	if status, _ := w.post("/attempts/"+c.ID+"/claim", token, []byte(`{"nonce":"a","nonce":"b"}`), nil); status != http.StatusBadRequest {
		t.Errorf("a name twice: %d", status)
	}
	if g, status := w.progress(c.ID, token, "a"); status != http.StatusOK || !g.Stop {
		t.Errorf("progress before the claim: %d, stop %v", status, g.Stop)
	}

	first, status := w.claim(c.ID, token, "a")
	if status != http.StatusOK {
		t.Fatalf("claim: %d", status)
	}
	source, target := first.Source, first.Target
	if first.ConversionID != c.ID || first.Attempt != 1 || first.Filename != c.Filename || first.SourceETag != c.Object.ETag ||
		first.SourceSize != c.Object.Size || first.Limits.MaxSourceBytes != c.Object.Size || first.Limits.MaxMP3Bytes != 64<<20 ||
		first.Limits.MaxDurationSeconds != 86400 || first.ReportSeconds != 20 ||
		source.Method != http.MethodGet || !strings.Contains(source.URL, "/uploads/owner/"+c.ID+"/source?") ||
		target.Method != http.MethodPut || !strings.Contains(target.URL, "/mp3s/owner/"+c.ID+"/1.mp3?") {
		t.Errorf("assignment: %+v", first)
	}
	for _, r := range []attempt.Request{source, target} {
		u, err := url.Parse(r.URL)
		if err != nil || u.Query().Get("X-Amz-Expires") != "3600" {
			t.Errorf("URL %s: %v", r.URL, err)
		}
	}
	again, status := w.claim(c.ID, token, "a")
	if status != http.StatusOK || !reflect.DeepEqual(unsigned(again), unsigned(first)) {
		t.Errorf("the same again: %d, %+v", status, again)
	}
	if _, status := w.claim(c.ID, token, "b"); status != http.StatusConflict {
		t.Errorf("another nonce: %d", status)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	c := begun(w)
	token := attemptKey.Token(c.ID, 1)
	w.claim(c.ID, token, "a")
	lease := w.read(c.ID).LeaseUntil
	w.clock.advance(time.Second)
	g, status := w.progress(c.ID, token, "a")
	if status != http.StatusOK || g.Stop || !strings.Contains(g.Target.URL, "/1.mp3?") || !strings.Contains(g.Source.URL, "/source?") {
		t.Errorf("%d %+v", status, g)
	}
	if c = w.read(c.ID); c.Progress.DoneSeconds != 3 || c.LeaseUntil.Before(lease.Add(time.Second)) {
		t.Errorf("progress %+v, lease from %s to %s", c.Progress, lease, c.LeaseUntil)
	}
	if g, status := w.progress(c.ID, token, "b"); status != http.StatusOK || !g.Stop {
		t.Errorf("another nonce: %d, stop %v", status, g.Stop)
	}
	if _, status := w.progress(c.ID, attemptKey.Token("x", 1), "a"); status != http.StatusUnauthorized {
		t.Errorf("another token: %d", status)
	}
	unknown := conversion.NewID()
	if g, status := w.progress(unknown, attemptKey.Token(unknown, 1), "a"); status != http.StatusOK || !g.Stop {
		t.Errorf("a purged conversion: %d, stop %v", status, g.Stop)
	}

	w.records.before.always()
	if _, status := w.progress(c.ID, token, "a"); status != http.StatusServiceUnavailable {
		t.Errorf("records down: %d", status)
	}
	w.records.before.never()

	w.act(c.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	if g, status := w.progress(c.ID, token, "a"); status != http.StatusOK || !g.Stop {
		t.Errorf("canceled: %d, stop %v", status, g.Stop)
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	c := begun(w)
	token := attemptKey.Token(c.ID, 1)
	good := resultOf("a", "sound")
	if _, status := w.result(c.ID, token, good); status != http.StatusConflict {
		t.Errorf("before the claim: %d", status)
	}
	as, _ := w.claim(c.ID, token, "a")
	if _, status := w.result(c.ID, token, good); status != http.StatusBadRequest {
		t.Errorf("without an object: %d", status)
	}
	w.must(store(t.Context(), as.Target, "sound"))
	for name, r := range map[string]struct {
		result attempt.Result
		status int
	}{
		"another nonce": {resultOf("b", "sound"), http.StatusConflict},
		"another size":  {resultOf("a", "sounds"), http.StatusBadRequest},
		"neither":       {attempt.Result{Nonce: "a"}, http.StatusBadRequest},
		"both":          {attempt.Result{Nonce: "a", MP3: good.MP3, Source: good.Source, Failure: &conversion.Failure{}}, http.StatusBadRequest},
		"no source":     {attempt.Result{Nonce: "a", MP3: good.MP3}, http.StatusBadRequest},
		"of another":    {attempt.Result{Nonce: "b", Failure: &conversion.Failure{Code: conversion.CodeInternal}}, http.StatusConflict},
	} {
		if _, status := w.result(c.ID, token, r.result); status != r.status {
			t.Errorf("%s: %d, want %d", name, status, r.status)
		}
	}
	w.objects.always()
	if _, status := w.result(c.ID, token, good); status != http.StatusServiceUnavailable {
		t.Errorf("objects down: %d", status)
	}
	w.objects.never()
	if got := w.read(c.ID); got.State != conversion.Running {
		t.Fatalf("after refused results the conversion is %s, %v", got.State, got.Error)
	}

	w.records.after.always() // the result is recorded, but the answer is lost
	if _, status := w.result(c.ID, token, good); status != http.StatusServiceUnavailable {
		t.Errorf("outcome unknown: %d", status)
	}
	w.records.after.never()
	done := w.read(c.ID)
	for range 3 {
		if state, status := w.result(c.ID, token, good); status != http.StatusOK || state != conversion.Done {
			t.Errorf("repeated: %d %s", status, state)
		}
	}
	if _, status := w.result(c.ID, token, resultOf("b", "sound")); status != http.StatusConflict {
		t.Errorf("another nonce after the end: %d", status)
	}
	if _, status := w.result(c.ID, token, attempt.Result{Nonce: "a", Failure: &conversion.Failure{Code: conversion.CodeInternal}}); status != http.StatusConflict {
		t.Errorf("a failure after the end: %d", status)
	}
	if _, status := w.claim(c.ID, token, "a"); status != http.StatusConflict {
		t.Errorf("claim after the end: %d", status)
	}
	again := w.read(c.ID)
	w.wantMP3(again)
	if again.Revision != done.Revision || again.MP3.ETag == "" || again.MP3.Size != 5 {
		t.Errorf("revision %d became %d: %+v", done.Revision, again.Revision, again.MP3)
	}
}

// The result of an older attempt is refused and its object removed, before and
// after the newer one is done.
func TestLateResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	targets := make(chan attempt.Request, 1)
	w.launcher.set(func(l *launcher) {
		l.script = inTurn(func(a *agent) launch.End {
			as, err := a.Claim(a.ctx, "first")
			if err != nil {
				return a.ended(err)
			}
			targets <- as.Target
			return launch.End{Reason: launch.Disrupted}
		}, idle)
	})
	c := w.uploaded("owner")
	w.until("the second attempt is launched", func() bool { return w.launcher.started(c.ID)[2] == 1 })
	target, token := <-targets, attemptKey.Token(c.ID, 1)
	late := func(content string) {
		t.Helper()
		w.must(store(t.Context(), target, content))
		if _, status := w.result(c.ID, token, resultOf("first", "late")); status != http.StatusConflict {
			t.Errorf("late result: %d", status)
		}
		for _, key := range w.keys(c.MP3Folder()) {
			if key == c.MP3Key(1) {
				t.Errorf("the object of the late result is there")
			}
		}
	}
	late("late")
	late("of another size than it says")
	if _, status := w.result(c.ID, token, resultOf("first", "late")); status != http.StatusConflict {
		t.Errorf("without an object: %d", status)
	}
	if g, status := w.progress(c.ID, token, "first"); status != http.StatusOK || !g.Stop {
		t.Errorf("progress of the first: %d, stop %v", status, g.Stop)
	}
	if _, status := w.claim(c.ID, token, "first"); status != http.StatusConflict {
		t.Errorf("claim of the first: %d", status)
	}

	second := attemptKey.Token(c.ID, 2)
	as, _ := w.claim(c.ID, second, "second")
	w.must(store(t.Context(), as.Target, "sound"))
	if state, status := w.result(c.ID, second, resultOf("second", "sound")); status != http.StatusOK || state != conversion.Done {
		t.Fatalf("result of the second: %d %s", status, state)
	}
	late("late")
	done := w.read(c.ID)
	if done.Attempt != 2 || done.MP3.Size != 5 {
		t.Errorf("done by attempt %d: %+v", done.Attempt, done.MP3)
	}
	w.wantMP3(done)

	w.must(store(t.Context(), target, "stored, but never reported"))
	w.clock.advance(policy.URLExpiry + time.Second)
	w.until("what the first attempt stored is gone", func() bool { return len(w.keys(c.MP3Folder())) == 1 })
	w.wantMP3(w.read(c.ID))
}

func TestResultOfDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	c := begun(w)
	token := attemptKey.Token(c.ID, 1)
	as, _ := w.claim(c.ID, token, "a")
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.until("its objects are removed", func() bool { return len(w.keys("uploads/")) == 0 })
	w.must(store(t.Context(), as.Target, "sound"))
	if _, status := w.result(c.ID, token, resultOf("a", "sound")); status != http.StatusConflict {
		t.Errorf("result: %d", status)
	}
	if got := w.keys("mp3s/"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	unknown := conversion.NewID()
	if _, status := w.result(unknown, attemptKey.Token(unknown, 1), resultOf("a", "sound")); status != http.StatusConflict {
		t.Errorf("of an unknown one: %d", status)
	}
}

// What a transcoder quotes of a file has no control characters in the record.
func TestReportsAreCleaned(t *testing.T) {
	t.Parallel()
	const evil, clean = "The title \x1b[2J\n\u202ex", "The title \uFFFD[2J\uFFFDx"
	w := newWorld(t).run()
	failed, done := begun(w), begun(w)
	token := attemptKey.Token(failed.ID, 1)
	w.claim(failed.ID, token, "a")
	if _, status := w.result(failed.ID, token, attempt.Result{Nonce: "a", Failure: &conversion.Failure{Code: conversion.CodeDamaged, Message: evil}, Final: true}); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if got := w.read(failed.ID); got.Error == nil || got.Error.Message != clean {
		t.Errorf("the failure is %+v", got.Error)
	}
	token = attemptKey.Token(done.ID, 1)
	as, _ := w.claim(done.ID, token, "a")
	w.must(store(t.Context(), as.Target, "sound"))
	result := resultOf("a", "sound")
	result.MP3.Notes = []conversion.Note{{Code: conversion.NoteGap, Message: evil}}
	if _, status := w.result(done.ID, token, result); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if got := w.read(done.ID); len(got.MP3.Notes) != 1 || got.MP3.Notes[0].Message != clean {
		t.Errorf("the notes are %+v", got.MP3.Notes)
	}
}

// What a transcoder reports is used in metrics and mails only if it is known.
func TestUnknownFailure(t *testing.T) {
	t.Parallel()
	for _, f := range []conversion.Failure{
		{Code: "made_up", Message: "Something."},
		{Code: conversion.CodeDamaged, Message: strings.Repeat("long ", 1000)},
	} {
		w := newWorld(t).run()
		c := begun(w)
		token := attemptKey.Token(c.ID, 1)
		w.claim(c.ID, token, "nonce")
		if _, status := w.result(c.ID, token, attempt.Result{Nonce: "nonce", Failure: &f, Final: true}); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		got := w.read(c.ID)
		if got.State != conversion.Failed || got.Error.Code != conversion.CodeInternal || len(got.Error.Message) > 100 {
			t.Errorf("%s: %+v", got.State, got.Error)
		}
	}
}
