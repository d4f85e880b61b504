package gateway

import (
	"net/url"
	"strings"
	"testing"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

// Programs that look through mails open links; only a person's click uses one.
func TestLinkPages(t *testing.T) {
	s := start(t)
	html := []string{"Accept", "text/html"}
	post := func(kind string, form url.Values) reply {
		return s.send("POST", "/account/"+kind, strings.NewReader(form.Encode()), append(html, "Content-Type", "application/x-www-form-urlencoded")...)
	}
	says := func(r reply, text string) {
		t.Helper()
		if !strings.Contains(string(r.body), text) || r.header.Get("Content-Type") != "text/html; charset=utf-8" || r.header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%v %s, want %q", r.header, r.body, text)
		}
	}
	s.send("POST", "/v1/users", api.NewUser{Email: "a@example.org", Password: password, Language: account.German}).want(202)
	token := s.mail("a@example.org", account.MailConfirm).Token
	for range 3 {
		says(s.send("GET", "/account/confirm?lang=de&token="+token, nil, html...).want(200), "Adresse bestätigen")
	}
	says(post("confirm", url.Values{"token": {token}, "password": {"wrong horse"}}).want(403), "The password is wrong")
	says(post("confirm", url.Values{"token": {token}, "password": {password}, "lang": {"de"}}).want(200), "Ihre Adresse ist bestätigt")
	says(post("confirm", url.Values{"token": {token}, "password": {password}}).want(403), "used before")
	u, err := s.o.Users.ByEmail(t.Context(), "a@example.org")
	check(t, err)
	equal(t, "confirmed", u.Confirmed(), true)

	check(t, s.o.Users.RequestReset(t.Context(), "a@example.org", s.o.Tokens.Proof))
	token = s.mail("a@example.org", account.MailReset).Token
	says(post("email", url.Values{"token": {token}}).want(403), "used before")
	says(post("reset", url.Values{"token": {token}, "password": {"short"}}).want(422), "too short")
	says(post("reset", url.Values{"token": {token}, "password": {"another password"}}).want(200), "Your password is set")
	check(t, s.o.Users.RequestEmail(t.Context(), u.ID, "b@example.org", s.o.Tokens.Proof))
	token = s.mail("b@example.org", account.MailEmail).Token
	says(post("email", url.Values{"token": {token}}).want(200), "Your address is changed")

	evil := s.send("GET", "/account/confirm?lang=%22%3E%3Cscript&token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", nil).want(200)
	if strings.Contains(string(evil.body), "<script") {
		t.Errorf("the page repeats what it gets: %s", evil.body)
	}
	s.send("GET", "/account/access?token="+token, nil).want(404, "no_such_path")
	s.send("POST", "/account/confirm", strings.NewReader(strings.Repeat("x", 1<<20)), "Content-Type", "application/x-www-form-urlencoded").want(400, "invalid_request")
	s.send("POST", "/account/confirm", nil, "Sec-Fetch-Site", "cross-site").want(403, "cross_site")
}
