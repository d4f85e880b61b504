// Package redislimit keeps budgets and marks on Redis 7 or later, alone or as a
// cluster, for all processes that use the same Redis and prefix. common.lua names
// its keys. Each operation is one short script, by the clock of Redis. Redis may
// lose all of it at any moment: budgets are full then, and marks are gone.
package redislimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"tonearm/internal/limit"
)

var (
	//go:embed common.lua
	commonLua string
	//go:embed take.lua
	takeLua string
	//go:embed return.lua
	returnLua string
	//go:embed mark.lua
	markLua string
	//go:embed marked.lua
	markedLua string

	takeScript   = redis.NewScript(commonLua + takeLua)
	returnScript = redis.NewScript(commonLua + returnLua)
	markScript   = redis.NewScript(commonLua + markLua)
	markedScript = redis.NewScript(commonLua + markedLua)
)

// Store is a limit.Store on Redis, for use by any number of goroutines.
type Store struct {
	client redis.UniversalClient
	prefix string
	shift  time.Duration // of Redis's clock; tests let time pass with it
}

var _ limit.Store = (*Store)(nil)

// New returns the store on a client, which the caller closes. prefix begins the
// name of every key.
func New(client redis.UniversalClient, prefix string) *Store {
	return &Store{client: client, prefix: prefix + ":{limit}:"}
}

// Take implements limit.Store.
func (s *Store) Take(ctx context.Context, budgets ...limit.Budget) (time.Duration, error) {
	wait, err := s.onBudgets(ctx, takeScript, budgets).Int64()
	if err != nil {
		return 0, fmt.Errorf("take from budgets: %w", err)
	}
	return time.Duration(wait) * time.Millisecond, nil
}

// Return implements limit.Store.
func (s *Store) Return(ctx context.Context, budgets ...limit.Budget) error {
	if err := s.onBudgets(ctx, returnScript, budgets).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("return to budgets: %w", err)
	}
	return nil
}

func (s *Store) onBudgets(ctx context.Context, script *redis.Script, budgets []limit.Budget) *redis.Cmd {
	keys := make([]string, len(budgets))
	args := []any{s.shift.Milliseconds()}
	for i, b := range budgets {
		keys[i] = s.prefix + "budget:" + b.Key
		args = append(args, b.Limit.Burst, b.Limit.Every.Milliseconds())
	}
	return script.Run(ctx, s.client, keys, args...)
}

// Mark implements limit.Store.
func (s *Store) Mark(ctx context.Context, key string, life time.Duration) error {
	err := markScript.Run(ctx, s.client, []string{s.prefix + "mark:" + key}, s.shift.Milliseconds(), life.Milliseconds()).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("set a mark: %w", err)
	}
	return nil
}

// Marked implements limit.Store.
func (s *Store) Marked(ctx context.Context, key string) (bool, error) {
	there, err := markedScript.Run(ctx, s.client, []string{s.prefix + "mark:" + key}, s.shift.Milliseconds()).Int64()
	if err != nil {
		return false, fmt.Errorf("look for a mark: %w", err)
	}
	return there == 1, nil
}
