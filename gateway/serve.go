package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/account"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	found    *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tonearm_uploads_found_total",
			Help: "Uploads that became known, by how: by a notification of the object store, a sweep (a look at it), " +
				"the client's complete call, or as a plain form.",
		}, []string{"by"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tonearm_quota_refusals_total",
			Help: "Requests refused because a user, or all of them together, had reached a limit, by its name.",
		}, []string{"limit"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tonearm_http_requests_total",
			Help: "Requests answered, by route, method and status; 499 where the client did not wait.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tonearm_http_request_duration_seconds",
			Help:    "Time to answer, by route. Uploads through the gateway and ?wait= take as long as they are asked to.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}, []string{"route"}),
	}
	for _, by := range []string{byComplete, byForm} {
		m.found.WithLabelValues(by)
	}
	for _, q := range refusable {
		m.refused.WithLabelValues(string(q))
	}
	return m
}

// How the end of an upload becomes known to a gateway. Dispatchers count the
// others.
const (
	byComplete = "complete"
	byForm     = "form"
)

// completed counts an upload of which its client told first, and tells the
// dispatchers of it: they watch whether the store's notifications come.
func (g *Gateway) completed(ctx context.Context) {
	g.metrics.found.WithLabelValues(byComplete).Inc()
	if err := g.told.Announce(ctx, g.o.Now()); err != nil {
		g.outage.Warn("could not tell the dispatchers of an upload", "error", err)
	}
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serve handles what all requests have in common: where they came from, headers,
// metrics, panics.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w}
	r = r.WithContext(account.FromNetwork(r.Context(), g.network(r)))
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // it is compared like this by net/http, too
				panic(v)
			}
			g.o.Log.Error("request panicked", "route", route(r), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if rec.status == 0 {
				internalError(http.StatusInternalServerError).write(rec, r)
			}
		}
		g.metrics.requests.WithLabelValues(route(r), method(r), strconv.Itoa(rec.status)).Inc()
		g.metrics.seconds.WithLabelValues(route(r)).Observe(time.Since(start).Seconds())
	}()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", policy("'none'"))
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if g.secure() {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if g.shares(rec, r) {
		return
	}
	if g.crossSite(r) {
		refuse(http.StatusForbidden, "cross_site", "A page of another site sent this request.").write(rec, r)
		return
	}
	if handler, pattern := g.mux.Handler(r); pattern == "" {
		unrouted(rec, r, handler)
		return
	}
	g.mux.ServeHTTP(rec, r)
}

// policy is the Content-Security-Policy of an answer that loads nothing. forms says
// where its forms may be sent to; default-src does not include that.
func policy(forms string) string {
	return "default-src 'none'; base-uri 'none'; form-action " + forms + "; frame-ancestors 'none'"
}

// unrouted answers requests that match no route. verdict, which comes from the
// mux, knows whether the path or the method is wrong.
func unrouted(w http.ResponseWriter, r *http.Request, verdict http.Handler) {
	v := &discard{header: http.Header{}}
	verdict.ServeHTTP(v, r)
	if v.status == http.StatusMethodNotAllowed {
		refuse(v.status, "method_not_allowed", "This path takes only "+v.header.Get("Allow")+".").
			with("Allow", v.header.Get("Allow")).write(w, r)
		return
	}
	refuse(http.StatusNotFound, "no_such_path", "There is no such path. /docs lists all paths.").write(w, r)
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// route returns the pattern that matched, without its method.
func route(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern[strings.IndexByte(r.Pattern, '/'):]
}

// method returns the request's method. Clients may invent methods, so unknown
// ones become one word.
func method(r *http.Request) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, r.Method) {
		return r.Method
	}
	return "other"
}

// readBody takes the whole body, JSON or a short form, into memory, within its limit of size,
// so that a bad one gets an answer like every other mistake. Its time is limited by the
// server: see service.Limits.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, g.o.MaxBodyBytes))
	if err != nil {
		if p := problemOf(err); p.Status == http.StatusRequestEntityTooLarge {
			return p
		}
		return refuse(http.StatusBadRequest, "invalid_request", "The body of the request was cut off. Send the request again.")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
