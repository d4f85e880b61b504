package dispatcher_test

import (
	"net/http"
	"strings"
	"testing"

	"tonearm/dispatcher"
	"tonearm/internal/conversion"
)

// TestMP3Limit: an MP3 may have 64 MiB, or 60 times the bytes of its source, and
// never more than the operator allows.
func TestMP3Limit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source  int
		allowed int64
		want    int64
	}{
		"small":       {26, 0, 64 << 20},
		"larger":      {2_000_000, 0, 120_000_000},
		"by the flag": {2_000_000, 1_000_000, 1_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *dispatcher.Options) { o.Limits.MaxMP3Bytes = c.allowed }).run()
			w.launcher.set(func(l *launcher) { l.script = idle })
			made := w.create("owner", int64(c.source))
			w.put(made.Object.Key, strings.Repeat("x", c.source))
			w.tell(made.Object.Key)
			w.until("the attempt is launched", func() bool { return w.launcher.started(made.ID)[1] == 1 })
			as, status := w.claim(made.ID, attemptKey.Token(made.ID, 1), "a")
			if status != http.StatusOK || as.Limits.MaxMP3Bytes != c.want {
				t.Errorf("claim: %d, at most %d bytes, want %d", status, as.Limits.MaxMP3Bytes, c.want)
			}
		})
	}
}

// TestMP3TooLarge: a transcoder that stores more than its assignment allows gains
// nothing by it.
func TestMP3TooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.Limits.MaxMP3Bytes = 10 }).run()
	c := begun(w)
	token := attemptKey.Token(c.ID, 1)
	if _, status := w.claim(c.ID, token, "a"); status != http.StatusOK {
		t.Fatalf("claim: %d", status)
	}
	for _, nonce := range []string{"b", "a"} { // one that was not asked ends nothing
		w.put(c.MP3Key(1), "11 bytes of")
		state, status := w.result(c.ID, token, resultOf(nonce, "11 bytes of"))
		if nonce == "a" && (status != http.StatusOK || state != conversion.Failed) {
			t.Errorf("result: %d, %s", status, state)
		}
		if nonce == "b" && (status != http.StatusConflict || w.read(c.ID).State != conversion.Running) {
			t.Errorf("result of another process: %d, %s", status, w.read(c.ID).State)
		}
	}
	if got := w.read(c.ID); got.Error == nil || got.Error.Code != conversion.CodeLimitExceeded {
		t.Errorf("failed with %+v", got.Error)
	}
	if left := w.keys(c.MP3Folder()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
