package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"tonearm/internal/account"
)

const (
	bearerChallenge = `Bearer realm="tonearm"`
	basicChallenge  = `Basic realm="tonearm", charset="UTF-8"`
)

// bearer returns the user whose access token the request carries.
func (g *Gateway) bearer(r *http.Request) (account.User, error) {
	ctx, cancel := context.WithTimeout(r.Context(), quick)
	defer cancel()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return account.User{}, refuse(http.StatusUnauthorized, "login_required",
			"Log in first. POST /login gives a token; send it as the header Authorization: Bearer TOKEN.").with("WWW-Authenticate", bearerChallenge)
	}
	user, err := g.ofSession(ctx, strings.TrimSpace(token))
	if errors.Is(err, account.ErrToken) {
		err = problemOf(account.ErrToken).with("WWW-Authenticate", bearerChallenge+`, error="invalid_token"`)
	}
	return user, err
}

// ofSession returns the user of an access token whose session has not ended.
func (g *Gateway) ofSession(ctx context.Context, token string) (account.User, error) {
	session, err := g.o.Tokens.VerifyAccess(token)
	if err != nil {
		return account.User{}, err
	}
	user, err := g.o.Users.ByID(ctx, session.UserID)
	if errors.Is(err, account.ErrNotFound) || err == nil && (user.Deleted() || user.Generation != session.Generation) {
		return account.User{}, account.ErrToken
	}
	return user, err
}

// basic returns the user whose address and password the request carries.
// Failures are counted by address and by network; after too many, further
// logins are refused for a while.
func (g *Gateway) basic(r *http.Request) (account.User, error) {
	ctx, cancel := context.WithTimeout(r.Context(), hashing)
	defer cancel()
	email, password, ok := r.BasicAuth()
	if !ok {
		return account.User{}, refuse(http.StatusUnauthorized, "login_required",
			"Send your e-mail address and password, for example with curl -u EMAIL.").with("WWW-Authenticate", basicChallenge)
	}
	key := strings.ToLower(strings.TrimSpace(email)) + " " + network(r.RemoteAddr)
	if wait := g.logins.begin(key); wait > 0 {
		return account.User{}, refuse(http.StatusTooManyRequests, "too_many_logins",
			"Too many failed logins. Try again in "+seconds(wait)+" s.").retryIn(wait)
	}
	user, err := g.o.Users.Authenticate(ctx, email, password)
	g.logins.end(key, errors.Is(err, account.ErrCredentials))
	if errors.Is(err, account.ErrCredentials) {
		err = problemOf(err).with("WWW-Authenticate", basicChallenge)
	}
	return user, err
}

// bearerOrBasic accepts either of the two, for the plain forms.
func (g *Gateway) bearerOrBasic(r *http.Request) (account.User, error) {
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return g.bearer(r)
	}
	return g.basic(r)
}

// network returns the part of an address that one person has to themselves:
// an IPv4 address or an IPv6 /64.
func network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64)
		return prefix.String()
	}
	return addr.String()
}

// Limits of the throttle: ten failures, after that one every half minute.
const (
	maxFailures   = 10
	forgetFailure = 30 * time.Second
	maxConcurrent = 64      // logins in progress for one key
	maxKeys       = 100_000 // keys remembered at once
)

// throttle counts the failed logins of each key. A success does not clear them,
// since somebody else may have failed. Old failures are forgotten one by one.
type throttle struct {
	now  func() time.Time
	mu   sync.Mutex
	keys map[string]*failures
}

type failures struct {
	count   int
	since   time.Time // when count was right
	running int
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, keys: map[string]*failures{}}
}

// begin returns how long to wait before a login may be tried. If that is 0, end
// must follow.
func (t *throttle) begin(key string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	f := t.keys[key]
	if f == nil {
		t.makeRoom(now)
		f = &failures{since: now}
		t.keys[key] = f
	}
	f.forget(now)
	switch {
	case f.count >= maxFailures:
		return f.since.Add(forgetFailure).Sub(now)
	case f.running >= maxConcurrent:
		return time.Second
	}
	f.running++
	return 0
}

func (t *throttle) end(key string, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.keys[key]
	f.running--
	if failed {
		f.forget(t.now())
		f.count++
	}
	if f.running == 0 && f.count == 0 {
		delete(t.keys, key)
	}
}

// makeRoom keeps an attacker with many names from filling the memory.
func (t *throttle) makeRoom(now time.Time) {
	if len(t.keys) < maxKeys {
		return
	}
	for key, f := range t.keys {
		if f.forget(now); f.count < maxFailures && f.running == 0 {
			delete(t.keys, key)
		}
	}
}

func (f *failures) forget(now time.Time) {
	n := min(int(now.Sub(f.since)/forgetFailure), f.count)
	f.count -= n
	f.since = f.since.Add(time.Duration(n) * forgetFailure)
	if f.count == 0 {
		f.since = now
	}
}
