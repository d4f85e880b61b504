package dispatcher_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/dispatcher"
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
	_, err := w.accounts.Delete(w.Context(), gone)
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
	w.until("it waits", func() bool { return w.metric("tonearm_inbox_unknown_owner_objects") == 1 })
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

// An account of more conversions than one page changes and goes as a whole.
func TestAccountOfManyConversions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("many@example.org", 0)
	var ids []string
	for range 101 {
		ids = append(ids, w.create(u.ID, 1).ID)
	}
	_, err := w.accounts.Configure(w.Context(), u.ID, account.German, "")
	w.must(err)
	w.run()
	w.until("all follow", func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return w.read(id).Language != "de" })
	})
	_, err = w.accounts.Delete(w.Context(), u)
	w.must(err)
	w.until("all are gone", func() bool { return len(w.of(u)) == 0 })
	for _, id := range ids {
		if got := w.read(id).State; got != conversion.Deleted {
			t.Errorf("%s is %s", id, got)
		}
	}
}

// tidied counts how often the users' database was tidied.
type tidied struct {
	dispatcher.Users
	times atomic.Int64
}

func (t *tidied) Tidy(ctx context.Context, now time.Time) error {
	defer t.times.Add(1)
	return t.Users.Tidy(ctx, now)
}

// unchangeable returns a world of two users with two conversions each, of whom
// the first in the database has one that cannot be changed, and ids of its two.
func unchangeable(t *testing.T, change ...func(*dispatcher.Options)) (w *world, first, second account.User, broken, other string) {
	t.Helper()
	w = newWorld(t, change...)
	users := []account.User{w.user("a@example.org", 0), w.user("b@example.org", 0)}
	slices.SortFunc(users, func(a, b account.User) int { return strings.Compare(a.ID, b.ID) })
	first, second = users[0], users[1]
	for _, u := range []account.User{first, first, second, second} {
		w.create(u.ID, 1)
	}
	all := w.of(first) // in the order in which the dispatcher reads them
	broken, other = all[0].ID, all[1].ID
	w.records.broken.Store(&broken)
	return w, first, second, broken, other
}

// A conversion that cannot be deleted keeps neither the others of its account
// nor those of another account, and is tried again.
func TestDeletedAccountFails(t *testing.T) {
	t.Parallel()
	users := &tidied{}
	w, first, second, broken, _ := unchangeable(t, func(o *dispatcher.Options) { users.Users, o.Users = o.Users, users })
	for _, u := range []account.User{first, second} {
		_, err := w.accounts.Delete(w.Context(), u)
		w.must(err)
	}
	w.clock.advance(25 * time.Hour)
	w.run()
	gone := func(u account.User) bool {
		_, err := w.accounts.ByID(w.Context(), u.ID)
		return errors.Is(err, account.ErrNotFound)
	}
	w.until("the other account is gone", func() bool { return len(w.of(second)) == 0 && gone(second) })
	w.until("the account's other conversion is gone", func() bool { return len(w.of(first)) == 1 })
	before := users.times.Load()
	w.until("the rest goes on", func() bool { return users.times.Load() > before })
	if got := w.of(first); gone(first) || got[0].ID != broken {
		t.Errorf("the row went first, and left %+v", got)
	}
	w.records.broken.Store(nil)
	w.until("the account is gone", func() bool { return len(w.of(first)) == 0 && gone(first) })
}

// A conversion that cannot follow its account keeps no other one.
func TestChangedAccountFails(t *testing.T) {
	t.Parallel()
	w, first, second, broken, other := unchangeable(t)
	for _, u := range []account.User{first, second} {
		_, err := w.accounts.Configure(w.Context(), u.ID, account.German, "")
		w.must(err)
	}
	w.clock.advance(11 * time.Minute)
	w.run()
	changes := func() (ids []string) {
		all, err := w.accounts.Changed(w.Context(), "", 10)
		w.must(err)
		for _, c := range all {
			ids = append(ids, c.User.ID)
		}
		return ids
	}
	w.until("the other account is followed", func() bool { return !slices.Contains(changes(), second.ID) })
	for _, c := range w.of(second) {
		if c.Language != "de" {
			t.Errorf("another account's conversion is in %q", c.Language)
		}
	}
	w.until("the account's other conversion follows", func() bool { return w.read(other).Language == "de" })
	if !slices.Contains(changes(), first.ID) || w.read(broken).Language != "" {
		t.Error("a change is forgotten that did not reach all conversions")
	}
	w.records.broken.Store(nil)
	w.until("nothing is left to follow", func() bool { return len(changes()) == 0 })
	if got := w.read(broken).Language; got != "de" {
		t.Errorf("the conversion is in %q", got)
	}
}

// A change of the address reaches all conversions of the account, whatever their
// state, and so the mails that are owed; also one that was made by a request
// that still knew the old address. The setting of mails does likewise.
func TestChangedAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	moves, stays := w.user("old@example.org", 0), w.user("stays@example.org", 0)
	for _, u := range []account.User{moves, stays} {
		for _, name := range []string{"a.mp4", "b.mp4", "c.mp4"} {
			w.put("inbox/"+u.Email+"/"+name, source+u.Email+name)
			w.tell("inbox/" + u.Email + "/" + name)
		}
	}
	w.run()
	for _, u := range []account.User{moves, stays} {
		for _, c := range w.dropped(u, 3) {
			if c = w.become(c.ID, conversion.Done); c.Notice.State != conversion.NoticeOwed {
				t.Fatalf("notice %+v", c.Notice)
			}
		}
	}
	var proof account.Proof
	sign := func(p account.Proof) (string, error) { proof = p; return "token", nil }
	w.must(w.accounts.RequestEmail(w.Context(), moves, "new@example.org", sign))
	_, err := w.accounts.ChangeEmail(w.Context(), proof)
	w.must(err)
	all := func(email string) bool {
		for _, c := range w.of(moves) {
			if c.OwnerEmail != email {
				return false
			}
		}
		return true
	}
	w.until("all follow", func() bool { return all("new@example.org") })
	late, err := conversion.New(conversion.Params{OwnerID: moves.ID, OwnerEmail: moves.Email, Filename: "late.mp4", Size: 1, UploadWindow: time.Hour}, w.clock.Now())
	w.must(err)
	w.must(w.records.Create(w.Context(), late))
	w.restart() // whoever follows may be another one
	w.clock.advance(11 * time.Minute)
	w.until("the late one follows", func() bool { return all("new@example.org") })
	w.until("nothing is left to follow", func() bool {
		left, err := w.accounts.Changed(w.Context(), "", 10)
		w.must(err)
		return len(left) == 0
	})

	_, err = w.accounts.Configure(w.Context(), moves.ID, account.German, account.MailNone)
	w.must(err)
	w.until("no mail is owed", func() bool {
		for _, c := range w.of(moves) {
			if c.Language != "de" || len(c.Owed()) != 0 && c.State == conversion.Done {
				return false
			}
		}
		return true
	})
	for _, c := range w.of(stays) {
		if c.OwnerEmail != stays.Email || c.Language != "" || c.Notice.State != conversion.NoticeOwed {
			t.Errorf("another account's: %+v", c)
		}
	}
}
