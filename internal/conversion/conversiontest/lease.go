package conversiontest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// lease asks for a lease and checks who has it then.
func (s *suite) lease(name, holder string, d time.Duration, want string) {
	s.Helper()
	if got, err := s.store.Lease(s.Context(), name, holder, d); err != nil || got != want {
		s.Fatalf("%s asks for lease %s: %q has it (%v), want %q", holder, name, got, err, want)
	}
}

func (s *suite) release(name, holder string) {
	s.Helper()
	if err := s.store.Release(s.Context(), name, holder); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) leases() {
	s.release("x", "a") // there is none
	s.lease("x", "a", time.Hour, "a")
	s.lease("x", "b", time.Hour, "a")
	s.lease("y", "b", time.Hour, "b")
	s.lease("x", "a", time.Hour, "a") // renewed
	s.release("x", "b")               // it is not b's
	s.lease("x", "b", time.Hour, "a")
	s.release("x", "a")
	s.lease("x", "b", time.Hour, "b")
	s.lease("x", "a", time.Hour, "b")

	// The last renewal decides when it ends.
	s.lease("x", "b", time.Millisecond, "b")
	for deadline := time.Now().Add(time.Minute); ; {
		has, err := s.store.Lease(s.Context(), "x", "a", time.Hour)
		if err != nil {
			s.Fatal(err)
		}
		if has == "a" {
			break
		}
		if time.Now().After(deadline) {
			s.Fatalf("%q keeps a lease that has ended", has)
		}
	}
	s.lease("x", "b", time.Hour, "a")
}

// leaseRace lets many ask for a new lease at once, and for one that has ended.
func (s *suite) leaseRace() {
	s.lease("ended", "nobody", -time.Second, "nobody")
	for _, name := range []string{"new", "ended"} {
		const n = 10
		var wg sync.WaitGroup
		has, errs := make([]string, n), make([]error, n)
		for i := range n {
			wg.Go(func() {
				has[i], errs[i] = s.store.Lease(s.Context(), name, fmt.Sprintf("p%d", i), time.Hour)
			})
		}
		wg.Wait()
		own := 0
		for i := range n {
			if errs[i] != nil {
				s.Fatal(errs[i])
			}
			if has[i] == fmt.Sprintf("p%d", i) {
				own++
			}
		}
		slices.Sort(has)
		if one := slices.Compact(has); own != 1 || len(one) != 1 {
			s.Errorf("lease %q: %d have it, and they say that %q have it", name, own, one)
		}
	}
}
