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

// caller is whoever sent a request, and with what.
type caller struct {
	account.User
	key     *account.Key    // nil for a session
	session account.Session // zero for a key and for a password
	cookie  bool            // the session came as a cookie
	network string
}

// identify returns the user whose access token, API key or cookie the request
// carries, if that is good for scope.
func (g *Gateway) identify(r *http.Request, scope account.Scope) (caller, error) {
	ctx, cancel := context.WithTimeout(r.Context(), quick)
	defer cancel()
	c := caller{network: network(r.RemoteAddr)}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if r.Header.Get("Authorization") == "" {
		if cookie, err := r.Cookie(g.cookieName()); err == nil {
			scheme, token, c.cookie = "Bearer", cookie.Value, true
		}
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return c, refuse(http.StatusUnauthorized, "login_required",
			"Log in first. POST /login gives a token; send it as the header Authorization: Bearer TOKEN.").with("WWW-Authenticate", bearerChallenge)
	}
	var err error
	if token = strings.TrimSpace(token); account.IsSecret(token) && !c.cookie {
		var key account.Key
		key, c.User, err = g.o.Users.ByKey(ctx, token)
		c.key = &key
	} else {
		c.session, c.User, err = g.ofSession(ctx, token)
	}
	if errors.Is(err, account.ErrToken) {
		return c, problemOf(account.ErrToken).with("WWW-Authenticate", bearerChallenge+`, error="invalid_token"`)
	}
	if err != nil {
		return c, err
	}
	if err := c.may(scope); err != nil {
		g.audit(ctx, c, account.ActionRefused, route(r), problemOf(err).Code)
		return c, err
	}
	return c, nil
}

// audited is the outcome of what was done.
const audited = "ok"

// sessionOnly is the scope of what no key is good for.
const sessionOnly account.Scope = ""

// may returns nil if the caller has the right to scope. A key never has more
// rights than its owner.
func (c caller) may(scope account.Scope) error {
	switch {
	case c.key != nil && scope == sessionOnly:
		return refuse(http.StatusForbidden, "session_required",
			"An API key cannot do this. Log in with your password: tonearm login, or POST /login.")
	case c.key != nil && !c.key.Allows(scope):
		return refuse(http.StatusForbidden, "scope_missing", "This API key has no scope "+string(scope)+". Make one that has: tonearm key create.")
	case scope == account.ScopeAdmin && !c.Admin:
		return refuse(http.StatusForbidden, "admin_required", "Only an operator may do this. An operator is made with: tonearm user admin EMAIL --users DATABASE.")
	}
	return nil
}

// scopeOf is the scope that a request of this method needs.
func scopeOf(method string) account.Scope {
	if method == http.MethodGet || method == http.MethodHead {
		return account.ScopeRead
	}
	return account.ScopeConvert
}

// ofSession returns the user of an access token whose session has not ended.
func (g *Gateway) ofSession(ctx context.Context, token string) (account.Session, account.User, error) {
	session, err := g.o.Tokens.VerifyAccess(token)
	if err != nil {
		return session, account.User{}, err
	}
	user, err := g.o.Users.ByID(ctx, session.UserID)
	if errors.Is(err, account.ErrNotFound) || err == nil && (user.Deleted() || user.Generation != session.Generation) {
		return session, account.User{}, account.ErrToken
	}
	return session, user, err
}

// audit adds a line to the audit log. If that fails, the log says so; the
// request goes on. Refusals cost whoever causes them nothing: of those of one
// user or network, ten are told, then one each half minute.
func (g *Gateway) audit(ctx context.Context, c caller, action account.Action, subject, outcome string) {
	if outcome != audited {
		key := c.ID + " " + c.network
		if g.refusals.begin(key) > 0 {
			return
		}
		g.refusals.end(key, true)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quick)
	defer cancel()
	e := account.Event{At: g.o.Now(), Action: action, UserID: c.ID, Subject: subject, Outcome: outcome, Network: c.network}
	if c.key != nil {
		e.KeyID = c.key.ID
	}
	if err := g.o.Users.Audit(ctx, e); err != nil {
		g.outage.Error("could not write the audit log", "action", action, "user_id", c.ID, "outcome", outcome, "error", err)
	}
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
	user, err := g.password(ctx, email, password, network(r.RemoteAddr))
	if errors.Is(err, account.ErrCredentials) {
		err = problemOf(err).with("WWW-Authenticate", basicChallenge)
	}
	return user, err
}

// password returns the user with this address and password, and counts the
// failures.
func (g *Gateway) password(ctx context.Context, email, password, network string) (user account.User, err error) {
	key, err := account.NormalizeEmail(email)
	if err != nil {
		key = "" // of nobody; and what a stranger sends may be long
	}
	err = g.guessed(ctx, key+" "+network, caller{network: network}, func() (err error) {
		user, err = g.o.Users.Authenticate(ctx, email, password)
		return err
	})
	if errors.Is(err, account.ErrCredentials) { // the line names no account: whether there is one must not show in the time
		g.audit(ctx, caller{network: network}, account.ActionLogin, "", problemOf(err).Code)
	}
	return user, err
}

// checkPassword asks for the caller's password again: a stolen token alone must
// not take the account. Failures are counted for the user, from wherever.
func (g *Gateway) checkPassword(ctx context.Context, c caller, password string) error {
	err := g.guessed(ctx, c.ID, c, func() error { return g.o.Users.CheckPassword(ctx, c.ID, password) })
	if errors.Is(err, account.ErrCredentials) {
		return refuse(http.StatusForbidden, "wrong_password", "The password is wrong.")
	}
	return err
}

// guessed runs check, which compares a password, unless too many under the same
// key have failed.
func (g *Gateway) guessed(ctx context.Context, key string, c caller, check func() error) error {
	if wait := g.logins.begin(key); wait > 0 {
		g.audit(ctx, c, account.ActionLogin, "", "too_many_logins")
		return refuse(http.StatusTooManyRequests, "too_many_logins",
			"Too many failed logins. Try again in "+seconds(wait)+" s.").retryIn(wait)
	}
	err := check()
	g.logins.end(key, errors.Is(err, account.ErrCredentials))
	return err
}

// identifyForm also accepts an address with its password, for the plain forms.
func (g *Gateway) identifyForm(r *http.Request, scope account.Scope) (account.User, error) {
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Basic") {
		return g.basic(r)
	}
	c, err := g.identify(r, scope)
	if p := (*problem)(nil); errors.As(err, &p) && p.Code == "login_required" {
		return g.basic(r) // its answer names both ways
	}
	return c.User, err
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
