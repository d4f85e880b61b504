package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/limit"
)

// Limits of what anybody may try.
//
// A wrong password costs a try of the account from this network, of the account,
// and of the network. A network that knew the account's password lately has tries
// of its own for this account, and costs the others nothing: so nobody else can
// lock the owner out there, whatever they try.
var (
	accountFromNetwork = limit.Limit{Burst: 10, Every: 30 * time.Second}
	wholeAccount       = limit.Limit{Burst: 20, Every: time.Minute}
	wholeNetwork       = limit.Limit{Burst: 50, Every: 10 * time.Second}

	// mailsOfNetwork is for requests that make a mail.
	mailsOfNetwork = limit.Limit{Burst: 10, Every: 30 * time.Second}
	// refusalsTold is for lines of the audit log about refusals of one user or
	// network, which this gateway counts alone.
	refusalsTold = limit.Limit{Burst: 10, Every: 30 * time.Second}
)

// knownFor is how long a network counts as known to an account after it knew the
// password.
const knownFor = 30 * 24 * time.Hour

// guessed runs check, which compares a password of an account, unless too much
// was tried. It takes the try before check begins, so that many at once cannot
// try more, and gives it back unless the password was wrong. Whether there is
// such an account makes no difference, in answers or work.
//
// email is the account's address, or what somebody says is one.
func (g *Gateway) guessed(ctx context.Context, email string, c caller, check func() error) error {
	name := account.EmailName(email) // whatever cannot be an address counts, too, and its size does not matter
	budgets := []limit.Budget{{Key: limit.Key("account-network", name, c.network), Limit: accountFromNetwork}}
	leave, err := g.lanes.enter(ctx, budgets[0].Key)
	if err != nil {
		return err
	}
	defer leave()
	if !g.limits.Marked(ctx, knownKey(name, c.network)) {
		budgets = append(budgets, limit.Budget{Key: limit.Key("account", name), Limit: wholeAccount},
			limit.Budget{Key: limit.Key("network", c.network), Limit: wholeNetwork})
	}
	if wait := g.limits.Take(ctx, budgets...); wait > 0 {
		g.audit(ctx, c, account.ActionLogin, "", "too_many_logins")
		return refuse(http.StatusTooManyRequests, "too_many_logins",
			"Too many failed logins. Try again in "+seconds(wait)+" s.").retryIn(wait)
	}
	err = check()
	if errors.Is(err, account.ErrCredentials) {
		return err
	}
	g.limits.Return(ctx, budgets...)
	if err == nil {
		g.known(ctx, name, c.network)
	}
	return err
}

// known notes that somebody in this network knows the password of the account, or
// reads its mails.
func (g *Gateway) known(ctx context.Context, email, network string) {
	g.limits.Mark(ctx, knownKey(email, network), knownFor)
}

func knownKey(email, network string) string {
	return limit.Key("known", account.EmailName(email), network)
}

// slowly refuses a network that asks for too many mails. It counts requests by
// whom they come from alone, and so tells nothing about addresses.
func (g *Gateway) slowly(ctx context.Context) error {
	if wait := g.limits.Take(ctx, limit.Budget{Key: limit.Key("mails", account.Network(ctx)), Limit: mailsOfNetwork}); wait > 0 {
		return tooMany(wait)
	}
	return nil
}

func tooMany(wait time.Duration) *problem {
	return refuse(http.StatusTooManyRequests, "too_many_requests", "Too many requests. Try again in "+seconds(wait)+" s.").retryIn(wait)
}

const (
	// laneWidth is how many passwords of an account are checked at once for one
	// network: fewer than accountFromNetwork.Burst, so that a program which sends
	// many requests at once, all with the right password, is not refused.
	laneWidth = 4
	// laneLength is how many go or wait in a lane.
	laneLength = 64
)

// lanes let few at a time go on under each key.
type lanes struct {
	mu  sync.Mutex
	all map[string]*lane
}

type lane struct {
	going chan struct{}
	users int // that go or wait
}

func newLanes() *lanes { return &lanes{all: map[string]*lane{}} }

// enter waits until there is room in the lane of a key. leave must follow.
// account.ErrBusy: too many wait.
func (l *lanes) enter(ctx context.Context, key string) (leave func(), err error) {
	l.mu.Lock()
	mine := l.all[key]
	if mine == nil {
		mine = &lane{going: make(chan struct{}, laneWidth)}
		l.all[key] = mine
	}
	if mine.users == laneLength {
		l.mu.Unlock()
		return nil, account.ErrBusy
	}
	mine.users++
	l.mu.Unlock()
	out := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(l.all, key)
		}
	}
	select {
	case mine.going <- struct{}{}:
		return func() { <-mine.going; out() }, nil
	case <-ctx.Done():
		out()
		return nil, ctx.Err()
	}
}
