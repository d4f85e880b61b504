package dispatcher_test

import (
	"testing"

	"tonearm/internal/conversion"
)

// TestDestroyed: an MP3 that the store lost the content of is made again while its
// source is good. A conversion that needs a lost source fails, and says why.
func TestDestroyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	done := w.uploaded("owner")
	w.become(done.ID, conversion.Done)
	both := w.uploaded("owner")
	w.become(both.ID, conversion.Done)
	done, both = w.read(done.ID), w.read(both.ID)
	w.halt()
	waiting := w.uploaded("owner")

	lost := []string{
		done.MP3.Key, both.MP3.Key, both.Object.Key, waiting.Object.Key,
		"inbox/a@example.org/video.mp4", "uploads/owner/" + conversion.NewID() + "/source", "mp3s/x", "else",
	}
	w.must(w.serving.Load().Destroyed(t.Context(), lost))
	w.must(w.serving.Load().Destroyed(t.Context(), lost))
	if c := w.read(done.ID); c.State != conversion.Queued || c.MP3.ID != done.MP3.ID {
		t.Errorf("with a good source: %s, MP3 %+v", c.State, c.MP3)
	}
	if c := w.read(both.ID); c.State != conversion.Done {
		t.Errorf("without a source: %s", c.State)
	}
	if c := w.read(waiting.ID); c.State != conversion.Failed || c.Error.Code != conversion.CodeSourceChanged {
		t.Errorf("waiting for a lost source: %s, %+v", c.State, c.Error)
	}
	w.run()
	w.become(done.ID, conversion.Done)
	w.clock.advance(2 * policy.URLExpiry)
	w.until("the destroyed MP3 gives way to the new one", func() bool { return len(w.keys(done.MP3Folder())) == 1 })
	w.wantMP3(w.read(done.ID))
	if len(w.keys(both.MP3.Key))+len(w.keys(both.Object.Key))+len(w.keys(waiting.Object.Key)) != 3 {
		t.Error("something was removed")
	}
}
