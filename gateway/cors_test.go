package gateway

import (
	"strings"
	"testing"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

const (
	ownOrigin   = "http://localhost:8080"
	appOrigin   = "https://app.example.org"
	otherOrigin = "https://elsewhere.example.org"
)

// TestOrigins: the headers of browsers' questions for every kind of origin, with and
// without --cors-origins.
func TestOrigins(t *testing.T) {
	alone := start(t)
	open := start(t, func(o *Options) { o.CORSOrigins = []string{appOrigin} })
	for _, tt := range []struct {
		name         string
		s            *stack
		path, origin string
		allowed      bool
	}{
		{"own page", alone, "/v1/presets", ownOrigin, true},
		{"another page, by default", alone, "/v1/presets", appOrigin, false},
		{"a page that is listed", open, "/v1/presets", appOrigin, true},
		{"own page beside the list", open, "/v1/presets", ownOrigin, true},
		{"a page that is not listed", open, "/v1/presets", otherOrigin, false},
		{"a sandboxed page", open, "/v1/presets", "null", false},
		{"the same host with TLS off", open, "/v1/presets", "http://app.example.org", false},
		{"the same host on another port", open, "/v1/presets", appOrigin + ":8443", false},
		{"a longer name", open, "/v1/presets", appOrigin + ".evil.example", false},
		{"a plain form", open, "/upload", appOrigin, false},
		{"a page", open, "/docs", appOrigin, false},
		{"the cookie's session", open, "/v1/session", appOrigin, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			preflight := tt.s.send("OPTIONS", tt.path, nil, "Origin", tt.origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization, content-type, idempotency-key")
			simple := tt.s.send("GET", tt.path, nil, "Origin", tt.origin)
			want := ""
			if tt.allowed {
				want = tt.origin
				preflight.want(204)
				for _, name := range []string{"authorization", "content-type", "idempotency-key", "if-none-match"} {
					if !strings.Contains(strings.ToLower(preflight.header.Get("Access-Control-Allow-Headers")), name) {
						t.Errorf("the headers %q lack %s", preflight.header.Get("Access-Control-Allow-Headers"), name)
					}
				}
				equal(t, "methods", preflight.header.Get("Access-Control-Allow-Methods"), "GET, POST, PUT, PATCH, DELETE")
				if !strings.Contains(simple.header.Get("Access-Control-Expose-Headers"), "Retry-After") {
					t.Errorf("scripts may read %q", simple.header.Get("Access-Control-Expose-Headers"))
				}
			} else {
				preflight.want(405)
			}
			for _, r := range []reply{preflight, simple} {
				equal(t, "allowed origin", r.header.Get("Access-Control-Allow-Origin"), want)
				equal(t, "credentials", r.header.Get("Access-Control-Allow-Credentials"), "")
				if strings.HasPrefix(tt.path, "/v1/") && !strings.Contains(strings.Join(r.header.Values("Vary"), ","), "Origin") {
					t.Errorf("a cache may give the answer to another origin: Vary is %q", r.header.Values("Vary"))
				}
			}
		})
	}
}

// TestOriginsUse: a listed page works with a token. The cookie that a browser may
// send along counts for nothing there, and no page but the own one gets one.
func TestOriginsUse(t *testing.T) {
	s := start(t, func(o *Options) { o.CORSOrigins = []string{appOrigin} })
	u := s.user("a@example.org")
	from := func(origin string) []string { return []string{"Origin", origin, "Sec-Fetch-Site", "cross-site"} }
	video := api.NewConversion{Filename: "a.mp4", Size: 3}
	u.call("POST", "/v1/conversions", video, from(appOrigin)...).want(201)
	refused := u.call("POST", "/v1/conversions", video, from(otherOrigin)...).want(403, "cross_site")
	equal(t, "allowed origin of a refusal", refused.header.Get("Access-Control-Allow-Origin"), "")
	problem := s.send("POST", "/v1/conversions", video, from(appOrigin)...).want(401, "login_required")
	equal(t, "allowed origin of a problem", problem.header.Get("Access-Control-Allow-Origin"), appOrigin)

	cookie := []string{"Cookie", plainCookie + "=" + u.token}
	s.send("GET", "/v1/me", nil, append(cookie, from(appOrigin)...)...).want(401, "login_required")
	s.send("POST", "/v1/conversions", video, append(cookie, "Origin", appOrigin, "Sec-Fetch-Site", "same-site")...).want(401, "login_required")
	s.send("GET", "/v1/me", nil, append(cookie, "Origin", ownOrigin, "Sec-Fetch-Site", "same-origin")...).want(200)
	for _, method := range []string{"POST", "DELETE"} {
		r := s.send(method, "/v1/session", api.Credentials{Email: u.Email, Password: password}, from(appOrigin)...).want(403, "cross_site")
		equal(t, "cookies", len(r.header.Values("Set-Cookie")), 0)
	}
	for _, path := range []string{"/login", "/upload", "/account/confirm"} {
		u.call("POST", path, "x", from(appOrigin)...).want(403, "cross_site")
	}
	_, key := u.key(account.ScopeRead)
	u.with(key).call("GET", "/v1/conversions", nil, from(appOrigin)...).want(200)
}

// TestOriginOf: what may stand in the flag, and what a browser would send for it.
func TestOriginOf(t *testing.T) {
	for value, want := range map[string]string{
		"https://App.Example.org": "https://app.example.org", "https://app.example.org/": "https://app.example.org",
		"https://app.example.org:443": "https://app.example.org", "http://app.example.org:80": "http://app.example.org",
		"http://[::1]:5173": "http://[::1]:5173", "https://app.example.org:80": "https://app.example.org:80",
		"*": "", "": "", "app.example.org": "", "https://": "", "https://app.example.org/page": "", "https://app.example.org?x": "",
		"https://app.example.org#x": "", "ftp://app.example.org": "", "https://*.example.org": "", "https://u@app.example.org": "", "null": "",
	} {
		got, err := Origins("http://localhost:8080/", []string{value})
		if (err == nil) != (want != "") || err == nil && (len(got) != 2 || got[0] != ownOrigin || got[1] != want) {
			t.Errorf("%q: got %q, %v, want %q", value, got, err, want)
		}
	}
	got, err := Origins("https://tonearm.example.org:443/below", nil)
	if err != nil || len(got) != 1 || got[0] != "https://tonearm.example.org" {
		t.Errorf("default: %q, %v", got, err)
	}
	if got, err := Origins(ownOrigin, []string{ownOrigin, appOrigin, appOrigin}); err != nil || len(got) != 2 {
		t.Errorf("named twice: %q, %v", got, err)
	}
	if _, err := Origins("x", nil); err == nil {
		t.Error("no public URL, and no error")
	}
}
