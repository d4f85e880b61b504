package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Origins are the origins, as browsers send them, of the pages that may use the
// gateway and the object store: that of the public URL first, then the others.
// An error names what is no origin, such as https://app.example.org.
func Origins(publicURL string, others []string) ([]string, error) {
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the public URL %q must be an http or https address, such as https://tonearm.example.org", publicURL)
	}
	all := []string{originOf(u)}
	for _, other := range others {
		u, err := url.Parse(other)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(u.Host, "*") || u.User != nil ||
			u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
			return nil, fmt.Errorf("%q is no origin of web pages, such as https://app.example.org or http://localhost:5173", other)
		}
		if o := originOf(u); !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	return all, nil
}

// originOf is the part of a URL that a browser sends as Origin: in lower case, and
// without the scheme's own port.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return strings.ToLower(u.Scheme) + "://" + host
}

// What pages of other origins may send, and read of an answer.
const (
	corsMethods = "GET, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, If-None-Match"
	corsExposed = "ETag, Location, Retry-After, WWW-Authenticate"
	corsMaxAge  = "600" // seconds; how long a page that is no longer listed may go on
)

// shares answers what a browser asks before and with the request of a page of
// another origin (Fetch standard, "CORS protocol"), for the JSON interface alone.
// done means that the request was only a question.
//
// Such pages log in with a token. No answer allows credentials, and the cookie,
// which the browser sends along to a host on the same site, is taken out: otherwise
// whatever runs at a listed origin could act for everybody who is logged in here.
func (g *Gateway) shares(w http.ResponseWriter, r *http.Request) (done bool) {
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	from := r.Header.Get("Origin")
	if !slices.Contains(g.pages, from) || isCookie(r.URL.Path) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", from)
	h.Set("Access-Control-Expose-Headers", corsExposed)
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Max-Age", corsMaxAge)
		w.WriteHeader(http.StatusNoContent)
		return true
	}
	return false
}

// isCookie reports whether a route gives or takes away the cookie, which is for
// the gateway's own pages.
func isCookie(path string) bool { return path == "/v1/session" }

// crossSite reports whether the request is that of a page which may not send it.
func (g *Gateway) crossSite(r *http.Request) bool {
	from := r.Header.Get("Origin")
	if strings.HasPrefix(r.URL.Path, "/v1/") && !isCookie(r.URL.Path) && from != g.pages[0] && slices.Contains(g.pages, from) {
		r.Header.Del("Cookie")
		return false
	}
	return g.origins.Check(r) != nil
}
