package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// shares is how owners hold the room for attempts of a class.
type shares struct {
	full []string // owners who run as many as they may while others wait, in any order
	all  string   // the owner of all running attempts; '' where nobody has all of them
}

// shares says how owners hold the room.
func (d *Dispatcher) shares(ctx context.Context, class conversion.Class, running []launch.Attempt) (s shares, err error) {
	if len(running) == 0 {
		return s, nil
	}
	if err := d.know(ctx, class, running); err != nil {
		return s, err
	}
	owners := d.pace[class].owners(running)
	for owner, n := range owners {
		if len(owners) == 1 {
			s.all = owner
		}
		limit, err := d.share(ctx, owner, class)
		if err != nil {
			return s, err
		}
		if limit > 0 && int64(n) >= limit {
			s.full = append(s.full, owner)
		}
	}
	slices.Sort(s.full)
	return s, nil
}

// share is how many attempts of class an owner may have running while others wait; 0
// or less for any number.
func (d *Dispatcher) share(ctx context.Context, owner string, class conversion.Class) (int64, error) {
	own, err := d.limits.of(ctx, d.o.Users, owner, d.o.Now())
	if err != nil {
		return 0, fmt.Errorf("limits of %s: %w", owner, err)
	}
	half := int64(d.o.MaxJobs[class]+1) / 2
	return own.Or(d.o.Quotas).Or(account.Limits{Running: half}).Running, nil
}

// limitsKnown is how long the limits of an owner are remembered.
const limitsKnown = time.Minute

// ownLimits remembers limits that operators set for owners.
type ownLimits struct {
	mu    sync.Mutex
	known map[string]knownLimits
}

type knownLimits struct {
	account.Limits
	until time.Time
}

// of returns an owner's own limits. While the users' database is away, those that were
// read last are good, or none: attempts do not wait for it.
func (l *ownLimits) of(ctx context.Context, users Users, owner string, now time.Time) (account.Limits, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.known[owner]
	if ok && now.Before(known.until) {
		return known.Limits, nil
	}
	if l.known == nil || len(l.known) > 1000 {
		l.known = map[string]knownLimits{}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	u, err := users.ByID(ctx, owner)
	if err == nil || errors.Is(err, account.ErrNotFound) {
		known.Limits = u.Limits
	} else if errors.Is(err, context.Canceled) {
		return known.Limits, err
	}
	known.until = now.Add(limitsKnown)
	l.known[owner] = known
	return known.Limits, nil
}
