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
		policy := map[bool]string{true: "same-origin", false: "no-referrer"}[r.status == 200] // the token goes to no other server
		if !strings.Contains(string(r.body), text) || r.header.Get("Content-Type") != "text/html; charset=utf-8" || r.header.Get("Referrer-Policy") != policy {
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
	says(post("email", url.Values{"token": {token}}).want(403), "send the password")
	says(post("email", url.Values{"token": {token}, "password": {"another password"}}).want(200), "Your address is changed")

	evil := s.send("GET", "/account/confirm?lang=%22%3E%3Cscript&token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", nil).want(200)
	if strings.Contains(string(evil.body), "<script") {
		t.Errorf("the page repeats what it gets: %s", evil.body)
	}
	s.send("GET", "/account/access?token="+token, nil).want(404, "no_such_path")
	s.send("POST", "/account/confirm", strings.NewReader(strings.Repeat("x", 1<<20)), "Content-Type", "application/x-www-form-urlencoded").want(400, "invalid_request")
	s.send("POST", "/account/confirm", nil, "Sec-Fetch-Site", "cross-site").want(403, "cross_site")
}

// The link in a mail about an outcome changes which mails the account gets:
// nothing else, and only by a click, or by the POST of a program for mail.
func TestUnsubscribe(t *testing.T) {
	s := start(t)
	user := s.user("a@example.org")
	link := func(email string) string {
		token, err := s.o.Tokens.Unsubscribe(user.ID, email)
		check(t, err)
		return "/account/unsubscribe?lang=de&token=" + token
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html"}
	mails := func(want account.MailSetting) {
		t.Helper()
		u, err := s.o.Users.ByID(t.Context(), user.ID)
		check(t, err)
		equal(t, "mails", u.Mails, want)
	}
	page := s.send("GET", link("a@example.org"), nil).want(200)
	for _, want := range []string{"Weniger Mails", "Keine Mails", `value="failures"`} {
		if !strings.Contains(string(page.body), want) {
			t.Errorf("%q is missing in %s", want, page.body)
		}
	}
	mails("")
	done := s.send("POST", link("a@example.org"), strings.NewReader("mails=failures"), form...).want(200)
	if !strings.Contains(string(done.body), "Erledigt") {
		t.Errorf("%s", done.body)
	}
	mails(account.MailFailures)
	s.send("POST", link("a@example.org"), strings.NewReader("List-Unsubscribe=One-Click"), form...).want(200)
	mails(account.MailNone)
	s.send("POST", link("a@example.org"), strings.NewReader("mails=each"), form...).want(200)
	mails(account.MailNone) // a link to fewer mails never gives more

	_, err := s.o.Users.Configure(t.Context(), user.ID, "", account.MailEach)
	check(t, err)
	s.send("POST", link("old@example.org"), nil).want(403, "link_invalid") // who had the address before
	download, _, err := s.o.Tokens.Download(user.ID)
	check(t, err)
	for _, wrong := range []string{"", "x", download, user.token} {
		s.send("POST", "/account/unsubscribe?token="+wrong, nil).want(403, "link_invalid")
	}
	s.send("POST", link("a@example.org"), nil, "Sec-Fetch-Site", "cross-site").want(403, "cross_site")
	mails(account.MailEach)
}
