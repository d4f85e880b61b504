package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

// The names of the cookie. A browser takes __Host- only over https, for this
// host alone and from nobody else.
const (
	secureCookie = "__Host-tonearm"
	plainCookie  = "tonearm-session"
)

func (g *Gateway) secure() bool { return strings.HasPrefix(g.pages[0], "https:") }

func (g *Gateway) cookieName() string {
	if g.secure() {
		return secureCookie
	}
	return plainCookie
}

func (g *Gateway) cookie(value string, life time.Duration) http.Cookie {
	return http.Cookie{ //nolint:gosec // a browser takes Secure only over https
		Name: g.cookieName(), Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, Secure: g.secure(), SameSite: http.SameSiteLaxMode,
	}
}

type credentialsInput struct{ Body api.Credentials }

type sessionOutput struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
	Body      api.Token
}

// session begins a session: with a cookie, whose value no script sees, or with a
// token in the answer.
func (g *Gateway) session(u account.User, passwordAt time.Time, cookie bool) (*sessionOutput, error) {
	token, err := g.token(u, passwordAt)
	if err != nil {
		return nil, err
	}
	out := &sessionOutput{Body: token}
	if cookie {
		out.SetCookie = []http.Cookie{g.cookie(token.AccessToken, time.Duration(token.ExpiresIn)*time.Second)}
		out.Body.AccessToken = ""
	}
	return out, nil
}

// logIn is login for the page.
func (g *Gateway) logIn(ctx context.Context, in *credentialsInput) (*sessionOutput, error) {
	u, err := g.password(ctx, in.Body.Email, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return g.session(u, g.o.Now(), true)
}

// logOut removes the cookie. The session itself goes on until its end: a token
// that was stolen ends with logOutEverywhere.
func (g *Gateway) logOut(context.Context, *struct{}) (*endOutput, error) { return g.end(), nil }

func (g *Gateway) end() *endOutput {
	c := g.cookie("", 0) //nolint:gosec // as above
	c.MaxAge = -1
	return &endOutput{SetCookie: []http.Cookie{c}}
}

// refresh renews a session that is still good, for up to 30 days after the
// password was given.
func (g *Gateway) refresh(_ context.Context, c caller, _ *struct{}) (*sessionOutput, error) {
	if g.o.Now().Sub(c.session.PasswordAt) > refreshFor {
		return nil, refuse(http.StatusUnauthorized, "password_needed",
			"You gave your password more than 30 days ago. Log in again: tonearm login, or POST /login.").with("WWW-Authenticate", bearerChallenge)
	}
	return g.session(c.User, c.session.PasswordAt, c.cookie)
}
