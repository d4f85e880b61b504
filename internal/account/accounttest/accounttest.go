// Package accounttest is the conformance suite of account stores.
package accounttest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/account"
)

const password = "correct horse"

// Run runs the suite. open returns an empty, prepared store for one test and
// closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) account.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, account.Store)
	}{
		{"CreateAndRead", createAndRead},
		{"OneAccountAnAddress", oneAccountAnAddress},
		{"Unicode", unicode},
		{"Refusals", refusals},
		{"Authenticate", authenticate},
		{"Unknown", unknown},
		{"CreateAtOnce", createAtOnce},
		{"ManyLogins", manyLogins},
		{"Canceled", canceled},
		{"Confirming", confirming},
		{"RegisteredAgain", registeredAgain},
		{"Resetting", resetting},
		{"MailBomb", mailBomb},
		{"LockedOut", lockedOut},
		{"AtOnce", atOnce},
		{"ChangingAddress", changingAddress},
		{"Following", following},
		{"Unsubscribing", unsubscribing},
		{"Sessions", sessions},
		{"Deleting", deleting},
		{"Keys", keys},
		{"Claims", claims},
		{"Audit", audit},
		{"Limits", limits},
		{"Usage", usage},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func create(t *testing.T, s account.Store, email string) account.User {
	t.Helper()
	u, err := s.Create(t.Context(), email, password, 0)
	if err != nil {
		t.Fatalf("create %s: %v", email, err)
	}
	return u
}

func createAndRead(t *testing.T, s account.Store) {
	ctx := t.Context()
	if err := s.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Second)
	u, err := s.Create(ctx, " Ada.Lovelace+mp3@Example.ORG ", password, 6<<30)
	if err != nil {
		t.Fatal(err)
	}
	if u.Email != "ada.lovelace+mp3@example.org" || u.ID == "" || u.MaxUploadBytes != 6<<30 ||
		u.CreatedAt.Before(before) || u.CreatedAt.After(time.Now().Add(time.Second)) {
		t.Errorf("created %+v", u)
	}
	for name, read := range map[string]func() (account.User, error){
		"by id":           func() (account.User, error) { return s.ByID(ctx, u.ID) },
		"by address":      func() (account.User, error) { return s.ByEmail(ctx, u.Email) },
		"by another case": func() (account.User, error) { return s.ByEmail(ctx, "ADA.Lovelace+MP3@example.org") },
		"by login":        func() (account.User, error) { return s.Authenticate(ctx, "Ada.Lovelace+mp3@example.org", password) },
	} {
		if got, err := read(); err != nil || got != u {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, u)
		}
	}
}

func oneAccountAnAddress(t *testing.T, s account.Store) {
	first := create(t, s, "one@example.org")
	for _, again := range []string{"one@example.org", "ONE@example.org", "one@EXAMPLE.org", "\tOne@Example.Org\n", "one@ｅｘａｍｐｌｅ.org"} {
		if _, err := s.Create(t.Context(), again, "another password", 0); !errors.Is(err, account.ErrExists) {
			t.Errorf("create %q again: got %v, want ErrExists", again, err)
		}
	}
	if got, err := s.Authenticate(t.Context(), "one@example.org", password); err != nil || got != first {
		t.Errorf("the first account after refusals: %+v, %v", got, err)
	}
}

func unicode(t *testing.T, s account.Store) {
	ctx := t.Context()
	for _, email := range []string{"jose@example.org", "josé@example.org", "jösé@exämple.org", "用户@例子.广告", "🎧@example.org", "strasse@example.org", "straße@example.org"} {
		u, err := s.Create(ctx, email, "pässwörd 🎧 日本", 0)
		if err != nil {
			t.Errorf("create %s: %v", email, err)
			continue
		}
		if got, err := s.Authenticate(ctx, email, "pässwörd 🎧 日本"); err != nil || got != u {
			t.Errorf("authenticate %s: got %+v, %v; want %+v", email, got, err, u)
		}
	}
	if _, err := s.Create(ctx, "ÖRN@example.org", password, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByEmail(ctx, "örn@example.org"); err != nil {
		t.Errorf("an upper-case letter beyond ASCII: %+v, %v", got, err)
	}
}

func refusals(t *testing.T, s account.Store) {
	long := strings.Repeat("a", account.MaxEmailLength)
	for name, c := range map[string]struct {
		email, password string
		max             int64
	}{
		"empty address":      {"", password, 0},
		"no @":               {"somebody", password, 0},
		"two addresses":      {"a@example.org, b@example.org", password, 0},
		"display name":       {"A <a@example.org>", password, 0},
		"over-long address":  {long + "@example.org", password, 0},
		"long in bytes":      {strings.Repeat("é", 125) + "@example.org", password, 0},
		"slash":              {"a/b@example.org", password, 0},
		"line break":         {"a@example.org\r\nBcc: b@example.org", password, 0},
		"NUL":                {"a\x00@example.org", password, 0},
		"not UTF-8":          {"a\xff@example.org", password, 0},
		"short password":     {"a@example.org", "seven77", 0},
		"over-long password": {"a@example.org", strings.Repeat("p", account.MaxPasswordLength+1), 0},
		"negative limit":     {"a@example.org", password, -1},
	} {
		if _, err := s.Create(t.Context(), c.email, c.password, c.max); !errors.Is(err, account.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	longest := long[:account.MaxEmailLength-len("@example.org")] + "@example.org"
	secret := strings.Repeat("p", account.MaxPasswordLength)
	want, err := s.Create(t.Context(), longest, secret, 1<<62)
	if err != nil {
		t.Fatalf("longest address and password: %v", err)
	}
	if got, err := s.Authenticate(t.Context(), longest, secret); err != nil || got != want {
		t.Errorf("longest address and password: got %+v, %v", got, err)
	}
	if _, err := s.Authenticate(t.Context(), longest, secret+"p"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("one byte more than the longest password: got %v, want ErrCredentials", err)
	}
}

func authenticate(t *testing.T, s account.Store) {
	create(t, s, "a@example.org")
	create(t, s, "b@example.org")
	for _, c := range [][2]string{
		{"a@example.org", ""}, {"a@example.org", "wrong"}, {"a@example.org", password + " "},
		{"a@example.org", strings.ToUpper(password)}, {"a@example.org", strings.Repeat("p", 1<<20)},
		{"nobody@example.org", password}, {"", password}, {"not an address", password},
		{"a@example.org' OR 1=1 --", password}, {"%@example.org", password}, {"a@example.org ", password + "\x00"},
		{strings.Repeat("a", 1<<16) + "@example.org", password},
	} {
		if u, err := s.Authenticate(t.Context(), c[0], c[1]); !errors.Is(err, account.ErrCredentials) || u != (account.User{}) {
			t.Errorf("%.40q with %.40q: got %+v, %v; want ErrCredentials", c[0], c[1], u, err)
		}
	}
}

func unknown(t *testing.T, s account.Store) {
	for _, id := range []string{"", "nobody", "0193a4f2-0000-7000-8000-000000000000", strings.Repeat("x", 1<<16), "a' OR '1'='1"} {
		if _, err := s.ByID(t.Context(), id); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("by id %.20q: got %v, want ErrNotFound", id, err)
		}
	}
	for _, email := range []string{"", "nobody", "nobody@example.org", strings.Repeat("x", 1<<16) + "@example.org"} {
		if _, err := s.ByEmail(t.Context(), email); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("by address %.20q: got %v, want ErrNotFound", email, err)
		}
	}
}

func createAtOnce(t *testing.T, s account.Store) {
	const n = 8
	users, errs := make([]account.User, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { users[i], errs[i] = s.Create(t.Context(), "Race@example.org", password, int64(i)) })
	}
	wg.Wait()
	var won []account.User
	for i, err := range errs {
		switch {
		case err == nil:
			won = append(won, users[i])
		case !errors.Is(err, account.ErrExists):
			t.Errorf("create: %v", err)
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d of %d creations of one address succeeded", len(won), n)
	}
	if got, err := s.ByEmail(t.Context(), "race@example.org"); err != nil || got != won[0] {
		t.Errorf("got %+v, %v; want the one that succeeded, %+v", got, err, won[0])
	}
}

func manyLogins(t *testing.T, s account.Store) {
	want := create(t, s, "many@example.org")
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if i%3 == 0 {
				if _, err := s.Authenticate(t.Context(), "many@example.org", "wrong password"); !errors.Is(err, account.ErrCredentials) {
					t.Errorf("wrong password: %v", err)
				}
				return
			}
			if got, err := s.Authenticate(t.Context(), "many@example.org", password); err != nil || got != want {
				t.Errorf("right password: %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func canceled(t *testing.T, s account.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Create(ctx, "late@example.org", password, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("create: got %v, want context.Canceled", err)
	}
	if _, err := s.Authenticate(ctx, "late@example.org", password); !errors.Is(err, context.Canceled) {
		t.Errorf("authenticate: got %v, want context.Canceled", err)
	}
	if _, err := s.ByEmail(t.Context(), "late@example.org"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("by address: got %v, want ErrNotFound", err)
	}
}
