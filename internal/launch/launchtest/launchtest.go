// Package launchtest is the suite that every launch.Launcher passes, and the
// program that its attempts run.
package launchtest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// Harness is a launcher under test.
type Harness struct {
	// ListenAddr is where the suite listens for its attempts, which must be
	// able to reach it; 127.0.0.1:0 where empty.
	ListenAddr string
	// Open returns a new launcher that shares nothing with another one. It runs
	// [Program] as the attempt's program, with ProgramArg as first argument,
	// and gives it dispatcherURL. The suite closes the launcher.
	Open func(t *testing.T, dispatcherURL string) launch.Launcher
	// Capacity is how many attempts the launcher takes at once, at least 3; 0
	// if the launcher has no limit of its own.
	Capacity int
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"ExitCodes", testExitCodes},
		{"Killed", testKilled},
		{"Deadline", testDeadline},
		{"Assignment", testAssignment},
		{"StartTwice", testStartTwice},
		{"StopRunning", testStopRunning},
		{"StopGone", testStopGone},
		{"StopStubborn", testStopStubborn},
		{"StopGivesUp", testStopGivesUp},
		{"Leftovers", testLeftovers},
		{"Running", testRunning},
		{"Classes", testClasses},
		{"Busy", testBusy},
		{"NextAttempt", testNextAttempt},
		{"WatchEnds", testWatchEnds},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newSuite(t, h)) })
	}
}

// suite is one test's launcher, the console of its attempts, and the ends seen.
type suite struct {
	launch.Launcher
	console  *Console
	capacity int

	mu      sync.Mutex
	ends    map[conversion.AttemptRef]launch.End
	changed chan struct{}
}

func newSuite(t *testing.T, h Harness) *suite {
	h.ListenAddr = cmp.Or(h.ListenAddr, "127.0.0.1:0")
	s := &suite{
		console:  NewConsole(t, h.ListenAddr),
		capacity: h.Capacity,
		ends:     map[conversion.AttemptRef]launch.End{},
		changed:  make(chan struct{}),
	}
	s.Launcher = h.Open(t, s.console.URL())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.Watch(t.Context(), func(e launch.End) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ends[e.AttemptRef] = e
			close(s.changed)
			s.changed = make(chan struct{})
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: got %v, want the context's error", err)
		}
	})
	t.Cleanup(func() {
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// NewRef names the first attempt of a new conversion.
func NewRef() conversion.AttemptRef {
	return conversion.AttemptRef{ConversionID: uuid.NewString(), Attempt: 1}
}

// NewSpec returns a Spec for tests that do not care about its details.
func NewSpec(r conversion.AttemptRef) launch.Spec {
	return launch.Spec{AttemptRef: r, Class: conversion.CPU, Token: "1.secret-of-" + r.ConversionID, SourceSize: 1 << 20, Deadline: time.Hour}
}

// start starts an attempt and waits for its process.
func (s *suite) start(t *testing.T) (conversion.AttemptRef, *Process) {
	t.Helper()
	r := NewRef()
	if err := s.Start(t.Context(), NewSpec(r)); err != nil {
		t.Fatalf("Start: %v", err)
	}
	return r, s.console.Arrival(t, r, Leader, 1)
}

func (s *suite) stop(t *testing.T, r conversion.AttemptRef) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Stop(ctx, r); err != nil {
		t.Fatalf("Stop: %v", err)
	}
}

// end waits for the end of an attempt.
func (s *suite) end(t *testing.T, r conversion.AttemptRef) launch.End {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		e, ok := s.ends[r]
		changed := s.changed
		s.mu.Unlock()
		if ok {
			return e
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no end of %s within %v", r, patience)
		}
	}
}

func (s *suite) wantEnd(t *testing.T, r conversion.AttemptRef, want launch.Reason, code int) {
	t.Helper()
	if got := s.end(t, r); got.Reason != want || got.ExitCode != code {
		t.Errorf("end of %s: got %s with code %d (%s), want %s with %d", r, got.Reason, got.ExitCode, got.Detail, want, code)
	}
}

func (s *suite) wantRunning(t *testing.T, want ...conversion.AttemptRef) {
	t.Helper()
	running, err := s.Running(t.Context())
	if err != nil {
		t.Fatalf("Running: %v", err)
	}
	got := make([]conversion.AttemptRef, 0, len(running))
	for _, a := range running {
		got = append(got, a.AttemptRef)
	}
	order := func(a, b conversion.AttemptRef) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("Running: got %v, want %v", got, want)
	}
}

func testExitCodes(t *testing.T, s *suite) {
	for _, code := range []int{0, 2, 10, 11, 12, 13, 77} {
		r, p := s.start(t)
		p.Do(t, Command{Do: Exit, Code: code})
		s.wantEnd(t, r, launch.Exited, code)
		s.stop(t, r)
	}
}

func testKilled(t *testing.T, s *suite) {
	r, p := s.start(t)
	p.Do(t, Command{Do: Die})
	s.wantEnd(t, r, launch.Killed, 0)
	s.stop(t, r)
}

func testDeadline(t *testing.T, s *suite) {
	spec := NewSpec(NewRef())
	spec.Deadline = time.Second
	if err := s.Start(t.Context(), spec); err != nil {
		t.Fatalf("Start: %v", err)
	}
	s.wantEnd(t, spec.AttemptRef, launch.Deadline, 0)
	for _, p := range s.console.Arrivals(spec.AttemptRef, Leader) { // if it started slowly, it may not have come so far
		p.WaitGone(t)
	}
	s.wantRunning(t)
	s.stop(t, spec.AttemptRef)
}

func testAssignment(t *testing.T, s *suite) {
	r, p := s.start(t)
	if want := NewSpec(r).Token; p.Token != want {
		t.Errorf("token: got %q, want %q", p.Token, want)
	}
	for _, arg := range p.Args {
		if strings.Contains(arg, p.Token) {
			t.Errorf("the token is on the command line: %q", p.Args)
		}
	}
	if len(p.WorkFiles) != 0 {
		t.Errorf("work directory: got %v in it, want nothing", p.WorkFiles)
	}
	p.Do(t, Command{Do: Write, Text: "source", Size: 1})
	s.stop(t, r)

	spec := NewSpec(conversion.AttemptRef{ConversionID: r.ConversionID, Attempt: 2})
	if err := s.Start(t.Context(), spec); err != nil {
		t.Fatalf("Start: %v", err)
	}
	if p := s.console.Arrival(t, r, Leader, 2); len(p.WorkFiles) != 0 {
		t.Errorf("work directory of the next attempt: got %v in it, want nothing", p.WorkFiles)
	}
	s.stop(t, spec.AttemptRef)
}

func testStartTwice(t *testing.T, s *suite) {
	r, p := s.start(t)
	for range 3 {
		if err := s.Start(t.Context(), NewSpec(r)); err != nil {
			t.Errorf("Start again: %v", err)
		}
	}
	s.wantRunning(t, r)
	p.Do(t, Command{Do: Exit})
	s.wantEnd(t, r, launch.Exited, 0)
	s.stop(t, r)
	if got := len(s.console.Arrivals(r, Leader)); got != 1 {
		t.Errorf("processes: got %d, want 1", got)
	}
}

func testStopRunning(t *testing.T, s *suite) {
	other, _ := s.start(t)
	r, p := s.start(t)
	s.stop(t, r)
	p.WaitGone(t)
	s.wantRunning(t, other)
	s.wantEnd(t, r, launch.Stopped, 0)
	s.stop(t, r)
	s.stop(t, other)
	s.wantRunning(t)
}

func testStopGone(t *testing.T, s *suite) {
	s.stop(t, NewRef()) // it never existed
	r, p := s.start(t)
	p.Do(t, Command{Do: Exit, Code: 10})
	s.wantEnd(t, r, launch.Exited, 10)
	s.stop(t, r)
	s.stop(t, r)
	s.wantEnd(t, r, launch.Exited, 10) // not overwritten
}

func testStopStubborn(t *testing.T, s *suite) {
	r, p := s.start(t)
	p.Do(t, Command{Do: IgnoreTerm})
	p.Do(t, Command{Do: Spawn})
	g := s.console.Arrival(t, r, Grandchild, 1)
	g.Do(t, Command{Do: IgnoreTerm})
	s.stop(t, r)
	p.WaitGone(t)
	g.WaitGone(t)
	s.wantEnd(t, r, launch.Stopped, 0)
}

func testStopGivesUp(t *testing.T, s *suite) {
	r, p := s.start(t)
	p.Do(t, Command{Do: IgnoreTerm})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop with a context that is done: got %v, want its error", err)
	}
	s.stop(t, r)
	p.WaitGone(t)
}

func testLeftovers(t *testing.T, s *suite) {
	r, p := s.start(t)
	p.Do(t, Command{Do: Spawn})
	g := s.console.Arrival(t, r, Grandchild, 1)
	g.Do(t, Command{Do: IgnoreTerm})
	p.Do(t, Command{Do: Exit, Code: 11})
	s.wantEnd(t, r, launch.Exited, 11)
	s.stop(t, r)
	g.WaitGone(t)
}

func testRunning(t *testing.T, s *suite) {
	s.wantRunning(t)
	a, p := s.start(t)
	b, _ := s.start(t)
	s.wantRunning(t, a, b)
	p.Do(t, Command{Do: Exit})
	s.end(t, a)
	s.wantRunning(t, b)
	s.stop(t, a)
	s.stop(t, b)
	s.wantRunning(t)
}

func testClasses(t *testing.T, s *suite) {
	want := map[launch.Attempt]bool{}
	for _, class := range []conversion.Class{conversion.CPU, conversion.GPU} {
		spec := NewSpec(NewRef())
		spec.Class = class
		if err := s.Start(t.Context(), spec); err != nil {
			t.Fatalf("Start of class %s: %v", class, err)
		}
		s.console.Arrival(t, spec.AttemptRef, Leader, 1)
		want[launch.Attempt{AttemptRef: spec.AttemptRef, Class: class}] = true
	}
	running, err := s.Running(t.Context())
	if err != nil {
		t.Fatalf("Running: %v", err)
	}
	for _, a := range running {
		a = launch.Attempt{AttemptRef: a.AttemptRef, Class: a.Class}
		if !want[a] {
			t.Errorf("Running: got %v, want one of %v", a, want)
		}
		delete(want, a)
		s.stop(t, a.AttemptRef)
	}
	if len(want) > 0 {
		t.Errorf("Running: %v missing", want)
	}
}

func testBusy(t *testing.T, s *suite) {
	if s.capacity == 0 {
		return // the limit is set elsewhere, by what runs this launcher's attempts
	}
	var last conversion.AttemptRef
	for range s.capacity {
		last, _ = s.start(t)
	}
	waiting := NewSpec(NewRef())
	if err := s.Start(t.Context(), waiting); !errors.Is(err, launch.ErrBusy) {
		t.Fatalf("Start beyond the capacity: got %v, want ErrBusy", err)
	}
	if err := s.Start(t.Context(), NewSpec(last)); err != nil {
		t.Errorf("Start of one that runs, when busy: %v", err)
	}
	s.stop(t, last)
	if err := s.Start(t.Context(), waiting); err != nil {
		t.Fatalf("Start after one was stopped: %v", err)
	}
	s.console.Arrival(t, waiting.AttemptRef, Leader, 1)
}

func testNextAttempt(t *testing.T, s *suite) {
	first, p := s.start(t)
	second := conversion.AttemptRef{ConversionID: first.ConversionID, Attempt: 2}
	if err := s.Start(t.Context(), NewSpec(second)); err != nil {
		t.Fatalf("Start: %v", err)
	}
	s.console.Arrival(t, second, Leader, 2)
	s.wantRunning(t, first, second)
	s.stop(t, first)
	p.WaitGone(t)
	s.wantRunning(t, second)
}

// testWatchEnds lets several attempts end at once.
func testWatchEnds(t *testing.T, s *suite) {
	var refs []conversion.AttemptRef
	var procs []*Process
	for range max(s.capacity, 3) {
		r, p := s.start(t)
		refs, procs = append(refs, r), append(procs, p)
	}
	for i, p := range procs {
		p.Do(t, Command{Do: Exit, Code: 20 + i})
	}
	for i, r := range refs {
		s.wantEnd(t, r, launch.Exited, 20+i)
	}
}
