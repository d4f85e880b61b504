package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"tonearm/internal/account"
	"tonearm/internal/limit"
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
	c := caller{network: account.Network(ctx)}
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
		refusals := limit.Budget{Key: limit.Key("refusals", c.ID, c.network), Limit: refusalsTold}
		if wait, _ := g.refusals.Take(ctx, refusals); wait > 0 {
			return
		}
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
func (g *Gateway) basic(r *http.Request) (account.User, error) {
	ctx, cancel := context.WithTimeout(r.Context(), hashing)
	defer cancel()
	email, password, ok := r.BasicAuth()
	if !ok {
		return account.User{}, refuse(http.StatusUnauthorized, "login_required",
			"Send your e-mail address and password, for example with curl -u EMAIL.").with("WWW-Authenticate", basicChallenge)
	}
	user, err := g.password(ctx, email, password)
	if errors.Is(err, account.ErrCredentials) {
		err = problemOf(err).with("WWW-Authenticate", basicChallenge)
	}
	return user, err
}

// password returns the user with this address and password, and counts the
// failures.
func (g *Gateway) password(ctx context.Context, email, password string) (user account.User, err error) {
	nobody := caller{network: account.Network(ctx)} // the audit log names no account: whether there is one must not show in the time
	err = g.guessed(ctx, email, nobody, func() (err error) {
		user, err = g.o.Users.Authenticate(ctx, email, password)
		return err
	})
	if errors.Is(err, account.ErrCredentials) {
		g.audit(ctx, nobody, account.ActionLogin, "", problemOf(err).Code)
	}
	return user, err
}

// checkPassword asks for the caller's password again: a stolen token alone must
// not take the account. Failures count like those of logins.
func (g *Gateway) checkPassword(ctx context.Context, c caller, password string) error {
	err := g.guessed(ctx, c.Email, c, func() error { return g.o.Users.CheckPassword(ctx, c.ID, password) })
	if errors.Is(err, account.ErrCredentials) {
		return refuse(http.StatusForbidden, "wrong_password", "The password is wrong.")
	}
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
