package dispatcher_test

import (
	"errors"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// A deleted account takes its conversions and their objects with it, in any
// state, and its row goes last. Others keep theirs.
func TestDeletedAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone, stays := w.user("gone@example.org", 0), w.user("stays@example.org", 0)
	for _, u := range []account.User{gone, stays} {
		for _, name := range []string{"a.mp4", "b.mp4"} {
			w.put("inbox/"+u.Email+"/"+name, source+u.Email+name)
			w.tell("inbox/" + u.Email + "/" + name)
		}
	}
	w.run()
	for _, u := range []account.User{gone, stays} {
		for _, c := range w.dropped(u, 2) {
			w.become(c.ID, conversion.Done)
		}
	}
	all := w.of(gone)
	_, err := w.accounts.Delete(w.Context(), gone.ID)
	w.must(err)
	w.until("the conversions are gone", func() bool { return len(w.of(gone)) == 0 })
	w.until("their objects are gone", func() bool {
		n := len(w.keys("inbox/" + gone.Email + "/"))
		for _, c := range all {
			n += len(w.keys(c.MP3Folder()))
		}
		return n == 0
	})
	if u, err := w.accounts.ByID(w.Context(), gone.ID); err != nil || !u.Deleted() {
		t.Errorf("the row went first: %+v, %v", u, err)
	}
	// A drop for the deleted account waits for nobody.
	w.put("inbox/"+gone.Email+"/late.mp4", source+"late")
	w.tell("inbox/" + gone.Email + "/late.mp4")
	w.clock.advance(25 * time.Hour)
	w.until("the row is gone", func() bool {
		_, err := w.accounts.ByID(w.Context(), gone.ID)
		return errors.Is(err, account.ErrNotFound)
	})
	for _, c := range w.of(stays) {
		w.wantMP3(c)
	}
	if got := w.of(stays); len(got) != 2 {
		t.Errorf("another account has %d conversions, want 2", len(got))
	}
	if got := w.of(gone); len(got) != 0 {
		t.Errorf("a deleted account has %+v", got)
	}
}
