package limit

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	defaultPatience = 250 * time.Millisecond
	// pause is how long a store is not asked that has just failed.
	pause = time.Second
)

// Shared keeps budgets in memory and in a store that other processes use, too.
// What one process counts is a part of what all of them count, so memory refuses
// only what the store would refuse. While the store is away, memory alone
// decides.
type Shared struct {
	// Patience is how long the store may take to answer; 250 ms, unless it is
	// changed before the first use.
	Patience time.Duration

	memory *Memory
	store  Store
	away   func(error)
	resume atomic.Int64 // when the store may be asked again, ns since 1970
}

// NewShared returns a Shared. With a nil store it keeps everything in memory.
// away is called when the store could not be used.
func NewShared(store Store, now func() time.Time, away func(error)) *Shared {
	return &Shared{Patience: defaultPatience, memory: NewMemory(now), store: store, away: away}
}

// Take is that of Store.
func (s *Shared) Take(ctx context.Context, budgets ...Budget) time.Duration {
	wait, _ := s.memory.Take(ctx, budgets...) // never fails
	if wait > 0 {
		return wait
	}
	s.ask(ctx, func(ctx context.Context) (err error) {
		wait, err = s.store.Take(ctx, budgets...)
		return err
	})
	if wait > 0 {
		_ = s.memory.Return(ctx, budgets...)
	}
	return wait
}

// Return is that of Store.
func (s *Shared) Return(ctx context.Context, budgets ...Budget) {
	_ = s.memory.Return(ctx, budgets...)
	s.ask(ctx, func(ctx context.Context) error { return s.store.Return(ctx, budgets...) })
}

// Mark is that of Store.
func (s *Shared) Mark(ctx context.Context, key string, life time.Duration) {
	_ = s.memory.Mark(ctx, key, life)
	s.ask(ctx, func(ctx context.Context) error { return s.store.Mark(ctx, key, life) })
}

// Marked is that of Store. A mark that another process set is not seen while the
// store is away.
func (s *Shared) Marked(ctx context.Context, key string) bool {
	marked, _ := s.memory.Marked(ctx, key)
	if marked {
		return true
	}
	s.ask(ctx, func(ctx context.Context) (err error) {
		marked, err = s.store.Marked(ctx, key)
		return err
	})
	return marked
}

// ask asks the store, unless it has just failed. Whoever waits for the answer may
// leave; that is no failure of the store, so the question goes on.
func (s *Shared) ask(ctx context.Context, question func(context.Context) error) {
	if s.store == nil || time.Now().UnixNano() < s.resume.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Patience)
	defer cancel()
	if err := question(ctx); err != nil {
		s.resume.Store(time.Now().Add(pause).UnixNano())
		s.away(err)
	}
}
