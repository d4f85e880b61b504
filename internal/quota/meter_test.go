package quota

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// store has what one user takes, and is slow or away on demand.
type store struct {
	mu         sync.Mutex
	unfinished map[conversion.State]int64
	today      conversion.Use
	used       account.Used
	manyToday  bool // too many to count
	err        error
	takes      time.Duration
	counts     int
}

func (s *store) Unfinished(ctx context.Context, _ string) (map[conversion.State]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts++
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	counts := map[conversion.State]int64{}
	for state, n := range s.unfinished {
		counts[state] = n
	}
	return counts, s.err
}

func (s *store) Uses(ctx context.Context, _ string, from, _ time.Time) (conversion.Uses, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manyToday {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return conversion.Uses{from: s.today}, nil
}

func (s *store) Used(_ context.Context, first, _ string, _ time.Time) (map[string]account.Used, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]account.Used{first: s.used}, nil
}

func (s *store) set(change func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *store) meter(l account.Limits) *Meter {
	return &Meter{Records: s, Users: s, Defaults: l, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

var somebody = account.User{ID: "u"}

// admit wants a refusal for this quota, or none for an empty one.
func admit(t *testing.T, m *Meter, ask Ask, want account.Quota) *Admitted {
	t.Helper()
	a, err := m.Admit(t.Context(), somebody, ask)
	var e *Exceeded
	switch errors.As(err, &e); {
	case err != nil && e == nil:
		t.Fatal(err)
	case want == "" && e != nil:
		t.Fatalf("refused: %v", e)
	case want != "" && (e == nil || e.Quota != want || e.Retry <= 0):
		t.Fatalf("got %+v, want a refusal for %s", e, want)
	}
	return a
}

func TestEachLimit(t *testing.T) {
	upload := Ask{Uploads: 1, Bytes: 10}
	for _, tt := range []struct {
		limits account.Limits
		takes  *store
		ask    Ask
		want   account.Quota
	}{
		{account.Limits{}, &store{unfinished: map[conversion.State]int64{conversion.AwaitingUpload: math.MaxInt32}}, upload, ""},
		{account.Limits{OpenUploads: account.Unlimited}, &store{unfinished: map[conversion.State]int64{conversion.AwaitingUpload: math.MaxInt32}}, upload, ""},
		{account.Limits{OpenUploads: 3}, &store{unfinished: map[conversion.State]int64{conversion.AwaitingUpload: 2}}, upload, ""},
		{account.Limits{OpenUploads: 3}, &store{unfinished: map[conversion.State]int64{conversion.AwaitingUpload: 3}}, upload, account.QuotaOpenUploads},
		{account.Limits{OpenUploads: 3}, &store{unfinished: map[conversion.State]int64{conversion.AwaitingUpload: 3}}, Ask{Queued: 1}, ""},
		{account.Limits{Queued: 3}, &store{unfinished: map[conversion.State]int64{conversion.Queued: 2, conversion.Running: 5}}, upload, ""},
		{account.Limits{Queued: 3}, &store{unfinished: map[conversion.State]int64{conversion.Queued: 3}}, upload, account.QuotaQueued},
		{account.Limits{Queued: 3}, &store{unfinished: map[conversion.State]int64{conversion.Queued: 3}}, Ask{Queued: 1}, account.QuotaQueued},
		{account.Limits{Stored: 100}, &store{today: conversion.Use{Stored: 50}, used: account.Used{Stored: 60, Today: conversion.Use{Stored: 20}}}, upload, ""},
		{account.Limits{Stored: 99}, &store{today: conversion.Use{Stored: 50}, used: account.Used{Stored: 60, Today: conversion.Use{Stored: 20}}}, upload, account.QuotaStored},
		{account.Limits{Stored: 50}, &store{today: conversion.Use{Stored: 50}}, Ask{Uploads: 1}, account.QuotaStored}, // of unknown length
		{account.Limits{Stored: 50}, &store{today: conversion.Use{Stored: 50}}, Ask{Queued: 1}, ""},                   // stored already
		{account.Limits{DailyBytes: 100}, &store{today: conversion.Use{Bytes: 90}, used: account.Used{Stored: 1000}}, upload, ""},
		{account.Limits{DailyBytes: 100}, &store{today: conversion.Use{Bytes: 91}}, upload, account.QuotaDailyBytes},
		{account.Limits{DailySound: 60}, &store{today: conversion.Use{Sound: 59.4}}, upload, ""},
		{account.Limits{DailySound: 60}, &store{today: conversion.Use{Sound: 60}}, upload, account.QuotaDailySound},
		{account.Limits{DailySound: 60}, &store{today: conversion.Use{Sound: 60}}, Ask{Queued: 1}, account.QuotaDailySound},
	} {
		admit(t, tt.takes.meter(tt.limits), tt.ask, tt.want)
	}
}

// What an operator set for a user counts in place of the service's.
func TestOwnLimits(t *testing.T) {
	s := &store{unfinished: map[conversion.State]int64{conversion.AwaitingUpload: 5}}
	m := s.meter(account.Limits{OpenUploads: 5})
	admit(t, m, Ask{Uploads: 1}, account.QuotaOpenUploads)
	for limit, ok := range map[int64]bool{3: false, 6: true, account.Unlimited: true} {
		u := somebody
		u.Limits.OpenUploads = limit
		if a, err := m.Admit(t.Context(), u, Ask{Uploads: 1}); (err == nil) != ok {
			t.Errorf("with an own limit of %d: %v", limit, err)
		} else if ok {
			a.Done(false)
		}
	}
}

// Many at once get what there is, before any of it is in the records.
func TestAtOnce(t *testing.T) {
	m := (&store{}).meter(account.Limits{OpenUploads: 10})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := 0
	for range 100 {
		wg.Go(func() {
			if _, err := m.Admit(t.Context(), somebody, Ask{Uploads: 1}); err == nil {
				mu.Lock()
				got++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got != 10 {
		t.Errorf("%d were admitted, want 10", got)
	}
}

// What fails gives its room back; what is made keeps it, before and after it is
// counted.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{unfinished: map[conversion.State]int64{}}
		m := s.meter(account.Limits{OpenUploads: 2, DailyBytes: 100})
		admit(t, m, Ask{Uploads: 1, Bytes: 60}, "").Done(false)
		a := admit(t, m, Ask{Uploads: 1, Bytes: 60}, "")
		if b := admit(t, m, Ask{Uploads: 1}, ""); b.Left != 40 || b.LeftOf.Quota != account.QuotaDailyBytes {
			t.Errorf("%d are left, of %s", b.Left, b.LeftOf.Quota)
		} else {
			b.Done(false)
		}
		admit(t, m, Ask{Uploads: 1, Bytes: 41}, account.QuotaDailyBytes)
		a.Begun()
		a.Sized(61)
		admit(t, m, Ask{Uploads: 1, Bytes: 40}, account.QuotaDailyBytes)
		a.Sized(60)
		a.Done(true)
		admit(t, m, Ask{Uploads: 1, Bytes: 41}, account.QuotaDailyBytes)
		time.Sleep(countEvery) // counted anew: the record is there by now
		s.set(func(s *store) { s.unfinished[conversion.AwaitingUpload], s.today.Bytes = 1, 60 })
		admit(t, m, Ask{Uploads: 1, Bytes: 40}, "")
		admit(t, m, Ask{Uploads: 1}, account.QuotaOpenUploads)
	})
}

// Somebody below the limits is counted twice a minute, whatever they begin. At a
// limit, what ended makes room within a second.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{unfinished: map[conversion.State]int64{}}
		m := s.meter(account.Limits{OpenUploads: 1000})
		for range 600 {
			admit(t, m, Ask{Uploads: 1}, "").Done(true)
			time.Sleep(100 * time.Millisecond)
		}
		if s.counts != 2 {
			t.Errorf("counted %d times in a minute", s.counts)
		}
		s.set(func(s *store) { s.unfinished[conversion.AwaitingUpload] = 1000 })
		time.Sleep(time.Minute)
		admit(t, m, Ask{Uploads: 1}, account.QuotaOpenUploads)
		s.set(func(s *store) { s.unfinished[conversion.AwaitingUpload] = 999 })
		time.Sleep(time.Second)
		admit(t, m, Ask{Uploads: 1}, "").Done(false)

		// Whoever hammers at a limit, or has so many records that a count takes long,
		// costs little.
		s.set(func(s *store) { s.unfinished[conversion.AwaitingUpload], s.takes, s.counts = 1000, time.Second, 0 })
		for range 600 {
			_, _ = m.Admit(t.Context(), somebody, Ask{Uploads: 1})
			time.Sleep(100 * time.Millisecond)
		}
		if s.counts > 4 {
			t.Errorf("counted %d times for a second each in a minute", s.counts)
		}
	})
}

// The next day begins with nothing, although nobody was counted since.
func TestMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{today: conversion.Use{Bytes: 100, Sound: 60}}
		m := s.meter(account.Limits{DailyBytes: 100, DailySound: 60})
		time.Sleep(time.Until(conversion.Day(time.Now()).Add(24*time.Hour - 100*time.Millisecond)))
		_, err := m.Admit(t.Context(), somebody, Ask{Uploads: 1, Bytes: 1})
		if e := (*Exceeded)(nil); !errors.As(err, &e) || e.Retry != 100*time.Millisecond {
			t.Fatalf("before midnight: %+v", e)
		}
		s.set(func(s *store) { s.today, s.err = conversion.Use{Bytes: 100}, errors.New("connection refused") })
		time.Sleep(100 * time.Millisecond)
		admit(t, m, Ask{Uploads: 1, Bytes: 1}, "") // also while nobody can be counted
		s.set(func(s *store) { s.err = nil })
		time.Sleep(countEvery)
		admit(t, m, Ask{Uploads: 1, Bytes: 1}, account.QuotaDailyBytes)
	})
}

// A store that is away refuses nobody who was not at a limit, and is not asked all
// the time.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{err: errors.New("connection refused")}
		m := s.meter(account.Limits{OpenUploads: 3})
		for range 3 {
			admit(t, m, Ask{Uploads: 1}, "").Done(true)
		}
		if s.counts != 1 {
			t.Errorf("asked %d times", s.counts)
		}
		admit(t, m, Ask{Uploads: 1}, account.QuotaOpenUploads)
		if _, err := m.Levels(t.Context(), somebody); err == nil {
			t.Error("it says how much is used")
		}
		s.set(func(s *store) { s.err = nil })
		time.Sleep(time.Minute)
		admit(t, m, Ask{Uploads: 1}, "")
		levels, err := m.Levels(t.Context(), somebody)
		if err != nil || len(levels) != 5 || levels[0] != (Level{account.QuotaOpenUploads, 1, 3}) || levels[1].Limit != account.Unlimited {
			t.Errorf("levels %+v, %v", levels, err)
		}

		// One that hangs keeps nobody for long.
		s.set(func(s *store) { s.takes = time.Hour })
		time.Sleep(time.Minute)
		began := time.Now()
		admit(t, m, Ask{Uploads: 1}, "")
		if took := time.Since(began); took > countLimit {
			t.Errorf("took %v", took)
		}
	})
}

// Where a day has too many conversions to count them, what dispatchers saved counts.
func TestManyToday(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{manyToday: true, used: account.Used{Stored: 500, Today: conversion.Use{Bytes: 100, Stored: 80}}}
		m := s.meter(account.Limits{DailyBytes: 110, Stored: 1000})
		admit(t, m, Ask{Uploads: 1, Bytes: 10}, "")
		admit(t, m, Ask{Uploads: 1, Bytes: 10}, account.QuotaDailyBytes)
		if levels, err := m.Levels(t.Context(), somebody); err != nil || levels[2].Used != 510 {
			t.Errorf("levels %+v, %v", levels, err)
		}
	})
}

// Users who do nothing are forgotten, but not what they are just beginning.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := (&store{}).meter(account.Limits{OpenUploads: 1})
		admit(t, m, Ask{Uploads: 1}, "")
		time.Sleep(time.Hour)
		for i := range 3 * fewUsers {
			if _, err := m.Admit(t.Context(), account.User{ID: strings.Repeat("x", i)}, Ask{}); err != nil {
				t.Fatal(err)
			}
			if i%fewUsers == 0 {
				time.Sleep(time.Hour)
			}
		}
		if len(m.tallies) > 2*fewUsers {
			t.Errorf("%d users are remembered", len(m.tallies))
		}
		admit(t, m, Ask{Uploads: 1}, account.QuotaOpenUploads)
	})
}

func TestSlots(t *testing.T) {
	s := NewSlots(account.QuotaWaiters, 3, time.Second)
	enter := func(user string, limit int64, want account.Quota) func() {
		t.Helper()
		leave, err := s.Enter(user, limit)
		e := (*Exceeded)(nil)
		if errors.As(err, &e); (want == "") != (err == nil) || want != "" && e.Quota != want {
			t.Fatalf("got %v, want %q", err, want)
		}
		return leave
	}
	first := enter("a", 2, "")
	second := enter("a", 2, "")
	enter("a", 2, account.QuotaWaiters)
	third := enter("b", account.Unlimited, "")
	enter("b", account.Unlimited, "waiters_overall")
	first()
	enter("a", 2, "")()
	second()
	third()
	if all, own := s.Open("a"); all != 0 || own != 0 || len(s.of) != 0 {
		t.Errorf("%d are open, %d of a", all, own)
	}
	free := NewSlots(account.QuotaWaiters, account.Unlimited, time.Second)
	for range 100 {
		if _, err := free.Enter("a", account.Unlimited); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	m := (&store{}).meter(account.DefaultLimits)
	m.Defaults.OpenUploads = account.Unlimited
	for b.Loop() {
		a, err := m.Admit(b.Context(), somebody, Ask{Uploads: 1})
		if err != nil {
			b.Fatal(err)
		}
		a.Done(true)
	}
}
