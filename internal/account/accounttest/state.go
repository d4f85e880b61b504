// Over 500 lines: one test for each promise of account.Store about state.

package accounttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// links is a Signer that remembers what it signed.
type links struct {
	mu     sync.Mutex
	proofs []account.Proof
}

func (l *links) sign(p account.Proof) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proofs = append(l.proofs, p)
	return "link-" + p.ID, nil
}

// in returns the proof behind the link of a mail.
func (l *links) in(t *testing.T, m account.Mail) account.Proof {
	t.Helper()
	i := slices.IndexFunc(l.proofs, func(p account.Proof) bool { return m.Token == "link-"+p.ID })
	if i < 0 {
		t.Fatalf("mail %s has no link: %q", m.Kind, m.Token)
	}
	return l.proofs[i]
}

// due returns the mails that are owed to a recipient, the oldest first.
func due(t *testing.T, s account.Store, recipient string) (mails []account.Mail) {
	t.Helper()
	all, err := s.DueMails(t.Context(), time.Now().Add(time.Second), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Recipient == recipient {
			mails = append(mails, m)
		}
	}
	return mails
}

// last returns the newest mail that is owed to a recipient, which must be of
// this kind.
func last(t *testing.T, s account.Store, recipient string, kind account.MailKind) account.Mail {
	t.Helper()
	mails := due(t, s, recipient)
	i := slices.IndexFunc(mails, func(m account.Mail) bool { return m.Kind == kind })
	if i < 0 {
		t.Fatalf("no mail %s to %s among %+v", kind, recipient, mails)
	}
	for _, m := range mails[i:] {
		if m.Kind == kind {
			mails[i] = m
		}
	}
	return mails[i]
}

func register(t *testing.T, s account.Store, l *links, email string) (account.User, account.Proof) {
	t.Helper()
	must(t, s.Register(t.Context(), account.NewUser{Email: email, Password: password, Language: account.German}, l.sign))
	u, err := s.ByEmail(t.Context(), email)
	must(t, err)
	return u, l.in(t, last(t, s, u.Email, account.MailConfirm))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func confirming(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	u, p := register(t, s, l, "New@example.org")
	if u.Confirmed() || !u.ProvenAt.IsZero() || u.Language != account.German {
		t.Errorf("registered: %+v", u)
	}
	other, otherProof := register(t, s, l, "other@example.org")
	for what, change := range map[string]func(*account.Proof){
		"an unknown id":   func(p *account.Proof) { p.ID = "x" },
		"another's id":    func(p *account.Proof) { p.ID = otherProof.ID },
		"another user":    func(p *account.Proof) { p.UserID = other.ID },
		"no user":         func(p *account.Proof) { p.UserID = "nobody" },
		"another kind":    func(p *account.Proof) { p.Kind = account.ProofReset },
		"another address": func(p *account.Proof) { p.Email = "victim@example.org" },
	} {
		q := p
		change(&q)
		_, err := s.Confirm(ctx, q)
		wantError(t, what, err, account.ErrUsed)
	}
	if again, err := s.ByID(ctx, u.ID); err != nil || again.Confirmed() {
		t.Errorf("after refusals: %+v, %v", again, err)
	}
	got, err := s.Confirm(ctx, p)
	if err != nil || !got.Confirmed() || got.ProvenAt != got.ConfirmedAt {
		t.Errorf("confirmed: %+v, %v", got, err)
	}
	if read, err := s.ByID(ctx, u.ID); err != nil || read != got {
		t.Errorf("read %+v, %v; want %+v", read, err, got)
	}
	_, err = s.Confirm(ctx, p)
	wantError(t, "the same link again", err, account.ErrUsed)
	wantError(t, "another mail for a proven address", s.RequestConfirmation(ctx, u.ID, l.sign), account.ErrUsed)
	must(t, s.RequestConfirmation(ctx, other.ID, l.sign))
	if n := len(due(t, s, other.Email)); n != 2 {
		t.Errorf("%d mails to prove the other address, want 2", n)
	}
	unproven, err := s.List(ctx, account.Filter{Unproven: true}, "", 10)
	if err != nil || len(unproven) != 1 || unproven[0].ID != other.ID {
		t.Errorf("unproven are %+v, %v", unproven, err)
	}
	made := create(t, s, "made@example.org")
	if !made.Confirmed() || !made.ProvenAt.IsZero() {
		t.Errorf("made by an operator: %+v", made)
	}
	if unproven, err = s.List(ctx, account.Filter{Unproven: true}, "", 10); err != nil || len(unproven) != 2 {
		t.Errorf("unproven are %+v, %v", unproven, err)
	}
}

// A stranger registers the address of somebody with an account.
func registeredAgain(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	u := create(t, s, "has@example.org")
	must(t, s.Register(ctx, account.NewUser{Email: "HAS@example.org", Password: "a stranger's password"}, l.sign))
	if got, err := s.Authenticate(ctx, u.Email, password); err != nil || got != u {
		t.Errorf("the account: %+v, %v; want %+v", got, err, u)
	}
	_, err := s.Authenticate(ctx, u.Email, "a stranger's password")
	wantError(t, "the stranger's password", err, account.ErrCredentials)
	mails := due(t, s, u.Email)
	if len(mails) != 1 || mails[0].Kind != account.MailRegistered || mails[0].UserID != u.ID {
		t.Fatalf("mails are %+v", mails)
	}
	if p := l.in(t, mails[0]); p.Kind != account.ProofReset || p.UserID != u.ID {
		t.Errorf("its link is %+v", p)
	}
}

func resetting(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	// A stranger registered the victim's address and made a key.
	u, confirm := register(t, s, l, "victim@example.org")
	_, secret, err := s.CreateKey(ctx, u, account.Key{Name: "stranger's", Scopes: []account.Scope{account.ScopeRead}})
	must(t, err)
	must(t, s.RequestEmail(ctx, u, "stranger@example.org", l.sign))
	taking := l.in(t, last(t, s, "stranger@example.org", account.MailEmail))
	must(t, s.RequestReset(ctx, "Victim@example.org", l.sign))
	p := l.in(t, last(t, s, u.Email, account.MailReset))
	_, err = s.Reset(ctx, p, "short")
	wantError(t, "a short password", err, account.ErrInvalid)
	got, err := s.Reset(ctx, p, "the owner's password")
	if err != nil || !got.Confirmed() || got.Generation != u.Generation+1 {
		t.Fatalf("reset: %+v, %v", got, err)
	}
	_, _, err = s.ByKey(ctx, secret)
	wantError(t, "the stranger's key", err, account.ErrToken)
	_, err = s.Authenticate(ctx, u.Email, password)
	wantError(t, "the stranger's password", err, account.ErrCredentials)
	if _, err := s.Authenticate(ctx, u.Email, "the owner's password"); err != nil {
		t.Error(err)
	}
	_, err = s.Reset(ctx, p, "again another password")
	wantError(t, "the same link again", err, account.ErrUsed)
	if _, err := s.Confirm(ctx, confirm); err != nil { // harmless: the address is proven anyway
		t.Error(err)
	}
	_, err = s.ChangeEmail(ctx, taking)
	wantError(t, "the stranger's link to another address", err, account.ErrUsed)
	last(t, s, u.Email, account.MailPasswordChanged)

	must(t, s.RequestReset(ctx, u.Email, l.sign))
	p = l.in(t, last(t, s, u.Email, account.MailReset))
	must(t, s.RequestEmail(ctx, got, "thief@example.org", l.sign))
	taking = l.in(t, last(t, s, "thief@example.org", account.MailEmail))
	_, err = s.ChangePassword(ctx, got, "one more password")
	must(t, err)
	_, err = s.Reset(ctx, p, "a thief's password")
	wantError(t, "a link from before the change of the password", err, account.ErrUsed)
	_, err = s.ChangeEmail(ctx, taking)
	wantError(t, "a link to another address from before it", err, account.ErrUsed)

	must(t, s.RequestReset(ctx, "nobody@example.org", l.sign))
	if n := len(due(t, s, "nobody@example.org")); n != 0 {
		t.Errorf("%d mails to an address without account", n)
	}
	decoy := l.proofs[len(l.proofs)-1]
	_, err = s.Reset(ctx, decoy, "a password for nobody")
	wantError(t, "the link of a decoy", err, account.ErrUsed)
}

// A stranger's mails do not use up the link to a new password.
func lockedOut(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	stranger, victim := create(t, s, "stranger@example.org"), create(t, s, "victim@example.org")
	for range 2 * account.MailsPerHour {
		must(t, s.RequestEmail(ctx, stranger, victim.Email, l.sign))
	}
	must(t, s.RequestReset(ctx, victim.Email, l.sign))
	if _, err := s.Reset(ctx, l.in(t, last(t, s, victim.Email, account.MailReset)), "the owner's password"); err != nil {
		t.Error(err)
	}
}

// Whoever asks, and however many at once: one recipient gets so many mails in an
// hour.
func mailBomb(t *testing.T, s account.Store) {
	ctx := t.Context()
	const victim = "victim@example.org"
	l := &links{}
	strangers := make([]account.User, 3)
	for i := range strangers {
		strangers[i] = create(t, s, fmt.Sprintf("stranger%d@example.org", i))
	}
	hour := time.Now().Unix() / 3600
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			var err error
			switch i % 3 {
			case 0:
				err = s.Register(ctx, account.NewUser{Email: victim, Password: password}, l.sign)
			case 1:
				err = s.RequestReset(ctx, victim, l.sign)
			case 2:
				err = s.RequestEmail(ctx, strangers[i/3%3], victim, l.sign)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	most := account.MailsPerHour
	if time.Now().Unix()/3600 != hour { // the test ran into the next hour
		most *= 2
	}
	if n := len(due(t, s, victim)); n == 0 || n > most {
		t.Errorf("%d mails, at most %d", n, most)
	}
	if _, err := s.ByEmail(ctx, victim); err != nil {
		t.Errorf("the registration: %v", err)
	}
	if n := len(due(t, s, "stranger0@example.org")); n != 0 {
		t.Errorf("%d mails to a stranger", n)
	}
	// Nor does more come of what a stranger does with an account in her name.
	before := len(due(t, s, victim))
	v, err := s.ByEmail(ctx, victim)
	must(t, err)
	_, _, err = s.CreateKey(ctx, v, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeRead}})
	must(t, err)
	v, err = s.ChangePassword(ctx, v, "another password")
	must(t, err)
	_, err = s.Delete(ctx, v)
	must(t, err)
	if n := len(due(t, s, victim)); n != before {
		t.Errorf("%d more mails to an address that is not proven", n-before)
	}
	// An address that leads to the same mailbox is the same recipient.
	for i := range 3 * account.MailsPerHour {
		must(t, s.RequestEmail(ctx, strangers[0], fmt.Sprintf("many+%d@example.org", i), l.sign))
	}
	sum := 0
	for i := range 3 * account.MailsPerHour {
		sum += len(due(t, s, fmt.Sprintf("many+%d@example.org", i)))
	}
	if time.Now().Unix()/3600 != hour {
		most = 2 * account.MailsPerHour
	}
	if sum == 0 || sum > most {
		t.Errorf("%d mails to one mailbox, at most %d", sum, most)
	}
	// What the owner of a proven one does is told all the same.
	owner := create(t, s, "owner@example.org")
	for range account.MailsPerHour + 1 {
		must(t, s.RequestReset(ctx, owner.Email, l.sign))
	}
	_, err = s.ChangePassword(ctx, owner, "another password")
	must(t, err)
	last(t, s, owner.Email, account.MailPasswordChanged)
}

// What is done to one account at once is done in some order: a link is used by
// one, and nothing outlives a deletion or a reset.
func atOnce(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	together := func(do ...func() error) (done int) {
		t.Helper()
		errs := make([]error, len(do))
		var wg sync.WaitGroup
		for i, f := range do {
			wg.Go(func() { errs[i] = f() })
		}
		wg.Wait()
		for _, err := range errs {
			switch {
			case err == nil:
				done++
			case !errors.Is(err, account.ErrUsed) && !errors.Is(err, account.ErrToken) && !errors.Is(err, account.ErrNotFound):
				t.Error(err)
			}
		}
		return done
	}
	u, confirm := register(t, s, l, "a@example.org")
	must(t, s.RequestReset(ctx, u.Email, l.sign))
	p := l.in(t, last(t, s, u.Email, account.MailReset))
	reset := func() error { _, err := s.Reset(ctx, p, "another password"); return err }
	makeKey := func() error {
		_, _, err := s.CreateKey(ctx, u, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeRead}})
		return err
	}
	if n := together(reset, makeKey, reset, makeKey, reset, makeKey); n == 0 {
		t.Error("nobody could reset")
	}
	got, err := s.ByID(ctx, u.ID)
	must(t, err)
	if k, err := s.KeysOf(ctx, u.ID); err != nil || len(k) != 0 || got.Generation != 1 {
		t.Errorf("after resets: %+v with %+v, %v", got, k, err)
	}

	must(t, s.RequestEmail(ctx, got, "b@example.org", l.sign))
	moves := l.in(t, last(t, s, "b@example.org", account.MailEmail))
	move := func() error { _, err := s.ChangeEmail(ctx, moves); return err }
	prove := func() error { _, err := s.Confirm(ctx, confirm); return err }
	if n := together(move, prove, move, prove); n == 0 || n > 2 {
		t.Errorf("%d links were used, of two", n)
	}
	if got, err = s.ByID(ctx, u.ID); err != nil || got.Email != "b@example.org" || got.Generation != 1 {
		t.Errorf("moved: %+v, %v", got, err)
	}

	u = got
	must(t, s.RequestReset(ctx, u.Email, l.sign))
	p = l.in(t, last(t, s, u.Email, account.MailReset))
	remove := func() error { _, err := s.Delete(ctx, u); return err }
	together(remove, makeKey, reset, makeKey, func() error { return s.RequestEmail(ctx, u, "c@example.org", l.sign) })
	if got, err = s.ByID(ctx, u.ID); err != nil || got.Generation != 2 {
		t.Errorf("deleted or reset: %+v, %v", got, err)
	}
	if k, err := s.KeysOf(ctx, u.ID); err != nil || len(k) != 0 {
		t.Errorf("keys are left: %+v, %v", k, err)
	}
}

func changingAddress(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	u, taken := create(t, s, "old@example.org"), create(t, s, "taken@example.org")
	must(t, s.RequestReset(ctx, u.Email, l.sign))
	reset := l.in(t, last(t, s, u.Email, account.MailReset))

	must(t, s.RequestEmail(ctx, u, taken.Email, l.sign))
	if m := last(t, s, taken.Email, account.MailTaken); m.Token != "" {
		t.Errorf("the owner of a taken address gets a link: %+v", m)
	}
	wantError(t, "no address", s.RequestEmail(ctx, u, "no address", l.sign), account.ErrInvalid)
	must(t, s.RequestEmail(ctx, u, "New@example.org", l.sign))
	if got, err := s.ByID(ctx, u.ID); err != nil || got != u {
		t.Errorf("before the proof: %+v, %v", got, err)
	}
	p := l.in(t, last(t, s, "new@example.org", account.MailEmail))
	wrong := p
	wrong.Email = "victim@example.org"
	_, err := s.ChangeEmail(ctx, wrong)
	wantError(t, "another address", err, account.ErrUsed)
	wrong = reset
	wrong.Email = "new@example.org"
	_, err = s.ChangeEmail(ctx, wrong)
	wantError(t, "a link for a reset", err, account.ErrUsed)
	_, err = s.ChangeEmail(ctx, reset)
	wantError(t, "a link for a reset, for its own address", err, account.ErrUsed)
	must(t, s.RequestEmail(ctx, u, "mistyped@example.org", l.sign))
	mistyped := l.in(t, last(t, s, "mistyped@example.org", account.MailEmail))
	got, err := s.ChangeEmail(ctx, p)
	if err != nil || got.Email != "new@example.org" || got.ConfirmedAt.Before(u.ConfirmedAt) || got.ProvenAt.IsZero() {
		t.Fatalf("changed: %+v, %v", got, err)
	}
	last(t, s, "old@example.org", account.MailEmailChanged)
	_, err = s.ByEmail(ctx, "old@example.org")
	wantError(t, "the old address", err, account.ErrNotFound)
	_, err = s.Reset(ctx, reset, "from the old mailbox")
	wantError(t, "a link in the old mailbox", err, account.ErrUsed)
	_, err = s.ChangeEmail(ctx, mistyped)
	wantError(t, "a link to an address that was asked for before", err, account.ErrUsed)

	must(t, s.RequestEmail(ctx, u, "third@example.org", l.sign))
	p = l.in(t, last(t, s, "third@example.org", account.MailEmail))
	create(t, s, "third@example.org")
	_, err = s.ChangeEmail(ctx, p)
	wantError(t, "an address that was taken meanwhile", err, account.ErrExists)
	if got, err := s.ByID(ctx, u.ID); err != nil || got.Email != "new@example.org" {
		t.Errorf("after that: %+v, %v", got, err)
	}
}

// What the conversions of an account keep of it is listed when it changes, until
// they have followed.
func following(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	listed := func(want ...account.User) []account.Change {
		t.Helper()
		changes, err := s.Changed(ctx, "", 10)
		must(t, err)
		var got []account.User
		for _, c := range changes {
			got = append(got, c.User)
			if d := time.Since(c.At); d < -time.Second || d > time.Minute {
				t.Errorf("changed at %s", c.At)
			}
		}
		slices.SortFunc(want, func(a, b account.User) int { return strings.Compare(a.ID, b.ID) })
		if !slices.Equal(got, want) {
			t.Errorf("listed are %+v, want %+v", got, want)
		}
		return changes
	}
	a, b := create(t, s, "a@example.org"), create(t, s, "b@example.org")
	_, err := s.LogOut(ctx, b.ID)
	must(t, err)
	_, err = s.Configure(ctx, b.ID, "", "")
	must(t, err)
	must(t, s.RequestEmail(ctx, a, "new@example.org", l.sign))
	listed()
	a, err = s.ChangeEmail(ctx, l.in(t, last(t, s, "new@example.org", account.MailEmail)))
	must(t, err)
	first := listed(a)[0]
	b, err = s.Configure(ctx, b.ID, account.German, account.MailNone)
	must(t, err)
	listed(a, b)
	if page, err := s.Changed(ctx, min(a.ID, b.ID), 1); err != nil || len(page) != 1 || page[0].User.ID != max(a.ID, b.ID) {
		t.Errorf("the second page is %+v, %v", page, err)
	}
	must(t, s.Followed(ctx, a.ID, first.At.Add(-time.Millisecond)))
	listed(a, b)
	must(t, s.Followed(ctx, a.ID, first.At))
	listed(b)
	b, err = s.Delete(ctx, b)
	must(t, err)
	must(t, s.Remove(ctx, b.ID))
	listed()
}

func unsubscribing(t *testing.T, s account.Store) {
	ctx := t.Context()
	u := create(t, s, "a@example.org")
	_, err := s.Unsubscribe(ctx, u.ID, "old@example.org", account.MailNone)
	wantError(t, "by a link to another address", err, account.ErrNotFound)
	_, err = s.Unsubscribe(ctx, "nobody", u.Email, account.MailNone)
	wantError(t, "nobody", err, account.ErrNotFound)
	if got, err := s.ByID(ctx, u.ID); err != nil || got != u {
		t.Errorf("after that: %+v, %v", got, err)
	}
	want := u
	want.Mails = account.MailFailures
	if got, err := s.Unsubscribe(ctx, u.ID, u.Email, account.MailFailures); err != nil || got != want {
		t.Errorf("unsubscribed: %+v, %v; want %+v", got, err, want)
	}
	want.Mails = account.MailNone
	for _, mails := range []account.MailSetting{account.MailNone, account.MailFailures} { // an old link does not bring mails back
		if got, err := s.Unsubscribe(ctx, u.ID, u.Email, mails); err != nil || got != want {
			t.Errorf("unsubscribed: %+v, %v; want %+v", got, err, want)
		}
	}
	if changes, err := s.Changed(ctx, "", 10); err != nil || len(changes) != 1 {
		t.Errorf("changed are %+v, %v", changes, err)
	}
}

func sessions(t *testing.T, s account.Store) {
	ctx := t.Context()
	u := create(t, s, "a@example.org")
	for i := range int64(3) {
		got, err := s.LogOut(ctx, u.ID)
		if err != nil || got.Generation != i+1 {
			t.Fatalf("log out: %+v, %v", got, err)
		}
	}
	before := u
	u, err := s.ByID(ctx, u.ID)
	must(t, err)
	// A request of a session that has ended since.
	_, err = s.ChangePassword(ctx, before, "a thief's password")
	wantError(t, "a password of an ended session", err, account.ErrToken)
	_, _, err = s.CreateKey(ctx, before, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeRead}})
	wantError(t, "a key of an ended session", err, account.ErrToken)
	wantError(t, "an address of an ended session", s.RequestEmail(ctx, before, "thief@example.org", (&links{}).sign), account.ErrToken)
	_, err = s.Delete(ctx, before)
	wantError(t, "deletion by an ended session", err, account.ErrToken)
	if again, err := s.ByID(ctx, u.ID); err != nil || again != u {
		t.Errorf("after refusals: %+v, %v", again, err)
	}
	if k, err := s.KeysOf(ctx, u.ID); err != nil || len(k) != 0 || len(due(t, s, "thief@example.org")) != 0 {
		t.Errorf("an ended session made %+v, %v", k, err)
	}
	got, err := s.ChangePassword(ctx, u, "another password")
	if err != nil || got.Generation != 4 {
		t.Fatalf("change password: %+v, %v", got, err)
	}
	wantError(t, "the old password", s.CheckPassword(ctx, u.ID, password), account.ErrCredentials)
	must(t, s.CheckPassword(ctx, u.ID, "another password"))
	wantError(t, "nobody's password", s.CheckPassword(ctx, "nobody", password), account.ErrCredentials)
	if _, err := s.ChangePassword(ctx, u, "Password123"); !errors.Is(err, account.ErrInvalid) {
		t.Errorf("a common password: %v", err)
	}
	_, err = s.LogOut(ctx, "nobody")
	wantError(t, "log out of nobody", err, account.ErrNotFound)
	got, err = s.Configure(ctx, u.ID, account.German, "")
	if err != nil || got.Language != account.German || got.Mails != "" {
		t.Errorf("configured: %+v, %v", got, err)
	}
	got, err = s.Configure(ctx, u.ID, "", account.MailFailures)
	if err != nil || got.Language != account.German || got.Mails != account.MailFailures {
		t.Errorf("configured: %+v, %v", got, err)
	}
	l := &links{}
	stranger, proof := register(t, s, l, "boss@example.org")
	wantError(t, "an operator whose address is not proven", s.SetAdmin(ctx, stranger.ID, true), account.ErrUnproven)
	must(t, s.SetAdmin(ctx, stranger.ID, false))
	if got, err := s.Confirm(ctx, proof); err != nil || got.Admin {
		t.Errorf("confirmed: %+v, %v", got, err)
	}
	must(t, s.SetAdmin(ctx, stranger.ID, true))
	must(t, s.SetAdmin(ctx, u.ID, true))
	if got, err = s.ByID(ctx, u.ID); err != nil || !got.Admin || got.Generation != 4 {
		t.Errorf("admin: %+v, %v", got, err)
	}
	admin, err := s.Add(ctx, account.NewUser{Email: "admin@example.org", Password: password, Admin: true})
	must(t, err)
	if got, err := s.ByID(ctx, admin.ID); err != nil || got != admin || !got.Admin {
		t.Errorf("an admin from the start: %+v, %v", got, err)
	}
}

func deleting(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	u, stays := create(t, s, "goes@example.org"), create(t, s, "stays@example.org")
	_, secret, err := s.CreateKey(ctx, u, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeConvert}})
	must(t, err)
	must(t, s.RequestReset(ctx, u.Email, l.sign))
	reset := l.in(t, last(t, s, u.Email, account.MailReset))
	must(t, s.RequestEmail(ctx, u, "new@example.org", l.sign))
	moves := l.in(t, last(t, s, "new@example.org", account.MailEmail))
	must(t, s.Remove(ctx, u.ID)) // does nothing before Delete
	gone, err := s.Delete(ctx, u)
	if err != nil || !gone.Deleted() || gone.Generation != 1 {
		t.Fatalf("deleted: %+v, %v", gone, err)
	}
	if again, err := s.Delete(ctx, u); err != nil || again != gone {
		t.Errorf("deleted again: %+v, %v", again, err)
	}
	last(t, s, u.Email, account.MailDeleted)
	_, err = s.Authenticate(ctx, u.Email, password)
	wantError(t, "login", err, account.ErrCredentials)
	wantError(t, "password", s.CheckPassword(ctx, u.ID, password), account.ErrCredentials)
	_, _, err = s.ByKey(ctx, secret)
	wantError(t, "key", err, account.ErrToken)
	_, err = s.Reset(ctx, reset, "back from the dead")
	wantError(t, "reset", err, account.ErrUsed)
	_, err = s.ChangeEmail(ctx, moves)
	wantError(t, "change of the address", err, account.ErrUsed)
	_, err = s.ChangePassword(ctx, u, "back from the dead")
	wantError(t, "change", err, account.ErrNotFound)
	_, _, err = s.CreateKey(ctx, u, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeConvert}})
	wantError(t, "a new key", err, account.ErrNotFound)
	before := len(due(t, s, u.Email))
	must(t, s.Register(ctx, account.NewUser{Email: u.Email, Password: password}, l.sign))
	must(t, s.RequestReset(ctx, u.Email, l.sign))
	must(t, s.RequestEmail(ctx, stays, u.Email, l.sign))
	if n := len(due(t, s, u.Email)); n != before {
		t.Errorf("%d more mails to a deleted account", n-before)
	}
	if d, err := s.Deleted(ctx, "", 10); err != nil || len(d) != 1 || d[0] != gone {
		t.Errorf("deleted are %+v, %v", d, err)
	}
	must(t, s.Remove(ctx, u.ID))
	_, err = s.ByID(ctx, u.ID)
	wantError(t, "the row", err, account.ErrNotFound)
	if all, err := s.List(ctx, account.Filter{}, "", 10); err != nil || len(all) != 1 || all[0].ID != stays.ID {
		t.Errorf("left are %+v, %v", all, err)
	}
	create(t, s, u.Email) // the address is free again
}

func keys(t *testing.T, s account.Store) {
	ctx := t.Context()
	u, other := create(t, s, "a@example.org"), create(t, s, "b@example.org")
	k, secret, err := s.CreateKey(ctx, u, account.Key{Name: "cron é", Scopes: []account.Scope{account.ScopeConvert, account.ScopeAdmin},
		ExpiresAt: time.Now().Add(time.Hour)})
	must(t, err)
	if !account.IsSecret(secret) || len(secret) != len("tonearm_")+43 {
		t.Errorf("the secret has %d characters", len(secret))
	}
	got, owner, err := s.ByKey(ctx, secret)
	if err != nil || owner != u || got.ID != k.ID || got.Name != "cron é" || !slices.Equal(got.Scopes, k.Scopes) || got.ExpiresAt != k.ExpiresAt {
		t.Errorf("by its secret: %+v of %+v, %v; want %+v", got, owner, err, k)
	}
	list, err := s.KeysOf(ctx, u.ID)
	if err != nil || len(list) != 1 || list[0].LastUsedAt.IsZero() {
		t.Errorf("keys are %+v, %v", list, err)
	}
	for _, wrong := range []string{"", "tonearm_", secret + "x", secret[:len(secret)-1], strings.ToUpper(secret), k.ID, strings.Repeat("x", 1<<16)} {
		_, _, err := s.ByKey(ctx, wrong)
		wantError(t, fmt.Sprintf("%.20q", wrong), err, account.ErrToken)
	}
	twice := account.Key{Name: "twice", Scopes: slices.Repeat([]account.Scope{account.ScopeConvert, account.ScopeRead}, 100)}
	if k, _, err := s.CreateKey(ctx, u, twice); err != nil || !slices.Equal(k.Scopes, []account.Scope{account.ScopeRead, account.ScopeConvert}) {
		t.Errorf("scopes that are named twice: %+v, %v", k, err)
	}
	_, old, err := s.CreateKey(ctx, u, account.Key{Name: "old", Scopes: []account.Scope{account.ScopeRead}, ExpiresAt: time.Now().Add(-time.Second)})
	must(t, err)
	_, _, err = s.ByKey(ctx, old)
	wantError(t, "a key that has expired", err, account.ErrToken)
	wantError(t, "another's key", s.RevokeKey(ctx, other.ID, k.ID), account.ErrNotFound)
	must(t, s.RevokeKey(ctx, u.ID, k.ID))
	wantError(t, "the same again", s.RevokeKey(ctx, u.ID, k.ID), account.ErrNotFound)
	_, _, err = s.ByKey(ctx, secret)
	wantError(t, "a revoked key", err, account.ErrToken)
	for what, k := range map[string]account.Key{
		"no name":          {Scopes: []account.Scope{account.ScopeRead}},
		"line break":       {Name: "a\nb", Scopes: []account.Scope{account.ScopeRead}},
		"long":             {Name: strings.Repeat("x", 101), Scopes: []account.Scope{account.ScopeRead}},
		"no scope":         {Name: "x"},
		"an unknown scope": {Name: "x", Scopes: []account.Scope{"all"}},
	} {
		_, _, err := s.CreateKey(ctx, u, k)
		wantError(t, what, err, account.ErrInvalid)
	}
	_, _, err = s.CreateKey(ctx, account.User{ID: "nobody"}, account.Key{Name: "x", Scopes: []account.Scope{account.ScopeRead}})
	wantError(t, "nobody's key", err, account.ErrNotFound)

	var wg sync.WaitGroup
	for range account.MaxKeys + 5 {
		wg.Go(func() {
			_, _, err := s.CreateKey(ctx, other, account.Key{Name: "x", Scopes: []account.Scope{account.ScopeRead}})
			if err != nil && !errors.Is(err, account.ErrKeys) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list, err := s.KeysOf(ctx, other.ID); err != nil || len(list) != account.MaxKeys {
		t.Errorf("%d keys, %v; want %d", len(list), err, account.MaxKeys)
	}
}

func claims(t *testing.T, s account.Store) {
	ctx := t.Context()
	l := &links{}
	u, _ := register(t, s, l, "a@example.org")
	m := last(t, s, u.Email, account.MailConfirm)
	now := time.Now().UTC().Truncate(time.Millisecond)
	claim := func(m *account.Mail) error {
		if m.Notice.State != conversion.NoticeOwed {
			return conversion.ErrUnchanged
		}
		m.Notice.State, m.Notice.Tries, m.Notice.ClaimedUntil = conversion.NoticeSending, m.Notice.Tries+1, now.Add(time.Minute)
		return nil
	}
	won := make(chan bool, 8)
	for range cap(won) {
		go func() {
			_, err := s.UpdateMail(ctx, m.ID, claim)
			if err != nil && !errors.Is(err, conversion.ErrUnchanged) {
				t.Error(err)
			}
			won <- err == nil
		}()
	}
	n := 0
	for range cap(won) {
		if <-won {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d claims of one mail succeeded", n)
	}
	if len(due(t, s, u.Email)) != 0 {
		t.Error("a claimed mail is due")
	}
	if late, err := s.DueMails(ctx, now.Add(time.Hour), 10); err != nil || len(late) != 1 || late[0].Token == "" {
		t.Errorf("after the claim's end: %+v, %v", late, err)
	}
	got, err := s.UpdateMail(ctx, m.ID, func(m *account.Mail) error {
		m.Notice.State, m.Notice.SentAt, m.Notice.Reason = conversion.NoticeSent, now, strings.Repeat("é", 600)
		return nil
	})
	if err != nil || got.Token != "" {
		t.Errorf("sent: %+v, %v", got, err)
	}
	read, err := s.Mail(ctx, m.ID)
	if err != nil || read.Token != "" || read.Notice.State != conversion.NoticeSent || read.Notice.SentAt != now || read.Notice.Tries != 1 {
		t.Errorf("read %+v, %v", read, err)
	}
	_, err = s.Mail(ctx, "nothing")
	wantError(t, "an unknown mail", err, account.ErrNotFound)
	_, err = s.UpdateMail(ctx, "nothing", claim)
	wantError(t, "an unknown mail", err, account.ErrNotFound)

	must(t, s.RequestReset(ctx, "nobody@example.org", l.sign))
	must(t, s.Tidy(ctx, now.Add(40*24*time.Hour)))
	_, err = s.Mail(ctx, m.ID)
	wantError(t, "an old mail", err, account.ErrNotFound)
	_, err = s.Confirm(ctx, l.proofs[0])
	wantError(t, "an old link", err, account.ErrUsed)
}

func audit(t *testing.T, s account.Store) {
	ctx := t.Context()
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range 3 {
		must(t, s.Audit(ctx, account.Event{At: now.Add(time.Duration(i) * time.Second), Action: account.ActionDelete, UserID: "u" + fmt.Sprint(i%2),
			KeyID: "k", Subject: strings.Repeat("s", 200), Outcome: "ok", Network: "192.0.2.1"}))
	}
	all, err := s.Events(ctx, "", 2)
	if err != nil || len(all) != 2 || all[0].At != now.Add(2*time.Second) || all[0].Action != account.ActionDelete || all[0].KeyID != "k" {
		t.Errorf("events are %+v, %v", all, err)
	}
	if of, err := s.Events(ctx, "u1", 10); err != nil || len(of) != 1 || of[0].UserID != "u1" {
		t.Errorf("events of one are %+v, %v", of, err)
	}
	must(t, s.Tidy(ctx, now.Add(account.AuditLife+1500*time.Millisecond)))
	if all, err = s.Events(ctx, "", 10); err != nil || len(all) != 1 {
		t.Errorf("after a year: %+v, %v", all, err)
	}
}
