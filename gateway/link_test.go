package gateway

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
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
	u, err = s.o.Users.ByID(t.Context(), u.ID)
	check(t, err)
	check(t, s.o.Users.RequestEmail(t.Context(), u, "b@example.org", s.o.Tokens.Proof))
	token = s.mail("b@example.org", account.MailEmail).Token
	says(post("email", url.Values{"token": {token}}).want(403), "send the password")
	says(post("email", url.Values{"token": {token}, "password": {"another password"}}).want(200), "Your address is changed")

	evil := s.send("GET", "/account/confirm?lang=%22%3E%3Cscript&token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", nil).want(200)
	if strings.Contains(string(evil.body), "<script") {
		t.Errorf("the page repeats what it gets: %s", evil.body)
	}
	s.send("GET", "/account/access?token="+token, nil).want(404, "no_such_path")
	s.send("POST", "/account/confirm", strings.NewReader(strings.Repeat("x", 1<<20)), "Content-Type", "application/x-www-form-urlencoded").want(413, "body_too_large")
	s.send("POST", "/account/confirm", strings.NewReader("token=%zz"), "Content-Type", "application/x-www-form-urlencoded").want(400, "invalid_request")
	s.send("POST", "/account/confirm", nil, "Sec-Fetch-Site", "cross-site").want(403, "cross_site")
}

// Whoever opens a link without any right cannot make the server keep what they
// send.
func TestLinkPagesKeepNothing(t *testing.T) {
	s := start(t)
	const size = 64 * mib
	for _, method := range []string{"GET", "HEAD", "POST"} {
		body := &endless{left: size, head: "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a\"\r\n\r\n"}
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+"/account/confirm", body)
		check(t, err)
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err == nil { // otherwise the connection was closed under the body
			res.Body.Close()
		}
		if read := body.read.Load(); read > size/2 {
			t.Errorf("%s: %d bytes were read", method, read)
		}
	}
}

// endless is a body that counts what is read of it.
type endless struct {
	head string
	left int
	read atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, e.head)
	if e.head = e.head[n:]; n == 0 {
		n = min(len(p), e.left)
		clear(p[:n])
	}
	e.left -= n
	e.read.Add(int64(n))
	return n, nil
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
	// A link to fewer mails never gives more, whatever is sent and chosen before.
	for _, setting := range []account.MailSetting{account.MailEach, account.MailFailures, account.MailNone} {
		for _, sent := range []string{"List-Unsubscribe=One-Click", "mails=each", "mails=x", "mails="} {
			_, err := s.o.Users.Configure(t.Context(), user.ID, "", setting)
			check(t, err)
			s.send("POST", link("a@example.org"), strings.NewReader(sent), form...).want(200)
			mails(account.MailNone)
		}
	}

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
