// Package limittest is the conformance suite of stores of budgets.
package limittest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/limit"
)

// Harness is a store for one test.
type Harness struct {
	Store limit.Store
	Other limit.Store // another handle on the same store
	// Pass lets time pass for both, or go back.
	Pass func(d time.Duration)
}

// Run runs the suite. open returns an empty store for one test. Budgets come back
// in hours, so that the time which the tests take does not matter.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for name, test := range map[string]func(suite){
		"Refill": suite.refill, "AllOrNone": suite.allOrNone, "Return": suite.give, "AtOnce": suite.atOnce,
		"ClockGoesBack": suite.clockGoesBack, "Marks": suite.marks,
	} {
		t.Run(name, func(t *testing.T) { test(suite{t, open(t)}) })
	}
}

type suite struct {
	*testing.T
	Harness
}

// budget has this many tries, and one more after each hour.
func budget(key string, burst int) limit.Budget {
	return limit.Budget{Key: key, Limit: limit.Limit{Burst: burst, Every: time.Hour}}
}

// takes wants this many tries to succeed and the next one to wait, for most of an
// interval at most.
func (s suite) takes(want int, most time.Duration, budgets ...limit.Budget) {
	s.Helper()
	for got := 0; ; got++ {
		wait, err := s.Store.Take(s.Context(), budgets...)
		switch {
		case err != nil:
			s.Fatal(err)
		case wait == 0 && got < want:
			continue
		case wait == 0:
			s.Fatalf("took more than %d", want)
		case got != want:
			s.Errorf("took %d, want %d", got, want)
		case wait < most-time.Minute || wait > most:
			s.Errorf("the next one waits for %v, want %v", wait, most)
		}
		return
	}
}

// Tries come back one by one, and never more than a budget holds.
func (s suite) refill() {
	b := budget("a", 3)
	s.takes(3, time.Hour, b)
	s.Pass(time.Hour)
	s.takes(1, time.Hour, b)
	s.Pass(30 * time.Minute)
	s.takes(0, 30*time.Minute, b)
	s.Pass(90 * time.Minute)
	s.takes(2, time.Hour, b)
	s.Pass(100 * time.Hour)
	s.takes(3, time.Hour, b)
	s.takes(3, time.Hour, budget("another", 3))
}

// If one budget is used up, the others keep what they have.
func (s suite) allOrNone() {
	small, large := budget("small", 1), budget("large", 3)
	s.takes(1, time.Hour, large, small)
	s.takes(0, time.Hour, small, large)
	s.takes(2, time.Hour, large)
	s.Pass(time.Hour)
	slow := limit.Budget{Key: "slow", Limit: limit.Limit{Burst: 1, Every: 5 * time.Hour}}
	s.takes(1, 5*time.Hour, small, slow) // the longest wait counts
	s.takes(1, time.Hour, large)
}

// What is given back can be taken again, and a full budget takes nothing.
func (s suite) give() {
	a, b := budget("a", 2), budget("b", 2)
	s.takes(2, time.Hour, a, b)
	s.giveBack(a, b)
	s.takes(1, time.Hour, a, b)
	for range 5 {
		s.giveBack(a)
	}
	s.takes(2, time.Hour, a)
	s.takes(0, time.Hour, b)
}

func (s suite) giveBack(budgets ...limit.Budget) {
	s.Helper()
	if err := s.Store.Return(s.Context(), budgets...); err != nil {
		s.Fatal(err)
	}
}

// However many try at once, over whichever handle, they get what there is.
func (s suite) atOnce() {
	var took atomic.Int64
	var all sync.WaitGroup
	for i := range 80 {
		all.Go(func() {
			store := s.Store
			if i%2 == 0 {
				store = s.Other
			}
			wait, err := store.Take(s.Context(), budget("account", 10), budget("network", 50))
			if err != nil {
				s.Error(err)
			} else if wait == 0 {
				took.Add(1)
			}
		})
	}
	all.Wait()
	if got := took.Load(); got != 10 {
		s.Errorf("%d took at once, want 10", got)
	}
}

// A clock that goes back keeps nobody waiting for longer than an empty budget.
func (s suite) clockGoesBack() {
	b := budget("a", 3)
	s.takes(3, time.Hour, b)
	s.Pass(-24 * time.Hour)
	s.takes(0, time.Hour, b)
	s.Pass(time.Hour)
	s.takes(1, time.Hour, b)
}

func (s suite) marks() {
	want := func(key string, want bool) {
		s.Helper()
		for name, store := range map[string]limit.Store{"the store": s.Store, "the other handle": s.Other} {
			if got, err := store.Marked(s.Context(), key); err != nil || got != want {
				s.Errorf("%s: marked %t, %v, want %t", name, got, err, want)
			}
		}
	}
	set := func(key string, life time.Duration) {
		s.Helper()
		if err := s.Store.Mark(s.Context(), key, life); err != nil {
			s.Fatal(err)
		}
	}
	want("a", false)
	set("a", 3*time.Hour)
	want("a", true)
	want("b", false)
	s.takes(3, time.Hour, budget("a", 3)) // a mark is no budget
	s.Pass(2 * time.Hour)
	want("a", true)
	set("a", 3*time.Hour)
	s.Pass(2 * time.Hour)
	want("a", true)
	s.Pass(2 * time.Hour)
	want("a", false)
}
