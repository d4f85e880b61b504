package limit_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/limit"
	"tonearm/internal/limit/limittest"
)

func TestMemory(t *testing.T) {
	limittest.Run(t, func(t *testing.T) limittest.Harness {
		var shift atomic.Int64
		m := limit.NewMemory(func() time.Time { return time.Now().Add(time.Duration(shift.Load())) })
		return limittest.Harness{Store: m, Other: m, Pass: func(d time.Duration) { shift.Add(int64(d)) }}
	})
}

// Names of one person and those of another are never the same key, nor is a name
// in it.
func TestKey(t *testing.T) {
	seen := map[string][]string{}
	for _, names := range [][]string{{}, {""}, {"a"}, {"a", ""}, {"", "a"}, {"a", "b"}, {"ab"}, {"a1:b"}, {"1:a"}, {"ada@example.org", "192.0.2.1"}} {
		for _, kind := range []string{"x", "y"} {
			key := limit.Key(kind, names...)
			if before, ok := seen[key]; ok {
				t.Errorf("%q and %q have the key %s", names, before, key)
			}
			seen[key] = names
			if len(key) != len("x:")+22 {
				t.Errorf("the key of %q is %s", names, key)
			}
		}
	}
	if key := limit.Key("known", "a", "b"); key != "known:-s3eer8erFswEnOrLigveQ" { // a mark lives for 30 days, over updates
		t.Errorf("the key is %s", key)
	}
}

var errAway = errors.New("away")

// store is a Memory that can be away, or silent.
type store struct {
	*limit.Memory
	away, silent bool
	asked        int
}

func (s *store) Take(ctx context.Context, budgets ...limit.Budget) (time.Duration, error) {
	s.asked++
	if s.silent {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if s.away {
		return 0, errAway
	}
	if err := ctx.Err(); err != nil { // as a connection does
		return 0, err
	}
	return s.Memory.Take(ctx, budgets...)
}

func (s *store) Return(ctx context.Context, budgets ...limit.Budget) error {
	if s.away {
		return errAway
	}
	return s.Memory.Return(ctx, budgets...)
}

func (s *store) Marked(ctx context.Context, key string) (bool, error) {
	if s.away {
		return false, errAway
	}
	return s.Memory.Marked(ctx, key)
}

func (s *store) Mark(ctx context.Context, key string, life time.Duration) error {
	if s.away {
		return errAway
	}
	return s.Memory.Mark(ctx, key, life)
}

// Two processes share what is in the store. While it is away, each goes on with
// what it has counted itself.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := limit.Budget{Key: "a", Limit: limit.Limit{Burst: 10, Every: time.Hour}}
		common := &store{Memory: limit.NewMemory(time.Now)}
		told := 0
		away := func(error) { told++ }
		one, two := limit.NewShared(common, time.Now, away), limit.NewShared(common, time.Now, away)
		take := func(s *limit.Shared, want int) {
			t.Helper()
			got := 0
			for got <= want && s.Take(ctx, b) == 0 {
				got++
			}
			if got != want {
				t.Errorf("took %d, want %d", got, want)
			}
		}
		for range 4 {
			if wait := one.Take(ctx, b); wait > 0 {
				t.Fatalf("wait %v", wait)
			}
		}
		take(two, 6)
		take(one, 0)
		asked := common.asked
		two.Return(ctx, b)
		take(one, 1)
		if common.asked == asked {
			t.Error("the store was not asked")
		}
		one.Mark(ctx, "m", time.Hour)
		if !two.Marked(ctx, "m") {
			t.Error("the other process does not see the mark")
		}

		common.away = true
		if two.Marked(ctx, "m") || !one.Marked(ctx, "m") {
			t.Error("without the store, a mark is known to whoever set it")
		}
		take(two, 5) // it took 5 itself
		take(one, 5)
		if told != 2 { // each once: neither asks again for a while
			t.Errorf("told %d times", told)
		}
		common.away = false
		time.Sleep(2 * time.Second)
		take(one, 0)
		time.Sleep(100 * time.Hour)
		common.silent = true
		take(one, 10)
	})
}

// A client that leaves is no failure of the store.
func TestSharedWithoutClient(t *testing.T) {
	common := &store{Memory: limit.NewMemory(time.Now)}
	s := limit.NewShared(common, time.Now, func(err error) { t.Error(err) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := limit.Budget{Key: "a", Limit: limit.Limit{Burst: 1, Every: time.Hour}}
	if s.Take(ctx, b) > 0 {
		t.Error("refused")
	}
	if wait, err := common.Take(t.Context(), b); wait == 0 || err != nil {
		t.Errorf("the store has not counted: %v, %v", wait, err)
	}
}

// Many names do not fill the memory, and do not make it forget what is used up.
func TestManyKeys(t *testing.T) {
	m := limit.NewMemory(time.Now)
	ctx := t.Context()
	victim := limit.Budget{Key: "victim", Limit: limit.Limit{Burst: 10, Every: time.Hour}}
	for range 10 {
		if _, err := m.Take(ctx, victim); err != nil {
			t.Fatal(err)
		}
	}
	for i := range limit.MostKeys * 3 / 2 {
		if wait, err := m.Take(ctx, limit.Budget{Key: fmt.Sprint(i), Limit: victim.Limit}); wait > 0 || err != nil {
			t.Fatal(wait, err)
		}
	}
	if n := m.Keys(); n > limit.MostKeys {
		t.Errorf("%d keys are kept", n)
	}
	if wait, _ := m.Take(ctx, victim); wait == 0 {
		t.Error("what was used up is forgotten")
	}
}
