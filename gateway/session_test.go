package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// Every way to end sessions ends a token that was stolen before, and leaves one
// that was made after.
func TestStolenToken(t *testing.T) {
	for name, end := range map[string]func(*user) (token string){
		"log out everywhere": func(u *user) string {
			u.call("DELETE", "/v1/sessions", nil).want(204)
			return ""
		},
		"change of the password": func(u *user) string {
			got := decode[api.Token](u.call("PUT", "/v1/me/password", api.PasswordChange{Password: password, NewPassword: "another password"}).want(200))
			return got.AccessToken
		},
		"reset": func(u *user) string {
			u.send("POST", "/v1/users/reset", api.EmailOnly{Email: u.Email}).want(202)
			link := api.Link{Token: u.mail(u.Email, account.MailReset).Token, Password: "another password"}
			u.send("POST", "/v1/users/password", link).want(200)
			u.send("POST", "/v1/users/password", link).want(403, "link_invalid")
			return ""
		},
		"deletion": func(u *user) string {
			got := decode[api.Deletion](u.call("DELETE", "/v1/me", api.Password{Password: password}).want(202))
			if len(got.What) < 3 || got.Until.Before(time.Now().Add(time.Hour)) {
				t.Errorf("the answer is %+v", got)
			}
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			u := s.user("a@example.org")
			stolen := u.with(u.token)
			stolen.call("GET", "/v1/conversions", nil).want(200)
			token := end(u)
			stolen.call("GET", "/v1/conversions", nil).want(401, "invalid_token")
			stolen.call("POST", "/v1/session/refresh", nil).want(401, "invalid_token")
			s.send("GET", "/v1/me", nil, "Cookie", plainCookie+"="+u.token).want(401, "invalid_token")
			if token != "" {
				u.with(token).call("GET", "/v1/me", nil).want(200)
			}
		})
	}
}

// Whoever ends all sessions ends also what a thief has begun: a request that was
// found to be good and whose body comes only now.
func TestStolenTokenWaits(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		body         any
	}{
		{"POST", "/v1/keys", api.NewKey{Password: password, Name: "thief's", Scopes: []account.Scope{account.ScopeConvert}, ExpiresInDays: -1}},
		{"PUT", "/v1/me/password", api.PasswordChange{Password: password, NewPassword: "the thief's password"}},
		{"PUT", "/v1/me/email", api.EmailChange{Password: password, Email: "thief@example.org"}},
		{"DELETE", "/v1/me", api.Password{Password: password}},
	} {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			s := start(t)
			u := s.user("a@example.org")
			body, err := json.Marshal(tt.body)
			check(t, err)
			var owner account.User
			u.waiting(tt.method, tt.path, body, func() {
				owner, err = s.o.Users.LogOut(t.Context(), u.ID)
			}).want(401, "invalid_token")
			check(t, err)
			equal(t, "generation", owner.Generation, u.Generation+1)
			got, err := s.o.Users.ByID(t.Context(), u.ID)
			check(t, err)
			equal(t, "user", got, owner)
			check(t, s.o.Users.CheckPassword(t.Context(), u.ID, password))
			if keys, err := s.o.Users.KeysOf(t.Context(), u.ID); err != nil || len(keys) != 0 {
				t.Errorf("keys are %+v, %v", keys, err)
			}
		})
	}
}

// waiting is call, with a body that is sent only when the server asks for it,
// after meanwhile.
func (u *user) waiting(method, path string, body []byte, meanwhile func()) reply {
	u.t.Helper()
	ctx := httptrace.WithClientTrace(u.t.Context(), &httptrace.ClientTrace{Got100Continue: meanwhile})
	req, err := http.NewRequestWithContext(ctx, method, u.url+path, bytes.NewReader(body))
	check(u.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+u.token)
	req.Header.Set("Expect", "100-continue")
	slow := &http.Transport{ExpectContinueTimeout: time.Minute}
	defer slow.CloseIdleConnections()
	res, err := slow.RoundTrip(req)
	check(u.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	check(u.t, err)
	return reply{u.t, res.StatusCode, res.Header, answer}
}

// An upload that a thief, or the owner of a deleted account, keeps waiting makes
// no conversion either.
func TestStolenTokenUploads(t *testing.T) {
	var later atomic.Int64
	s := start(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) } })
	u := s.user("a@example.org")
	wait := func(d time.Duration, end func()) reply {
		return u.waiting("PUT", "/upload/a.mp4", []byte("a video"), func() { later.Add(int64(d)); end() })
	}
	wait(2*loginLife, func() {}).want(201)
	var err error
	wait(2*loginLife, func() { _, err = s.o.Users.LogOut(t.Context(), u.ID) }).want(401, "invalid_token")
	check(t, err)
	equal(t, "conversions", len(s.everything(u)), 1)
}

// A stolen token alone does not take the account: what would needs the password,
// and guesses are counted.
func TestTokenNeedsPassword(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for _, tt := range []struct {
		method, path string
		body         any
	}{
		{"PUT", "/v1/me/password", api.PasswordChange{Password: "a guess", NewPassword: "the thief's password"}},
		{"PUT", "/v1/me/email", api.EmailChange{Password: "a guess", Email: "thief@example.org"}},
		{"DELETE", "/v1/me", api.Password{Password: "a guess"}},
		{"POST", "/v1/keys", api.NewKey{Password: "a guess", Name: "thief's", Scopes: []account.Scope{account.ScopeConvert}}},
	} {
		u.call(tt.method, tt.path, tt.body).want(403, "wrong_password")
	}
	u.call("POST", "/v1/keys", `{"name":"thief's","scopes":["convert"]}`).want(422, "invalid_request")
	for range accountFromNetwork.Burst - 4 {
		u.call("DELETE", "/v1/me", api.Password{Password: "a guess"}).want(403, "wrong_password")
	}
	u.call("DELETE", "/v1/me", api.Password{Password: password}).want(429, "too_many_logins")
	u.call("POST", "/v1/keys", api.NewKey{Password: password, Name: "thief's", Scopes: []account.Scope{account.ScopeConvert}}).want(429, "too_many_logins")
	got, err := s.o.Users.ByID(t.Context(), u.ID)
	check(t, err)
	equal(t, "user", got, u.User)
	keys, err := s.o.Users.KeysOf(t.Context(), u.ID)
	check(t, err)
	equal(t, "keys", len(keys), 0)
	refused := map[account.Action]int{}
	events, err := s.o.Users.Events(t.Context(), u.ID, 100)
	check(t, err)
	for _, e := range events {
		if e.Outcome == "wrong_password" {
			refused[e.Action]++
		}
	}
	if refused[account.ActionKeyMade] != 1 || refused[account.ActionPassword] != 1 || refused[account.ActionEmail] != 1 {
		t.Errorf("told is %v", refused)
	}
}

func TestRefresh(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	at := func(age time.Duration) *user {
		token, _, err := s.o.Tokens.Access(u.User, time.Now().Add(-age))
		check(t, err)
		return u.with(token)
	}
	day := 24 * time.Hour
	got := decode[api.Token](at(29*day).call("POST", "/v1/session/refresh", nil).want(200))
	session, err := s.o.Tokens.VerifyAccess(got.AccessToken)
	check(t, err)
	if age := time.Since(session.PasswordAt); age < 29*day || age > 29*day+time.Minute {
		t.Errorf("a renewed session says that the password is %v old", age)
	}
	u.with(got.AccessToken).call("GET", "/v1/me", nil).want(200)
	at(31*day).call("POST", "/v1/session/refresh", nil).want(401, "password_needed")
	at(31*day).call("GET", "/v1/me", nil).want(200) // the token itself is good
	s.send("POST", "/v1/session/refresh", nil, "Authorization", "Bearer nonsense").want(401, "invalid_token")
}

func TestCookie(t *testing.T) {
	for public, want := range map[string]string{
		"http://localhost:8080":       plainCookie + "=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax",
		"https://tonearm.example.org": secureCookie + "=%s; Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=Lax",
		"HTTPS://Tonearm.example.org": secureCookie + "=%s; Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=Lax",
	} {
		s := start(t, func(o *Options) { o.PublicURL = public })
		u := s.user("a@example.org")
		s.send("POST", "/v1/session", api.Credentials{Email: u.Email, Password: "wrong horse"}).want(401, "wrong_credentials")
		r := s.send("POST", "/v1/session", api.Credentials{Email: u.Email, Password: password}).want(200)
		body := decode[api.Token](r)
		equal(t, "token in the answer", body.AccessToken, "")
		set := r.header.Get("Set-Cookie")
		cookie, err := http.ParseSetCookie(set)
		check(t, err)
		equal(t, "cookie", set, fmt.Sprintf(want, cookie.Value, body.ExpiresIn))
		header := []string{"Cookie", cookie.Name + "=" + cookie.Value}
		equal(t, "me", decode[api.Me](s.send("GET", "/v1/me", nil, header...).want(200)).Email, u.Email)
		s.send("POST", "/v1/conversions", api.NewConversion{Filename: "a.mp4", Size: 3}, header...).want(201)

		// A renewed session stays in the cookie.
		r = s.send("POST", "/v1/session/refresh", nil, header...).want(200)
		if decode[api.Token](r).AccessToken != "" || !strings.HasPrefix(r.header.Get("Set-Cookie"), cookie.Name+"=") {
			t.Errorf("renewed: %v %s", r.header, r.body)
		}
		// The other name is not accepted: over plain HTTP anybody may set a cookie.
		other := map[string]string{plainCookie: secureCookie, secureCookie: plainCookie}[cookie.Name]
		s.send("GET", "/v1/me", nil, "Cookie", other+"="+cookie.Value).want(401, "login_required")
		// The header counts, where there is one.
		bob := s.user("b@example.org")
		equal(t, "with both", decode[api.Me](bob.call("GET", "/v1/me", nil, header...).want(200)).Email, bob.Email)
		s.send("GET", "/v1/me", nil, append(header, "Authorization", "Bearer nonsense")...).want(401, "invalid_token")
		s.send("GET", "/v1/me", nil, append(header, "Authorization", "Basic YTpi")...).want(401, "login_required")
		// An API key is for headers.
		_, secret := u.key(account.ScopeRead)
		s.send("GET", "/v1/me", nil, "Cookie", cookie.Name+"="+secret).want(401, "invalid_token")

		gone := s.send("DELETE", "/v1/session", nil, header...).want(204).header.Get("Set-Cookie")
		if !strings.HasPrefix(gone, cookie.Name+"=;") || !strings.Contains(gone, "Max-Age=0") {
			t.Errorf("logged out: %s", gone)
		}
	}
}

// What a page of another site sends is refused, on every unsafe method and every
// route.
func TestCrossSite(t *testing.T) {
	s := start(t, func(o *Options) { o.PublicURL = "https://Tonearm.Example.org" })
	u := s.user("a@example.org")
	cookie := []string{"Cookie", secureCookie + "=" + u.token}
	for _, route := range s.described() {
		method, path, _ := strings.Cut(route, " ")
		for name, header := range map[string][]string{
			"Sec-Fetch-Site": {"Sec-Fetch-Site", "cross-site"},
			"same-site":      {"Sec-Fetch-Site", "same-site"},
			"Origin":         {"Origin", "https://evil.example.org"},
			"Origin null":    {"Origin", "null"},
		} {
			r := s.send(method, strings.NewReplacer("{id}", "x", "{mp3_id}", "x", "{key_id}", "x").Replace(path), nil, append(header, cookie...)...)
			if refused := strings.Contains(string(r.body), "cross_site"); refused != (method != "GET") {
				t.Errorf("%s with %s: %d %s", route, name, r.status, r.body)
			}
		}
	}
	body := api.NewConversion{Filename: "a.mp4", Size: 3}
	s.send("POST", "/v1/conversions", body, append(cookie, "Origin", "https://tonearm.example.org")...).want(201)
	s.send("POST", "/v1/conversions", body, append(cookie, "Sec-Fetch-Site", "same-origin")...).want(201)
	s.send("POST", "/v1/conversions", body, cookie...).want(201) // no browser
}

func TestMe(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org", 5<<30)
	u.announce(3, false)
	s.advance(u.announce(3, false).ID, "done")
	me := decode[api.Me](u.call("GET", "/v1/me", nil).want(200))
	want := api.Me{ID: u.ID, Email: u.Email, Confirmed: true, Language: "en", Mails: "each", CreatedAt: u.CreatedAt, MaxUploadBytes: 5 << 30, Active: 1, OpenRegistration: true}
	equal(t, "usage of", len(me.Usage), 7)
	me.Usage = nil
	equal(t, "me", fmt.Sprintf("%+v", me), fmt.Sprintf("%+v", want))
	me = decode[api.Me](u.call("PATCH", "/v1/me", api.MeChange{Language: "de", Mails: "failures"}).want(200))
	equal(t, "language", me.Language, account.German)
	equal(t, "mails", me.Mails, account.MailFailures)
	u.call("PATCH", "/v1/me", `{"mails":"all"}`).want(422, "invalid_request")
	u.call("PATCH", "/v1/me", `{"admin":true}`).want(422, "invalid_request")
	u.call("PATCH", "/v1/me", `{"email":"b@example.org"}`).want(422, "invalid_request")
}

// The setting of the account holds for conversions that do not say.
func TestMailSetting(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for setting, want := range map[account.MailSetting]map[conversion.State]conversion.NoticeState{
		account.MailEach:     {conversion.Done: conversion.NoticeOwed, conversion.Failed: conversion.NoticeOwed},
		account.MailFailures: {conversion.Done: conversion.NoticeNone, conversion.Failed: conversion.NoticeOwed},
		account.MailNone:     {conversion.Done: conversion.NoticeNone, conversion.Failed: conversion.NoticeNone},
	} {
		u.call("PATCH", "/v1/me", api.MeChange{Mails: setting}).want(200)
		for state, notice := range want {
			c := s.advance(u.announce(3, false).ID, state)
			equal(t, string(setting)+" and "+string(state), c.Notice.State, notice)
		}
		c := decode[api.Conversion](u.call("POST", "/v1/conversions", api.NewConversion{Filename: "a.mp4", Size: 3, Notify: "email"}).want(201))
		equal(t, "said in the request", s.advance(c.ID, conversion.Done).Notice.State, conversion.NoticeOwed)
	}
}
