package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"tonearm/internal/account"
	"tonearm/internal/chromiumtest"
	"tonearm/internal/conversion"
)

// seen is a request as the gateway saw it, and its answer.
type seen struct {
	method, path, site, origin string
	cookie                     bool
	status                     int
}

// watch serves the gateway, and an empty page at /blank for scripts, and notes
// the requests to other paths.
func (s *stack) watch(serve func(http.Handler) *httptest.Server) (server *httptest.Server, requests func() []seen) {
	var mu sync.Mutex
	var all []seen
	server = serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/blank" || r.URL.Path == "/favicon.ico" {
			blank(w, r)
			return
		}
		rec := &recorder{ResponseWriter: w}
		s.Handler().ServeHTTP(rec, r)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, seen{r.Method, r.URL.Path, r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin"), strings.Contains(r.Header.Get("Cookie"), s.cookieName()), rec.status})
	}))
	s.t.Cleanup(server.Close)
	return server, func() []seen {
		mu.Lock()
		defer mu.Unlock()
		got := all
		all = nil
		return got
	}
}

func blank(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!doctype html><title>blank</title>"))
}

// called is a server's address under another name of this machine.
func called(name string, server *httptest.Server) string {
	return strings.Replace(server.URL, "127.0.0.1", name, 1)
}

// A page of another site, in a real browser with a session here, cannot do
// anything in its name: not by a script, not by a form. Neither can a page of
// another server on the same site, to which the browser does send the cookie.
func TestCrossSiteInChromium(t *testing.T) {
	browser := chromiumtest.Start(t)
	for public, serve := range map[string]func(http.Handler) *httptest.Server{"http://localhost": httptest.NewServer, "https://localhost": httptest.NewTLSServer} {
		s := start(t, func(o *Options) { o.PublicURL = public })
		u := s.user("a@example.org")
		c := u.announce(3, false)
		server, requests := s.watch(serve)
		others := serve(http.HandlerFunc(blank))
		t.Cleanup(others.Close)
		own, target := called("localhost", server), called("localhost", server)+"/v1/conversions/"+c.ID+"/cancel"
		page := browser.Page()
		form := fmt.Sprintf(`f = document.createElement('form'); f.method = 'post'; f.action = %q; document.body.append(f); f.submit()`, target)

		page.Go(own + "/blank")
		if got := page.Eval(fmt.Sprintf(`fetch('/v1/session', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({email: %q, password: %q})}).then(r => r.status)`, u.Email, password)); got != "200" {
			t.Fatalf("login: %s", got)
		}
		equal(t, "me", page.Eval(`fetch('/v1/me').then(r => r.json()).then(m => m.email)`), u.Email)
		equal(t, "what a script sees of the cookie", page.Eval(`document.cookie`), "")
		requests()

		for _, evil := range []struct {
			origin, site string
			cookie       bool
		}{{called("127.0.0.1", others), "cross-site", false}, {called("localhost", others), "same-site", true}} {
			page.Go(evil.origin + "/blank")
			page.Eval(fmt.Sprintf(`fetch(%q, {method: 'POST', mode: 'no-cors', credentials: 'include'}).then(r => r.type)`, target))
			equal(t, "a script of "+evil.site, page.Eval(fmt.Sprintf(`fetch(%q, {method: 'DELETE', credentials: 'include'}).then(() => 'sent', () => 'not sent')`,
				strings.TrimSuffix(target, "/cancel"))), "not sent")
			equal(t, "what it reads", page.Eval(fmt.Sprintf(`fetch(%q, {credentials: 'include'}).then(() => 'read', () => 'not read')`, own+"/v1/me")), "not read")
			page.Leads(func() { page.Eval(form) })
			posts := 0
			for _, r := range requests() {
				if r.method == "DELETE" {
					t.Errorf("%s: %+v", evil.site, r)
				}
				if r.method != "POST" {
					continue
				}
				if posts++; r.status != http.StatusForbidden || r.site != evil.site || r.cookie != evil.cookie {
					t.Errorf("%s: %+v", evil.site, r)
				}
			}
			equal(t, "requests of "+evil.site, posts, 2)
			got, err := s.o.Records.ByID(t.Context(), c.ID)
			check(t, err)
			equal(t, "state after "+evil.site, got.State, conversion.AwaitingUpload)
		}

		page.Go(own + "/blank")
		page.Leads(func() { page.Eval(form) })
		got, err := s.o.Records.ByID(t.Context(), c.ID)
		check(t, err)
		equal(t, "state after a form of its own", got.State, conversion.Canceled)
	}
}

// The page behind the link of a mail works in a real browser, also without
// https, where the browser does not say which site a form comes from.
func TestLinkPagesInChromium(t *testing.T) {
	browser := chromiumtest.Start(t)
	s := start(t)
	server, requests := s.watch(httptest.NewServer)
	for _, host := range []string{"localhost", "tonearm.lan"} {
		u := s.user("old-" + host + "@example.org")
		email := "new-" + host + "@example.org"
		check(t, s.o.Users.RequestEmail(t.Context(), u.User, email, s.o.Tokens.Proof))
		page := browser.Page()
		page.Go(called(host, server) + "/account/email?lang=de&token=" + s.mail(email, account.MailEmail).Token)
		equal(t, "title", page.Eval(`document.title`), "Tonearm: Neue Adresse bestätigen")
		page.Eval(fmt.Sprintf(`document.querySelector('[name=password]').value = %q`, password))
		page.Leads(func() { page.Eval(`document.querySelector('button').click()`) })
		if text := page.Eval(`document.body.innerText`); !strings.Contains(text, "Ihre Adresse ist geändert") {
			t.Errorf("%s: %s, by %+v", host, text, requests())
		}
		if at := page.Eval(`location.href`); strings.Contains(at, "token") {
			t.Errorf("the address of the page is %s", at)
		}
		got, err := s.o.Users.ByID(t.Context(), u.ID)
		check(t, err)
		equal(t, "address", got.Email, email)
	}
}

// A page of a listed origin, in a real browser, works with a token, and never with the
// cookie of whoever is logged in here. A page that is not listed reads nothing.
func TestListedOriginInChromium(t *testing.T) {
	browser := chromiumtest.Start(t)
	pages := httptest.NewServer(http.HandlerFunc(blank))
	t.Cleanup(pages.Close)
	app, elsewhere := called("localhost", pages), called("127.0.0.1", pages)
	s := start(t, func(o *Options) { o.PublicURL, o.CORSOrigins = "http://localhost", []string{app} })
	u := s.user("a@example.org")
	server, _ := s.watch(httptest.NewServer)
	own := called("localhost", server)
	page := browser.Page()
	page.Go(own + "/blank")
	equal(t, "login", page.Eval(fmt.Sprintf(`fetch('/v1/session', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({email: %q, password: %q})}).then(r => r.status)`, u.Email, password)), "200")
	me := func(options string) string {
		return page.Eval(fmt.Sprintf(`fetch(%q, %s).then(r => r.json()).then(m => m.email || m.code, () => 'not read')`, own+"/v1/me", options))
	}
	bearer := fmt.Sprintf(`{headers: {Authorization: 'Bearer %s'}}`, u.token)
	for origin, want := range map[string][3]string{app: {u.Email, "login_required", "201"}, elsewhere: {"not read", "not read", "not read"}} {
		page.Go(origin + "/blank")
		equal(t, origin+" with a token", me(bearer), want[0])
		equal(t, origin+" without one", me(`{}`), want[1])
		equal(t, origin+" with the cookie", me(`{credentials: 'include'}`), "not read")
		equal(t, origin+" begins a conversion", page.Eval(fmt.Sprintf(`fetch(%q, {method: 'POST', headers: {Authorization: 'Bearer %s', 'Content-Type': 'application/json', 'Idempotency-Key': 'k'}, body: '{"filename":"a.mp4","size":3}'}).then(r => r.status, () => 'not read')`,
			own+"/v1/conversions", u.token)), want[2])
	}
}
