package sqlaccount

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/waittest"
)

// line is how many of a network wait.
func (t *turns) line(network string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting[network])
}

// 400 of one network, and then one each of two others: these two wait for one
// turn of the first, and most of the 400 not at all.
func TestTurns(t *testing.T) {
	turns := newTurns(1)
	check(t, turns.take(t.Context(), ""))
	ctx, stop := context.WithTimeout(t.Context(), time.Minute) // of one that waits and must not
	defer stop()
	got := make(chan string) // whose turn it was
	enter := func(network string) {
		go func() {
			if turns.take(ctx, network) == nil {
				got <- network
			}
		}()
	}
	for i := range waitingOfNetwork {
		enter("flood")
		waittest.Until(t, time.Minute, "it waits", func() bool { return turns.line("flood") == i+1 })
	}
	for range 400 - waitingOfNetwork {
		if err := turns.take(ctx, "flood"); !errors.Is(err, account.ErrBusy) {
			t.Fatalf("one too many of the flood: %v", err)
		}
	}
	for _, network := range []string{"one", "two", ""} {
		enter(network)
		waittest.Until(t, time.Minute, "it waits", func() bool { return turns.line(network) == 1 })
	}
	var order []string
	for range waitingOfNetwork + 3 {
		turns.give()
		order = append(order, <-got)
	}
	if want := []string{"flood", "one", "two", "", "flood", "flood"}; !slices.Equal(order[:6], want) {
		t.Errorf("the first turns are %q, want %q", order[:6], want)
	}
	turns.give()
	if turns.free != 1 || len(turns.order) != 0 || len(turns.waiting) != 0 {
		t.Errorf("left over: %d free, %q, %v", turns.free, turns.order, turns.waiting)
	}
}

// Who leaves the line takes no turn, and no slot is lost, not even one that comes
// at the same moment.
func TestTurnsLeave(t *testing.T) {
	turns := newTurns(1)
	for i := range 500 {
		check(t, turns.take(t.Context(), ""))
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		for _, network := range []string{"a", "a", "b"} {
			go func() { left <- turns.take(ctx, network) }()
		}
		waittest.Until(t, time.Minute, "they wait", func() bool { return turns.line("a") == 2 && turns.line("b") == 1 })
		if i%2 == 0 {
			cancel()
			turns.give()
		} else {
			turns.give()
			cancel()
		}
		for range 3 {
			switch err := <-left; {
			case err == nil:
				turns.give()
			case !errors.Is(err, context.Canceled):
				t.Error(err)
			}
		}
		if turns.free != 1 || len(turns.order) != 0 || len(turns.waiting) != 0 {
			t.Fatalf("left over: %d free, %q, %v", turns.free, turns.order, turns.waiting)
		}
	}
}

// All that computes a hash takes its turn by the network that it came from: once
// too many of one wait, more are refused, before any hash, and whoever has an
// account is as busy as who has none. One of another network waits for its turn.
func TestNetworksTakeTurns(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		s.hasher = newHasher(cheap, 1)
		s.dummy = s.hasher.dummy()
		sign := func(account.Proof) (string, error) { return "token", nil }
		u, err := s.Create(t.Context(), "a@example.org", "a password", 0)
		check(t, err)
		before := s.hasher.runs.Load()

		check(t, s.hasher.turns.take(t.Context(), ""))
		ctx, cancel := context.WithCancel(account.FromNetwork(t.Context(), "192.0.2.1"))
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		for i := range waitingOfNetwork {
			all.Go(func() { _, _ = s.Authenticate(ctx, "nobody@example.org", "a guess") })
			waittest.Until(t, time.Minute, "it waits", func() bool { return s.hasher.turns.line("192.0.2.1") == i+1 })
		}
		asks, stop := context.WithTimeout(ctx, 30*time.Second) // of one that waits
		defer stop()
		for name, err := range map[string]error{
			"login":                   second(s.Authenticate(asks, u.Email, "a password")),
			"login of nobody":         second(s.Authenticate(asks, "nobody@example.org", "a password")),
			"login of no address":     second(s.Authenticate(asks, "nobody", "a password")),
			"password again":          s.CheckPassword(asks, u.ID, "a password"),
			"new account":             second(s.Create(asks, "b@example.org", "a password", 0)),
			"registration":            s.Register(asks, account.NewUser{Email: "c@example.org", Password: "a password"}, sign),
			"registration of a known": s.Register(asks, account.NewUser{Email: u.Email, Password: "a password"}, sign),
			"reset":                   second(s.Reset(asks, account.Proof{Kind: account.ProofReset, UserID: u.ID}, "another password")),
			"change of the password":  second(s.ChangePassword(asks, u, "another password")),
		} {
			if !errors.Is(err, account.ErrBusy) {
				t.Errorf("%s: %v, want account.ErrBusy", name, err)
			}
		}
		if got := s.hasher.runs.Load() - before; got != 0 {
			t.Errorf("%d hashes were computed", got)
		}

		done := make(chan error, 1)
		go func() {
			_, err := s.Authenticate(account.FromNetwork(t.Context(), "198.51.100.1"), u.Email, "a password")
			done <- err
		}()
		waittest.Until(t, time.Minute, "it waits", func() bool { return s.hasher.turns.line("198.51.100.1") == 1 })
		s.hasher.turns.give()
		check(t, <-done)
	})
}

func second[T any](_ T, err error) error { return err }
