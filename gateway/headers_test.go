package gateway

import (
	"strings"
	"testing"
)

// TestHeaders: what every answer of a gateway behind TLS says to browsers, whatever
// it answers.
func TestHeaders(t *testing.T) {
	s := start(t, func(o *Options) { o.PublicURL = "https://tonearm.example.org" })
	for _, tt := range []struct {
		method, path string
		status       int
		policy       string // of this answer alone
		header       []string
	}{
		{"GET", "/docs", 200, "script-src 'self'", nil},
		{"GET", "/docs/swagger-ui.css", 200, "script-src 'self'", nil},
		{"GET", "/docs/nothing", 404, "form-action 'none'", nil},
		{"GET", "/", 302, "form-action 'none'", nil},
		{"GET", "/openapi.json", 200, "form-action 'none'", nil},
		{"GET", "/.well-known/jwks.json", 200, "form-action 'none'", nil},
		{"GET", "/account/confirm?token=x", 200, "form-action 'self'", nil},
		{"POST", "/account/confirm", 403, "form-action 'none'", nil},
		{"GET", "/account/nothing", 404, "form-action 'none'", nil},
		{"GET", "/v1/presets", 200, "form-action 'none'", nil},
		{"GET", "/v1/conversions", 401, "form-action 'none'", nil},
		{"PUT", "/v1/presets", 405, "form-action 'none'", nil},
		{"OPTIONS", "/v1/presets", 204, "form-action 'none'", []string{"Origin", "https://tonearm.example.org", "Access-Control-Request-Method", "GET"}},
		{"POST", "/v1/conversions", 403, "form-action 'none'", []string{"Sec-Fetch-Site", "cross-site"}},
		{"GET", "/download?mp3_id=x&token=y", 403, "form-action 'none'", nil},
		{"GET", "/nowhere", 404, "form-action 'none'", nil},
	} {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			h := s.send(tt.method, tt.path, nil, tt.header...).want(tt.status).header
			referrer := "no-referrer"
			if strings.Contains(tt.policy, "form-action 'self'") {
				referrer = "same-origin" // see linkPage.write
			}
			for name, want := range map[string]string{
				"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": referrer,
			} {
				equal(t, name, h.Get(name), want)
			}
			policy := h.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", tt.policy} {
				if !strings.Contains(policy, want) {
					t.Errorf("the policy %q lacks %q", policy, want)
				}
			}
			if strings.Contains(policy, "unsafe-eval") || strings.Contains(policy, "script-src 'self' 'unsafe-inline'") || strings.Contains(policy, "*") {
				t.Errorf("the policy is wide: %q", policy)
			}
		})
	}
}
