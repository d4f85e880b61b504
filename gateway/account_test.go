package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"tonearm/internal/api"
)

func TestLogin(t *testing.T) {
	s := start(t)
	u := s.user("a+b@example.org")
	login := func(name, pass string, header ...string) reply {
		req, _ := http.NewRequest(http.MethodPost, "/", nil)
		req.SetBasicAuth(name, pass)
		return s.send("POST", "/login", nil, append(header, "Authorization", req.Header.Get("Authorization"))...)
	}

	r := login(" A+B@Example.org", password).want(200)
	equal(t, "content type", r.header.Get("Content-Type"), "text/plain; charset=utf-8")
	equal(t, "caching", r.header.Get("Cache-Control"), "no-store")
	session, err := s.o.Tokens.VerifyAccess(string(r.body))
	check(t, err)
	equal(t, "user", session.UserID, u.ID)

	token := decode[api.Token](login("a+b@example.org", password, "Accept", "application/json").want(200))
	equal(t, "type", token.TokenType, "Bearer")
	if token.ExpiresIn < 60 || token.AccessToken == "" {
		t.Errorf("token is %+v", token)
	}

	wrong := login("a+b@example.org", "wrong horse").want(401, "wrong_credentials")
	unknown := login("nobody@example.org", "wrong horse").want(401, "wrong_credentials")
	equal(t, "an unknown user's answer", string(unknown.body), string(wrong.body))
	if !strings.HasPrefix(wrong.header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("WWW-Authenticate is %q", wrong.header.Get("WWW-Authenticate"))
	}
	s.send("POST", "/login", nil).want(401, "login_required")
	s.send("POST", "/login", nil, "Authorization", "Bearer "+u.token).want(401, "login_required")

	for range accountFromNetwork.Burst - 1 {
		login("a+b@example.org", "wrong horse").want(401)
	}
	blocked := login("a+b@example.org", password).want(429, "too_many_logins")
	if after, err := strconv.Atoi(blocked.header.Get("Retry-After")); err != nil || after < 1 || after > 30 {
		t.Errorf("Retry-After is %q", blocked.header.Get("Retry-After"))
	}
	s.send("GET", "/download", nil, "Authorization", basicOf("a+b@example.org", password)).want(429, "too_many_logins")
	login("nobody@example.org", "wrong horse").want(401)
}

func TestRegister(t *testing.T) {
	s := start(t, func(o *Options) { o.SelfConfirm = true })
	u := decode[api.User](s.send("POST", "/v1/users", api.NewUser{Email: " A@Example.org ", Password: password}).want(201))
	equal(t, "email", u.Email, "a@example.org")
	equal(t, "confirmed", u.Confirmed, true)
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"taken", `{"email":"a@example.org","password":"correct horse"}`, 409, "account_exists"},
		{"no address", `{"email":"a","password":"correct horse"}`, 422, "invalid_request"},
		{"short password", `{"email":"b@example.org","password":"short"}`, 422, "invalid_request"},
		{"no password", `{"email":"b@example.org"}`, 422, "invalid_request"},
		{"more than asked for", `{"email":"b@example.org","password":"correct horse","admin":true}`, 422, "invalid_request"},
		{"two values", `{"email":"b@example.org","password":"correct horse"} {}`, 400, "invalid_request"},
		{"no JSON", `email`, 400, "invalid_request"},
		{"nothing", ``, 400, "invalid_request"},
		{"null", `null`, 422, "invalid_request"},
		{"a list", `[]`, 422, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.forget()
			r := s.send("POST", "/v1/users", tt.body)
			r.t = t
			r.want(tt.status, tt.code)
			if strings.Contains(string(r.body), "short\"") || strings.Contains(string(r.body), password) {
				t.Errorf("the answer repeats the password: %s", r.body)
			}
		})
	}

	s.forget()
	for host, want := range map[string]int{"localhost:8080": 409, "LOCALHOST": 409, "127.0.0.1:1": 409, "[::1]:8080": 409, "[::1]": 409,
		"rebound.example:8080": 403, "127.0.0.1.example": 403, "192.0.2.1:8080": 403} {
		s.forget()
		r := s.sendTo(host, "POST", "/v1/users", api.NewUser{Email: "a@example.org", Password: password})
		if r.status != want {
			t.Errorf("at %s: %d %s, want %d", host, r.status, r.body, want)
		}
	}

	closed := start(t, func(o *Options) { o.OpenRegistration = false })
	closed.send("POST", "/v1/users", api.NewUser{Email: "a@example.org", Password: password}).want(403, "registration_closed")
}
