package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

func TestOptions(t *testing.T) {
	good := func() Options {
		return Options{Records: downRecords{}, Users: downUsers{}, Tokens: oneToken{}, Objects: downObjects{}, Queue: &wakeUps{}, PublicURL: "http://localhost:8080"}
	}
	g, err := New(good())
	check(t, err)
	equal(t, "largest upload", g.o.MaxUploadBytes, 100<<30)
	equal(t, "upload window", g.o.UploadWindow, 24*time.Hour)
	equal(t, "upload URLs", g.o.URLExpiry, time.Hour)
	equal(t, "download URLs", g.o.DownloadExpiry, 15*time.Minute)
	equal(t, "JSON", g.o.MaxBodyBytes, 64<<10)
	bad := good()
	bad.MaxUploadBytes, bad.UploadWindow, bad.URLExpiry, bad.DownloadExpiry, bad.MaxBodyBytes = -1, -1, -1, -1, -1
	_, err = New(bad)
	equal(t, "error of five bad options", err.Error(), `gateway: largest upload is -1; it must be between 0 and 5497558138880
upload window is -1ns; it must be between 0 and 720h0m0s
expiry of upload URLs is -1ns; it must be between 0 and 168h0m0s
expiry of download URLs is -1ns; it must be between 0 and 168h0m0s
largest JSON body is -1; it must be between 0 and 16777216`)
	_, err = New(Options{})
	equal(t, "error of no options", err.Error(), "gateway: records, users, tokens, objects and queue are required")
	for name, spoil := range map[string]func(*Options){
		"no records":       func(o *Options) { o.Records = nil },
		"no queue":         func(o *Options) { o.Queue = nil },
		"no URL":           func(o *Options) { o.PublicURL = "" },
		"path for URL":     func(o *Options) { o.PublicURL = "/tonearm" },
		"ftp":              func(o *Options) { o.PublicURL = "ftp://localhost" },
		"negative size":    func(o *Options) { o.MaxUploadBytes = -1 },
		"6 TiB":            func(o *Options) { o.MaxUploadBytes = 6 << 40 },
		"8 days":           func(o *Options) { o.URLExpiry = 8 * 24 * time.Hour },
		"negative window":  func(o *Options) { o.UploadWindow = -1 },
		"registered twice": func(o *Options) { o.Registerer = prometheus.NewRegistry(); _, _ = New(*o) },
	} {
		o := good()
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPages(t *testing.T) {
	s := start(t)
	equal(t, "/ leads to", s.send("GET", "/", nil).want(302).header.Get("Location"), "/docs")
	page := s.send("GET", "/docs", nil).want(200)
	equal(t, "type", page.header.Get("Content-Type"), "text/html; charset=utf-8")
	if !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'") {
		t.Errorf("policy is %q", page.header.Get("Content-Security-Policy"))
	}
	if elsewhere := regexp.MustCompile(`(src|href)="(https?:)?//`).Find(page.body); elsewhere != nil {
		t.Errorf("the page loads from another host: %s", elsewhere)
	}
	links := regexp.MustCompile(`(?:src|href)="(docs/[^"]+)"`).FindAllSubmatch(page.body, -1)
	equal(t, "files of the page", len(links), 3)
	for _, link := range links {
		if r := s.send("GET", "/"+string(link[1]), nil).want(200); len(r.body) == 0 {
			t.Errorf("%s is empty", link[1])
		}
	}
	var jwks struct{ Keys []struct{ Kid, Alg string } }
	check(t, json.Unmarshal(s.send("GET", "/.well-known/jwks.json", nil).want(200).body, &jwks))
	if len(jwks.Keys) != 1 || jwks.Keys[0].Kid == "" {
		t.Errorf("keys: %+v", jwks)
	}
	for _, path := range []string{"/docs", "/v1/conversions", "/nowhere"} {
		h := s.send("GET", path, nil).header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": "",
		} {
			equal(t, path+" "+name, h.Get(name), want)
		}
		if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s: policy is %q", path, h.Get("Content-Security-Policy"))
		}
	}
}

// TestDescription checks what generators of clients need from /openapi.json.
func TestDescription(t *testing.T) {
	s := start(t)
	body := s.send("GET", "/openapi.json", nil).want(200).body
	var spec struct {
		OpenAPI string
		Servers []struct{ URL string }
		Paths   map[string]map[string]struct {
			OperationID string
			Security    []map[string]any
			Responses   map[string]json.RawMessage
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}
	check(t, json.Unmarshal(body, &spec))
	equal(t, "version", spec.OpenAPI, "3.1.0")
	equal(t, "server", spec.Servers[0].URL, "http://localhost:8080")
	for path, methods := range spec.Paths {
		for method, op := range methods {
			if problem := op.Responses["default"]; !bytes.Contains(problem, []byte("application/problem+json")) {
				t.Errorf("%s %s does not say how errors look: %s", method, path, problem)
			}
			if public := rules[strings.ToUpper(method)+" "+path] == everybody && path != "/login"; public != (len(op.Security) == 0) {
				t.Errorf("%s %s: security is %v", method, path, op.Security)
			}
			if op.OperationID == "" || len(op.Responses) < 2 {
				t.Errorf("%s %s is described too shortly", method, path)
			}
		}
	}
	for _, ref := range regexp.MustCompile(`#/components/schemas/([A-Za-z0-9]+)`).FindAllSubmatch(body, -1) {
		if _, ok := spec.Components.Schemas[string(ref[1])]; !ok {
			t.Errorf("%s is described nowhere", ref[0])
		}
	}
	if _, ok := spec.Components.Schemas["ErrorModel"]; ok {
		t.Error("huma's own errors are described")
	}
}

// TestPanic: a request that panics is answered all the same, and counted.
func TestPanic(t *testing.T) {
	registry := prometheus.NewRegistry()
	g, err := New(Options{
		Records: downRecords{}, Users: oneUser{}, Tokens: panicking{}, Objects: downObjects{}, Queue: &wakeUps{},
		PublicURL: "https://tonearm.example.org", Registerer: registry,
	})
	check(t, err)
	ask := func(method, path string) reply {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(method, path, nil)
		req.Header.Set("Authorization", "Bearer t")
		g.Handler().ServeHTTP(w, req)
		return reply{t, w.Code, w.Header(), w.Body.Bytes()}
	}
	r := ask("GET", "/v1/conversions/"+conversion.NewID()).want(http.StatusInternalServerError, "internal")
	equal(t, "HSTS behind https", r.header.Get("Strict-Transport-Security"), "max-age=31536000")
	ask("GET", "/docs")
	ask("BREW", "/coffee").want(404, "no_such_path")
	check(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP tonearm_http_requests_total Requests answered, by route, method and status; 499 where the client did not wait.
# TYPE tonearm_http_requests_total counter
tonearm_http_requests_total{code="200",method="GET",route="/docs"} 1
tonearm_http_requests_total{code="404",method="other",route="none"} 1
tonearm_http_requests_total{code="500",method="GET",route="/v1/conversions/{id}"} 1
`), "tonearm_http_requests_total"))
	if n, err := testutil.GatherAndCount(registry, "tonearm_http_request_duration_seconds"); err != nil || n != 3 {
		t.Errorf("%d histograms, %v", n, err)
	}
}

type panicking struct{ account.Tokens }

func (panicking) VerifyAccess(string) (account.Session, error) { panic("no key") }
