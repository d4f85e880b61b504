package dispatcher_test

import (
	"context"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// user makes an account.
func (w *world) user(email string, limit int64) account.User {
	w.Helper()
	u, err := w.accounts.Create(w.Context(), email, "correct horse", limit)
	w.must(err)
	return u
}

// of returns all conversions of an owner.
func (w *world) of(u account.User) []conversion.Conversion {
	w.Helper()
	list, err := w.records.List(w.Context(), conversion.Query{OwnerID: u.ID, Limit: 100})
	w.must(err)
	return list
}

// dropped waits until the owner has n conversions and returns them.
func (w *world) dropped(u account.User, n int) []conversion.Conversion {
	w.Helper()
	w.until("the inbox was read", func() bool { return len(w.of(u)) >= n })
	list := w.of(u)
	if len(list) != n {
		w.Fatalf("%d conversions, want %d", len(list), n)
	}
	return list
}

func TestInboxNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("a+b@example.org", 0)
	files := map[string]string{ // by key
		"inbox/a+b@example.org/plain.mp4":               "plain.mp4",
		"inbox/A+B@Example.org/other case.mp4":          "other case.mp4",
		"inbox/a+b@example.org/two words #1.mp4":        "two words #1.mp4",
		"inbox/a+b@example.org/100% + more & =.mp4":     "100% + more & =.mp4",
		"inbox/a+b@example.org/folder/Übung 日本 🎬.mp4":   "Übung 日本 🎬.mp4",
		"inbox/a+b@example.org/x\x1b[2J\n0192 done.mp4": "x\uFFFD[2J\uFFFD0192 done.mp4", // the key stays, the name is cleaned
		"inbox/a+b@example.org/evil\u202egpj.mp4":       "evilgpj.mp4",
	}
	for key := range files {
		w.put(key, source+key)
		w.tell(key)
	}
	w.run()
	for _, c := range w.dropped(u, len(files)) {
		c = w.become(c.ID, conversion.Done)
		w.wantMP3(c)
		if files[c.Object.Key] != c.Filename || c.OwnerEmail != u.Email || c.Object.Size != int64(len(source+c.Object.Key)) {
			t.Errorf("%q became %q of %d bytes", c.Object.Key, c.Filename, c.Object.Size)
		}
		delete(files, c.Object.Key)
		if !c.SourceUntil.IsZero() {
			t.Errorf("%q is to be removed at %s", c.Object.Key, c.SourceUntil)
		}
	}
	if len(files) != 0 {
		t.Errorf("nothing came of %v", files)
	}
}

func TestInboxUnknownOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	const key = "inbox/later@example.org/video.mp4"
	w.put(key, source)
	w.put("inbox/not an address@/video.mp4", source)
	w.tell(key)
	w.until("the drop waits", func() bool { return w.metric("tonearm_inbox_unknown_owner_objects") == 1 })
	u := w.user("later@example.org", 0)
	c := w.dropped(u, 1)[0]
	w.wantMP3(w.become(c.ID, conversion.Done))
	w.until("no drop waits", func() bool { return w.metric("tonearm_inbox_unknown_owner_objects") == 0 })
	if got := w.keys("inbox/"); len(got) != 2 {
		t.Errorf("the inbox holds %q", got)
	}
}

func TestInboxSameAndReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	u := w.user("a@example.org", 0)
	const key = "inbox/a@example.org/video.mp4"
	for range 3 {
		w.put(key, source)
		w.tell(key)
	}
	first := w.become(w.dropped(u, 1)[0].ID, conversion.Done)

	w.put(key, "another video") // the event is lost
	second := w.become(w.dropped(u, 2)[0].ID, conversion.Done)
	if first.ID == second.ID || first.Object.ETag == second.Object.ETag || first.MP3.ID == second.MP3.ID {
		t.Errorf("the same: %+v %+v", first.Object, second.Object)
	}
	w.wantMP3(first)
	w.wantMP3(second)

	// Deleting the first one leaves alone what has replaced its source.
	w.act(first.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.until("the first result is gone", func() bool { return len(w.keys(first.MP3Folder())) == 0 })
	w.until("all of it was looked at", func() bool { return w.read(first.ID).CleanAt.After(w.clock.Now()) })
	w.wantMP3(w.read(second.ID))
	if got := w.keys(key); len(got) != 1 {
		t.Errorf("the inbox holds %q", got)
	}

	w.act(second.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.until("the source of the second one is gone", func() bool { return len(w.keys(key)) == 0 })
}

// If a file is replaced while the events of both are on their way, there are at
// most two conversions, and each source is recorded as it was seen.
func TestInboxEventsTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("a@example.org", 0)
	const key = "inbox/a@example.org/video.mp4"
	w.put(key, source)
	status := make(chan int)
	for range 10 {
		go func() { status <- w.event(key) }()
	}
	for range 10 {
		if got := <-status; got != 200 {
			t.Errorf("answered %d", got)
		}
	}
	c := w.dropped(u, 1)[0]
	if c.State != conversion.Queued || w.depth(queue.CPU) != 1 {
		t.Errorf("%s, %d messages", c.State, w.depth(queue.CPU))
	}
}

func TestInboxLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.MaxUploadBytes = 10 })
	a, b := w.user("a@example.org", 0), w.user("b@example.org", 100)
	w.put("inbox/a@example.org/video.mp4", source)
	w.put("inbox/b@example.org/video.mp4", source)
	w.put("inbox/b@example.org/empty.mp4", "")
	w.run()
	c := w.dropped(a, 1)[0]
	if c.State != conversion.Failed || c.Error.Code != conversion.CodeLimitExceeded || c.Notice.State != conversion.NoticeOwed {
		t.Errorf("over the limit: %s %v, notice %s", c.State, c.Error, c.Notice.State)
	}
	for _, c := range w.dropped(b, 2) {
		if c.Filename == "empty.mp4" {
			if c.State != conversion.Failed || c.Error.Code != conversion.CodeEmpty {
				t.Errorf("empty: %s %v", c.State, c.Error)
			}
			continue
		}
		w.become(c.ID, conversion.Done)
	}
}

// A drop that cannot be looked at does not hold up the others.
func TestInboxOneBroken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("a@example.org", 0)
	broken := "inbox/a@example.org/a.mp4"
	w.objects.broken.Store(&broken)
	w.put(broken, source)
	w.put("inbox/a@example.org/b.mp4", source)
	w.run()
	c := w.dropped(u, 1)[0]
	if c.Filename != "b.mp4" {
		t.Errorf("converts %q", c.Filename)
	}
	w.become(c.ID, conversion.Done)
	w.objects.broken.Store(nil)
	w.become(w.dropped(u, 2)[0].ID, conversion.Done)
}

// A file that was deleted and is dropped again, byte for byte the same, is
// converted again.
func TestInboxAgainAfterDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("again@example.org", 0)
	const key = "inbox/again@example.org/a.mp4"
	w.put(key, source)
	w.run()
	w.tell(key)
	first := w.become(w.dropped(u, 1)[0].ID, conversion.Done)
	w.act(first.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.until("the drop is gone", func() bool { return len(w.keys("inbox/again@example.org/")) == 0 })
	w.until("the tombstone lets go of it", func() bool { return w.read(first.ID).Object.Version != first.Object.Version })

	w.put(key, source)
	w.tell(key)
	second := w.become(w.dropped(u, 1)[0].ID, conversion.Done)
	if second.ID == first.ID {
		t.Fatal("the deleted conversion came back")
	}
	w.wantMP3(second)
	if got := w.keys("inbox/again@example.org/"); len(got) != 1 {
		t.Errorf("the second drop is gone: %v", got)
	}
}

// An account whose address is not proven gets no drop, neither one from before
// its registration nor one from after. Once it is proven, it gets both.
func TestInboxUnproven(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	const email = "carol@victim.example"
	before, after := "inbox/"+email+"/before.mp4", "inbox/"+email+"/after.mp4"
	w.put(before, source)
	w.tell(before)
	var proof account.Proof
	w.must(w.accounts.Register(w.Context(), account.NewUser{Email: email, Password: "another one's password"},
		func(p account.Proof) (string, error) { proof = p; return "token", nil }))
	u, err := w.accounts.ByEmail(w.Context(), email)
	w.must(err)
	w.put(after, source+"!")
	w.tell(after)
	w.until("both wait", func() bool { return w.metric("tonearm_inbox_unknown_owner_objects") == 2 })
	if got := w.of(u); len(got) != 0 {
		t.Fatalf("somebody else gets %+v", got)
	}
	_, err = w.accounts.Confirm(w.Context(), proof)
	w.must(err)
	w.dropped(u, 2)
	w.until("none waits", func() bool { return w.metric("tonearm_inbox_unknown_owner_objects") == 0 })
}

// Whoever changes the address gets what is dropped for the new one, and nothing
// more that is dropped for the old one.
func TestInboxOfAnOldAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	u := w.user("old@example.org", 0)
	var proof account.Proof
	w.must(w.accounts.RequestEmail(w.Context(), u, "new@example.org", func(p account.Proof) (string, error) { proof = p; return "token", nil }))
	_, err := w.accounts.ChangeEmail(w.Context(), proof)
	w.must(err)
	for _, name := range []string{"old", "new"} {
		key := "inbox/" + name + "@example.org/a.mp4"
		w.put(key, source+name)
		w.tell(key)
	}
	w.until("the one for the old address waits", func() bool { return w.metric("tonearm_inbox_unknown_owner_objects") == 1 })
	if got := w.dropped(u, 1); got[0].Object.Key != "inbox/new@example.org/a.mp4" {
		t.Errorf("got %s", got[0].Object.Key)
	}
}

// provenLater are users who proved their address later than the store says.
type provenLater struct {
	dispatcher.Users
	by time.Duration
}

func (p provenLater) ByEmail(ctx context.Context, email string) (account.User, error) {
	u, err := p.Users.ByEmail(ctx, email)
	u.ConfirmedAt = u.ConfirmedAt.Add(p.by)
	return u, err
}

// A drop from long before the address was proven stays, and is counted. Without a
// wait, so does every drop from before.
func TestInboxTooOld(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		wait, by time.Duration
		want     int
	}{
		{dispatcher.DefaultInboxWait, dispatcher.DefaultInboxWait - time.Hour, 1},
		{dispatcher.DefaultInboxWait, dispatcher.DefaultInboxWait + time.Hour, 0},
		{0, 0, 1},
		{0, time.Minute, 0},
	} {
		by, want := tt.by, tt.want
		w := newWorld(t, func(o *dispatcher.Options) { o.Users, o.InboxWait = provenLater{o.Users, by}, tt.wait })
		u := w.user("a@example.org", 0)
		const key = "inbox/a@example.org/video.mp4"
		w.put(key, source)
		w.tell(key)
		w.run()
		w.dropped(u, want)
		w.until("it is counted", func() bool { return int(w.metric("tonearm_inbox_too_old_objects")) == 1-want })
		if got := w.keys(key); len(got) != 1 {
			t.Errorf("the inbox holds %q", got)
		}
		if got := w.of(u); len(got) != want {
			t.Errorf("proven %v after the drop, with a wait of %v: %d conversions, want %d", by, tt.wait, len(got), want)
		}
	}
}

// Who wants no mails gets none about drops either.
func TestInboxNoMails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("a@example.org", 0)
	_, err := w.accounts.Configure(w.Context(), u.ID, "", account.MailNone)
	w.must(err)
	w.put("inbox/a@example.org/video.mp4", source)
	w.run()
	c := w.become(w.dropped(u, 1)[0].ID, conversion.Done)
	if c.Notice.State != conversion.NoticeNone {
		t.Errorf("notice is %s", c.Notice.State)
	}
}
