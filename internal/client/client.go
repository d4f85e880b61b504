// Package client speaks the gateway's HTTP interface and moves videos to and
// MP3s from the object store by presigned URLs.
//
// What may heal (a server that restarts, a refused connection, 429, a store's
// 5xx) is tried again for a bounded time. Every call that is repeated is safe to
// repeat. Neither tokens nor presigned URLs appear in errors.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// Options of a Client.
type Options struct {
	// Server is the gateway's URL; a bare host means https, a bare loopback
	// host http. Required.
	Server string
	// Token is an access token; '' before login.
	Token string
	// UserAgent is sent with each request; default tonearm.
	UserAgent string
	// Patience bounds the time spent waiting between the tries of one call; 0
	// for no second try.
	Patience time.Duration
	// Stall is how long a transfer may stand still before it is tried again;
	// default 60 s.
	Stall time.Duration
	// Waiting is told why a call is tried again and when; may be nil. It is
	// called from several goroutines.
	Waiting func(err error, pause time.Duration)
	// Transport carries the requests; default one of the client's own.
	Transport http.RoundTripper
}

// Defaults of Options.
const (
	defaultUserAgent = "tonearm"
	defaultStall     = time.Minute
)

// Client is safe for concurrent use.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
}

// New returns a client. It contacts nobody.
func New(o Options) (*Client, error) {
	base, err := ParseServer(o.Server)
	if err != nil {
		return nil, err
	}
	o.UserAgent = cmp.Or(o.UserAgent, defaultUserAgent)
	o.Stall = cmp.Or(o.Stall, defaultStall)
	if o.Waiting == nil {
		o.Waiting = func(error, time.Duration) {}
	}
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 32
		o.Transport = t
	}
	return &Client{o: o, base: base, http: &http.Client{
		Transport: o.Transport,
		// Go would send the Authorization header on to the object store, which
		// refuses requests with two credentials: redirects are followed by hand.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ParseServer returns the URL that s stands for, without a trailing slash.
func ParseServer(s string) (*url.URL, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		scheme := "https://"
		if u, err := url.Parse("//" + s); err == nil && Loopback(u) {
			scheme = "http://"
		}
		s = scheme + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the URL of a server, such as https://tonearm.example.org", s)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// Loopback reports whether u leads nowhere but to this machine.
func Loopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// Server returns the gateway's URL.
func (c *Client) Server() string { return c.base.String() }

// Error is an answer of the gateway other than the one hoped for.
type Error struct {
	api.Problem
	retryAfter time.Duration
}

func (e *Error) Error() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case e.Title != "":
		return e.Title
	}
	return "the server answered " + strconv.Itoa(e.Status)
}

// IsLogin reports whether err says that a (new) login is needed.
func IsLogin(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}

// Login returns a token for the user.
func (c *Client) Login(ctx context.Context, email, password string) (api.Token, error) {
	var t api.Token
	err := c.call(ctx, http.MethodPost, "/login", request{out: &t, auth: func(r *http.Request) { r.SetBasicAuth(email, password) }})
	if err == nil && t.AccessToken == "" {
		err = errors.New("the server gave no token: is it a Tonearm?")
	}
	return t, err
}

// CreateUser makes an account where the server lets anybody do so.
func (c *Client) CreateUser(ctx context.Context, u api.NewUser) (api.User, error) {
	var out api.User
	// Not repeated: after a lost answer it would say that the address is taken.
	err := c.once(ctx, http.MethodPost, "/v1/users", request{in: u, out: &out})
	return out, err
}

// Create makes a conversion, or returns the one that was made with this key.
func (c *Client) Create(ctx context.Context, key string, n api.NewConversion) (api.Conversion, error) {
	var out api.Conversion
	err := c.retry(ctx, func() error {
		err := c.once(ctx, http.MethodPost, "/v1/conversions", request{
			in: n, out: &out, header: http.Header{"Idempotency-Key": {key}},
		})
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusConflict { // its upload is just being completed
			return again{err}
		}
		return err
	})
	return out, err
}

// Upload returns fresh URLs for an upload and which parts are stored; numbers
// are the parts to sign, or none for the next ones missing.
func (c *Client) Upload(ctx context.Context, id string, numbers []int) (api.Upload, error) {
	var out api.Upload
	err := c.call(ctx, http.MethodPost, conversionPath(id)+"/parts", request{in: api.PartNumbers{Numbers: numbers}, out: &out})
	return out, err
}

// Complete says that everything is uploaded. A store may take minutes to join
// the parts of a large upload.
func (c *Client) Complete(ctx context.Context, id string) (api.Conversion, error) {
	var out api.Conversion
	err := c.call(ctx, http.MethodPost, conversionPath(id)+"/complete", request{out: &out, limit: time.Hour})
	return out, err
}

// Cancel ends a conversion.
func (c *Client) Cancel(ctx context.Context, id string) (api.Conversion, error) {
	return c.act(ctx, id, "/cancel")
}

// Retry starts a failed, canceled or expired conversion over.
func (c *Client) Retry(ctx context.Context, id string) (api.Conversion, error) {
	return c.act(ctx, id, "/retry")
}

func (c *Client) act(ctx context.Context, id, action string) (api.Conversion, error) {
	var out api.Conversion
	err := c.call(ctx, http.MethodPost, conversionPath(id)+action, request{out: &out})
	return out, err
}

// Delete removes a conversion and its files.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, conversionPath(id), request{})
}

// Conversion returns one conversion.
func (c *Client) Conversion(ctx context.Context, id string) (api.Conversion, error) {
	var out api.Conversion
	err := c.call(ctx, http.MethodGet, conversionPath(id), request{out: &out})
	return out, err
}

// maxWait is how long one request waits for a change.
const maxWait = 30 * time.Second

// Wait returns the conversion once its revision is above the given one or it is
// final, or after half a minute.
func (c *Client) Wait(ctx context.Context, id string, revision int64) (api.Conversion, error) {
	var out api.Conversion
	err := c.call(ctx, http.MethodGet, conversionPath(id), request{out: &out, query: url.Values{
		"wait":     {strconv.Itoa(int(maxWait.Seconds()))},
		"revision": {strconv.FormatInt(revision, 10)},
	}})
	return out, err
}

// List returns a page of conversions, newest first; cursor is ” or the Next of
// the page before.
func (c *Client) List(ctx context.Context, states []conversion.State, cursor string, limit int) (api.Conversions, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if len(states) > 0 {
		var names []string
		for _, s := range states {
			names = append(names, string(s))
		}
		query.Set("state", strings.Join(names, ","))
	}
	var out api.Conversions
	err := c.call(ctx, http.MethodGet, "/v1/conversions", request{out: &out, query: query})
	return out, err
}

func conversionPath(id string) string { return "/v1/conversions/" + url.PathEscape(id) }

// request is what goes into a call and where its answer goes.
type request struct {
	query  url.Values
	header http.Header
	in     any                 // JSON body; nil for none
	out    any                 // JSON answer; nil to ignore it
	auth   func(*http.Request) // in place of the token
	limit  time.Duration       // for the answer; 0 for callLimit
}

// callLimit is how long one try of a call may take, beyond any wait asked for.
const callLimit = 2 * time.Minute

// call carries out a call that may be repeated.
func (c *Client) call(ctx context.Context, method, path string, r request) error {
	return c.retry(ctx, func() error { return c.once(ctx, method, path, r) })
}

func (c *Client) once(ctx context.Context, method, path string, r request) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.limit, callLimit))
	defer cancel()
	resp, err := c.send(ctx, method, path, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	if r.out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(r.out); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("the server's answer is not JSON (%w): is it a Tonearm?", err)
		}
		return again{fmt.Errorf("read the server's answer: %w", err)} // it broke off
	}
	return nil
}

// send returns an answer below 400, or an *Error.
func (c *Client) send(ctx context.Context, method, path string, r request) (*http.Response, error) {
	u := c.base.String() + path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.in != nil {
		b, err := json.Marshal(r.in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case r.auth != nil:
		r.auth(req)
	case c.o.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	e := &Error{retryAfter: retryAfter(resp)}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e.Problem) // a proxy's answer may not be a problem document
	e.Status = resp.StatusCode
	if e.Code == "" {
		e.Code = "http_" + strconv.Itoa(resp.StatusCode)
	}
	return nil, e
}

// drain reads what is left of a short answer, so that its connection can be used
// again.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 64<<10) }

func retryAfter(resp *http.Response) time.Duration {
	s := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// Pauses between tries: doubling, with jitter.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 10 * time.Second
)

// retry calls try until it succeeds, fails for good, or Patience is used up.
func (c *Client) retry(ctx context.Context, try func() error) error {
	var waited time.Duration
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		again, asked := mayHeal(err)
		next := max(pause/2+rand.N(pause/2), asked) //nolint:gosec // jitter
		if !again || waited+next > c.o.Patience {
			return err
		}
		waited += next
		c.o.Waiting(err, next)
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// again marks an error after which a try is worth its while.
type again struct{ error }

func (e again) Unwrap() error { return e.error }

// transportError is a failure to get any answer. Unlike net/http's own error it
// does not hold the URL, which may be presigned.
func transportError(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	var (
		dns   *net.DNSError
		cert  *tls.CertificateVerificationError
		plain tls.RecordHeaderError
		local *LocalError
	)
	if errors.As(err, &dns) && dns.IsNotFound || errors.As(err, &cert) || errors.As(err, &plain) || errors.As(err, &local) {
		return err // no second try would be answered otherwise
	}
	return again{err}
}

// mayHeal reports whether trying again makes sense, and after how long the
// other side asks for it.
func mayHeal(err error) (bool, time.Duration) {
	var (
		worth again
		api   *Error
		store *StoreError
	)
	switch {
	case errors.As(err, &worth):
		return true, 0
	case errors.As(err, &api):
		return healing(api.Status), api.retryAfter
	case errors.As(err, &store):
		return healing(store.Status), store.retryAfter
	}
	return false, 0
}

func healing(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests ||
		status >= 500 && status != http.StatusNotImplemented
}
