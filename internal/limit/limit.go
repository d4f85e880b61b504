// Package limit is the contract for budgets: how often something may be tried
// under a key. What is tried takes from its budgets before it begins, so that
// many tries at once cannot go beyond them.
package limit

import (
	"context"
	"time"
)

// Limit is a number of tries at once, and how fast they come back.
type Limit struct {
	Burst int           // tries that a budget holds when nobody has taken from it
	Every time.Duration // one more comes back after each; at least a millisecond
}

// Budget is what one key may take.
type Budget struct {
	Key   string // short, and no name of anybody: see Key
	Limit Limit
}

// Store keeps budgets and marks. Nothing in it stays for longer than it matters:
// a budget that is full again and a mark that has ended are gone.
//
// The budgets of a call have different keys.
type Store interface {
	// Take takes one from each budget; or none from any, if one of them is used
	// up. It returns 0 if it took, else how long it takes until each of them has
	// one.
	Take(ctx context.Context, budgets ...Budget) (wait time.Duration, err error)
	// Return gives back what one Take took. A budget that is full stays so.
	Return(ctx context.Context, budgets ...Budget) error
	// Mark sets a mark, which ends by itself after life. A later Mark sets the end
	// anew.
	Mark(ctx context.Context, key string, life time.Duration) error
	// Marked reports whether there is a mark.
	Marked(ctx context.Context, key string) (bool, error)
}
