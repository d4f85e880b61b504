package gateway

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// A stranger registers somebody else's address and waits for her to click.
func TestConfirm(t *testing.T) {
	s := start(t)
	const victim = "carol@victim.example"
	s.send("POST", "/v1/users", api.NewUser{Email: victim, Password: "a stranger's password"}).want(202)
	link := s.mail(victim, account.MailConfirm).Token
	u, err := s.o.Users.ByEmail(t.Context(), victim)
	check(t, err)
	confirmed := func() bool {
		t.Helper()
		u, err := s.o.Users.ByEmail(t.Context(), victim)
		check(t, err)
		return u.Confirmed()
	}
	// The click alone does nothing, nor does her own password or another session.
	s.send("POST", "/v1/users/confirm", api.Link{Token: link}).want(403, "password_needed")
	s.send("POST", "/v1/users/confirm", api.Link{Token: link, Password: "carol's password"}).want(403, "wrong_password")
	s.user("bob@example.org").call("POST", "/v1/users/confirm", api.Link{Token: link}).want(403, "password_needed")
	// The stranger knows the password, and not the link.
	token, _, err := s.o.Tokens.Access(u, s.o.Now())
	check(t, err)
	stranger := &user{User: u, stack: s, token: token}
	other, err := s.o.Tokens.Proof(account.Proof{ID: "made up", UserID: u.ID, Kind: account.ProofConfirm, Email: victim})
	check(t, err)
	for _, forged := range []string{"", "x", token, other, link[:len(link)-4] + "AAAA"} {
		stranger.call("POST", "/v1/users/confirm", api.Link{Token: forged, Password: "a stranger's password"}).want(403, "link_invalid")
	}
	equal(t, "confirmed", confirmed(), false)

	// She takes the account over with a password of her own.
	s.send("POST", "/v1/users/reset", api.EmailOnly{Email: victim}).want(202)
	reset := s.mail(victim, account.MailReset).Token
	s.send("POST", "/v1/users/password", api.Link{Token: reset, Password: "carol's password"}).want(200)
	equal(t, "confirmed", confirmed(), true)
	stranger.call("GET", "/v1/me", nil).want(401, "invalid_token")

	// Who registers for themselves confirms with the password, or logged in; once.
	for i, how := range []string{"password", "session"} {
		email := fmt.Sprintf("new%d@example.org", i)
		s.send("POST", "/v1/users", api.NewUser{Email: email, Password: password}).want(202)
		link := api.Link{Token: s.mail(email, account.MailConfirm).Token, Password: password}
		u, err := s.o.Users.ByEmail(t.Context(), email)
		check(t, err)
		token, _, err := s.o.Tokens.Access(u, s.o.Now())
		check(t, err)
		self := &user{User: u, stack: s}
		if how == "session" {
			self, link.Password = self.with(token), ""
		}
		self.call("POST", "/v1/users/confirm", link).want(200)
		self.call("POST", "/v1/users/confirm", link).want(403, "link_invalid")
		self.with(token).call("POST", "/v1/me/confirmation", nil).want(409, "conflict")
	}
}

// Until an address is proven, the account can do little, and mails nobody.
func TestUnproven(t *testing.T) {
	s := start(t)
	s.send("POST", "/v1/users", api.NewUser{Email: "a@example.org", Password: password}).want(202)
	account1, err := s.o.Users.ByEmail(t.Context(), "a@example.org")
	check(t, err)
	token, _, err := s.o.Tokens.Access(account1, s.o.Now())
	check(t, err)
	u := &user{User: account1, stack: s, token: token}
	me := decode[api.Me](u.call("GET", "/v1/me", nil).want(200))
	equal(t, "limit", me.MaxConversions, account.UnprovenConversions)

	n := api.NewConversion{Filename: "Buy now!.mp4", Size: 3, Notify: conversion.NotifyEmail}
	codes := make(chan int, 20)
	for range cap(codes) {
		go func() { codes <- u.call("POST", "/v1/conversions", n).status }()
	}
	made := 0
	for range cap(codes) {
		if <-codes == 201 {
			made++
		}
	}
	equal(t, "conversions", made, account.UnprovenConversions)
	u.call("POST", "/v1/conversions", n).want(403, "address_unproven")
	u.call("POST", "/upload/a.mp4", strings.NewReader("abc")).want(403, "address_unproven")
	for _, c := range s.everything(u) {
		equal(t, "notify", c.Notify, conversion.NotifyNone)
		equal(t, "notice of the outcome", s.advance(c.ID, conversion.Failed).Notice.State, conversion.NoticeNone)
		u.call("DELETE", "/v1/conversions/"+c.ID, nil).want(204)
	}
	u.call("POST", "/v1/conversions", n).want(403, "address_unproven") // deleting gives nothing back

	u.call("POST", "/v1/me/confirmation", nil).want(202)
	link := s.mail("a@example.org", account.MailConfirm).Token
	u.call("POST", "/v1/users/confirm", api.Link{Token: link}).want(200)
	c := decode[api.Conversion](u.call("POST", "/v1/conversions", n).want(201))
	equal(t, "notify", c.Notify, conversion.NotifyEmail)
}

// A repeated request of an unproven account counts once.
func TestUnprovenRepeats(t *testing.T) {
	s := start(t)
	s.send("POST", "/v1/users", api.NewUser{Email: "a@example.org", Password: password}).want(202)
	a, err := s.o.Users.ByEmail(t.Context(), "a@example.org")
	check(t, err)
	token, _, err := s.o.Tokens.Access(a, s.o.Now())
	check(t, err)
	u := &user{User: a, stack: s, token: token}
	n := api.NewConversion{Filename: "a.mp4", Size: 3}
	u.call("POST", "/v1/conversions", n, "Idempotency-Key", "k").want(201)
	for range 5 {
		u.call("POST", "/v1/conversions", n, "Idempotency-Key", "k").want(200)
	}
	u.call("POST", "/v1/conversions", n, "Idempotency-Key", "l").want(201)
}

// Registration and reset answer the same whether an address has an account or
// not, and so does login.
func TestEnumeration(t *testing.T) {
	s := start(t)
	s.user("has@example.org")
	gone := s.user("gone@example.org")
	_, err := s.o.Users.Delete(t.Context(), gone.User)
	check(t, err)
	for path, body := range map[string]func(email string) any{
		"/v1/users":       func(email string) any { return api.NewUser{Email: email, Password: password} },
		"/v1/users/reset": func(email string) any { return api.EmailOnly{Email: email} },
		"/v1/session":     func(email string) any { return api.Credentials{Email: email, Password: "wrong horse"} },
	} {
		var first reply
		for _, email := range []string{"has@example.org", "not@example.org", "gone@example.org"} {
			s.forget()
			r := s.send("POST", path, body(email))
			r.header.Del("Date")
			r.body = []byte(strings.ReplaceAll(string(r.body), email, "EMAIL"))
			if i := strings.Index(string(r.body), `"created_at"`); i > 0 {
				r.body = r.body[:i]
			}
			if first.status == 0 {
				first = r
				continue
			}
			r.header.Set("Content-Length", first.header.Get("Content-Length")) // of the address
			if r.status != first.status || string(r.body) != string(first.body) || !reflect.DeepEqual(r.header, first.header) {
				t.Errorf("%s of %s: %d %v %s, want %d %v %s", path, email, r.status, r.header, r.body, first.status, first.header, first.body)
			}
		}
	}
	// Nor does the change of an address.
	bob := s.user("bob@example.org")
	has := bob.call("PUT", "/v1/me/email", api.EmailChange{Password: password, Email: "has@example.org"}).want(202)
	none := bob.call("PUT", "/v1/me/email", api.EmailChange{Password: password, Email: "none@example.org"}).want(202)
	equal(t, "the answer to a change of the address", string(has.body), string(none.body))
}

// One network cannot ask for mails without end.
func TestMailRequests(t *testing.T) {
	s := start(t)
	for i := range mailsOfNetwork.Burst {
		s.send("POST", "/v1/users/reset", api.EmailOnly{Email: fmt.Sprintf("a%d@example.org", i)}).want(202)
	}
	s.send("POST", "/v1/users/reset", api.EmailOnly{Email: "b@example.org"}).want(429, "too_many_requests")
	s.send("POST", "/v1/users", api.NewUser{Email: "b@example.org", Password: password}).want(429, "too_many_requests")
}

func TestChangeEmail(t *testing.T) {
	s := start(t)
	u := s.user("old@example.org")
	u.call("PUT", "/v1/me/email", api.EmailChange{Password: password, Email: "new@example.org"}).want(202)
	link := api.Link{Token: s.mail("new@example.org", account.MailEmail).Token}
	equal(t, "before the link", decode[api.Me](u.call("GET", "/v1/me", nil).want(200)).Email, "old@example.org")
	s.send("POST", "/v1/users/confirm", api.Link{Token: link.Token, Password: password}).want(403, "link_invalid")
	// The click alone does nothing: it may be that of somebody whose inbox a
	// stranger is after. Neither does another session, or a key of the account.
	_, key := u.key(account.ScopeConvert)
	s.send("POST", "/v1/users/email", link).want(403, "password_needed")
	s.user("bob@example.org").call("POST", "/v1/users/email", link).want(403, "password_needed")
	u.with(key).call("POST", "/v1/users/email", link).want(403, "password_needed")
	s.send("POST", "/v1/users/email", api.Link{Token: link.Token, Password: "wrong horse"}).want(403, "wrong_password")
	equal(t, "after refusals", decode[api.Me](u.call("GET", "/v1/me", nil).want(200)).Email, "old@example.org")
	u.call("POST", "/v1/users/email", link).want(200)
	equal(t, "after it", decode[api.Me](u.call("GET", "/v1/me", nil).want(200)).Email, "new@example.org")
	u.call("POST", "/v1/users/email", link).want(403, "link_invalid")
	s.mail("old@example.org", account.MailEmailChanged)

	u.call("PUT", "/v1/me/email", api.EmailChange{Password: password, Email: "third@example.org"}).want(202)
	link = api.Link{Token: s.mail("third@example.org", account.MailEmail).Token, Password: password}
	s.send("POST", "/v1/users/email", link).want(200) // without a session, by the password
	equal(t, "in the end", decode[api.Me](u.call("GET", "/v1/me", nil).want(200)).Email, "third@example.org")
}
