// Package client speaks the gateway's HTTP interface and moves videos to and
// MP3s from the object store by presigned URLs.
//
// A call that may succeed later (after a restart of the server, a refused
// connection, 429, or a store's 5xx) is tried again for a bounded time; one that has
// to wait for others of the user's conversions, until there is room. Every
// call that is repeated is safe to repeat. Neither tokens nor presigned URLs
// appear in errors.
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
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/printable"
	"tonearm/internal/retry"
)

// Options of a Client.
type Options struct {
	// Server is the gateway's URL; a bare host means https, a bare loopback
	// host http. Required.
	Server string
	// Token is an access token; '' before login.
	Token string
	// RefreshAt is when the session of Token is renewed, by the next call; zero
	// for never. Refreshed is then called with the new token; may be nil.
	RefreshAt time.Time
	Refreshed func(api.Token)
	// UserAgent is sent with each request; default tonearm.
	UserAgent string
	// Patience bounds the time spent waiting between the tries of one call; 0
	// for no second try.
	Patience time.Duration
	// Stall is how long a transfer may stand still before it is tried again;
	// default 60 s.
	Stall time.Duration
	// Waiting is called with the reason why a call is tried again and the pause
	// before that; may be nil. It is called from several goroutines.
	Waiting func(err error, pause time.Duration)
	// Again is called when a call succeeds after it was tried again; may be nil. It is
	// called from several goroutines.
	Again func()
	// Transport carries the requests; by default the client has its own.
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

	mu        sync.Mutex
	token     string
	refreshAt time.Time
}

// New returns a client. It contacts nobody.
func New(o Options) (*Client, error) {
	base, err := ParseServer(o.Server)
	if err != nil {
		return nil, err
	}
	o.UserAgent = cmp.Or(o.UserAgent, defaultUserAgent)
	o.Stall = cmp.Or(o.Stall, defaultStall)
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 32
		o.Transport = t
	}
	return &Client{o: o, base: base, token: o.Token, refreshAt: o.RefreshAt, http: &http.Client{
		Transport: o.Transport,
		// Go would send the Authorization header on to the object store, which
		// refuses requests with two credentials. So redirects are followed by
		// hand.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ParseServer returns the URL that s means, without a trailing slash.
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
		return nil, fmt.Errorf("%q is not the URL of a server; write it like https://tonearm.example.org", s)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// Loopback reports whether u leads only to this machine.
func Loopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// Server returns the gateway's URL.
func (c *Client) Server() string { return c.base.String() }

// Error is an answer of the gateway that reports a failure.
type Error struct {
	api.Problem
}

// Error is on one line, whatever the server said.
func (e *Error) Error() string {
	switch {
	case e.Detail != "":
		return printable.Escape(e.Detail)
	case e.Title != "":
		return printable.Escape(e.Title)
	}
	return strings.TrimSpace("the server answered " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status))
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
		err = errors.New("the server gave no token: is it a Tonearm server?")
	}
	return t, err
}

// CreateUser makes an account where the server lets anybody do so.
func (c *Client) CreateUser(ctx context.Context, u api.NewUser) (api.User, error) {
	var out api.User
	// Not repeated: after a lost answer it would find the address taken.
	err := c.once(ctx, http.MethodPost, "/v1/users", request{in: u, out: &out})
	return out, err
}

// Create makes a conversion, or returns the one that was made with this key.
func (c *Client) Create(ctx context.Context, key string, n api.NewConversion) (api.Conversion, error) {
	var out api.Conversion
	err := c.call(ctx, http.MethodPost, "/v1/conversions", request{
		in: n, out: &out, header: http.Header{"Idempotency-Key": {key}},
		conflictPasses: true, // the upload of the earlier request is just being completed
	})
	return out, err
}

// Upload returns fresh URLs for an upload, and which parts are stored. numbers
// are the parts to sign; if empty, the next missing parts are signed.
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

// Wait returns the conversion as soon as its revision is above the given one or
// the conversion is final, or after half a minute.
func (c *Client) Wait(ctx context.Context, id string, revision int64) (api.Conversion, error) {
	var out api.Conversion
	err := c.call(ctx, http.MethodGet, conversionPath(id), request{out: &out, query: url.Values{
		"wait":     {strconv.Itoa(int(maxWait.Seconds()))},
		"revision": {strconv.FormatInt(revision, 10)},
	}})
	return out, err
}

// List returns a page of conversions, newest first. cursor is empty for the
// first page, else the Next of the page before.
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

// request is what a call sends, and where its answer goes.
type request struct {
	query  url.Values
	header http.Header
	in     any                 // JSON body; nil for none
	out    any                 // JSON answer; nil to ignore it
	auth   func(*http.Request) // in place of the token
	limit  time.Duration       // for the answer; 0 for callLimit

	conflictPasses bool // a 409 is worth a further try
}

// callLimit is how long one try of a call may take, not counting a wait that it
// asks for.
const callLimit = 2 * time.Minute

// call carries out a call that may be repeated.
func (c *Client) call(ctx context.Context, method, path string, r request) error {
	return c.retry(ctx, func(ctx context.Context) error { return c.once(ctx, method, path, r) })
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
			return retry.Permanent(fmt.Errorf("the server's answer is not JSON (%w): is it a Tonearm server?", err))
		}
		return fmt.Errorf("read the server's answer: %w", err) // it broke off
	}
	return nil
}

// send returns an answer with a status below 400, or an error. If there was an
// answer, the error is an *Error.
func (c *Client) send(ctx context.Context, method, path string, r request) (*http.Response, error) {
	u := c.base.String() + path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.in != nil {
		b, err := json.Marshal(r.in)
		if err != nil {
			return nil, retry.Permanent(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, retry.Permanent(err)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.auth != nil {
		r.auth(req)
	} else if token := c.bearer(ctx); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(c.base, err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	e := &Error{}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e.Problem) // a proxy's answer may be something else
	e.Status = resp.StatusCode
	if e.Code == "" {
		e.Code = "http_" + strconv.Itoa(resp.StatusCode)
	}
	if r.conflictPasses && e.Status == http.StatusConflict {
		return nil, e
	}
	err = answered(resp, e)
	if passes(e) {
		err = retry.Progress(err) // others of the user's conversions go on meanwhile, so this is no failure
	}
	return nil, err
}

// passing are quotas of which something becomes free by itself when others of the
// user's uploads and conversions go on. They are waited for, however long that takes.
var passing = []account.Quota{account.QuotaOpenUploads, account.QuotaQueued, account.QuotaWaiters, account.QuotaGatewayUploads}

// passes reports whether the server has refused something for such a quota, of the
// user or of all users.
func passes(e *Error) bool {
	name, _ := strings.CutSuffix(e.Limit, "_overall")
	return e.Status == http.StatusTooManyRequests && slices.Contains(passing, account.Quota(name))
}

// RefreshAfter is when a session that begins now is renewed: halfway to its end.
func RefreshAfter(t api.Token, now time.Time) time.Time {
	return now.Add(time.Duration(t.ExpiresIn) * time.Second / 2)
}

// refreshAgain is the pause after a renewal that failed.
const refreshAgain = 10 * time.Minute

// bearer returns the token for a request. Once half of its life is over, one
// call renews it, while others go on with the old one. If that fails, for
// example because the password was given 30 days ago, the old one goes on to its
// end.
func (c *Client) bearer(ctx context.Context) string {
	c.mu.Lock()
	token, now := c.token, time.Now()
	due := !c.refreshAt.IsZero() && !now.Before(c.refreshAt)
	if due {
		c.refreshAt = now.Add(refreshAgain)
	}
	c.mu.Unlock()
	if !due {
		return token
	}
	var t api.Token
	err := c.once(ctx, http.MethodPost, "/v1/session/refresh", request{out: &t, auth: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }})
	if err != nil || t.AccessToken == "" {
		return token
	}
	c.mu.Lock()
	c.token, c.refreshAt = t.AccessToken, RefreshAfter(t, now)
	c.mu.Unlock()
	if c.o.Refreshed != nil {
		c.o.Refreshed(t)
	}
	return t.AccessToken
}

// drain reads the rest of a short answer, so that its connection can be used
// again.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 64<<10) }

// retry calls try until it succeeds, fails for good, or Patience is used up.
func (c *Client) retry(ctx context.Context, try func(context.Context) error) error {
	waited := false
	err := retry.Do(ctx, retry.Policy{
		Initial: 125 * time.Millisecond, Max: 5 * time.Second, Jitter: 1,
		Patience: max(c.o.Patience, 1), PausesOnly: true,
		Before: func(err error, pause time.Duration) {
			waited = true
			if c.o.Waiting != nil {
				c.o.Waiting(err, pause)
			}
		},
	}, try)
	switch {
	case err == nil && waited && c.o.Again != nil:
		c.o.Again()
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// noAnswer is an error of a connection, in words that help a person.
type noAnswer struct {
	text string
	err  error
}

func (e *noAnswer) Error() string { return e.text }
func (e *noAnswer) Unwrap() error { return e.err }

// transportError says why no answer came. It names the server, but not the rest
// of the URL, which may be presigned.
func transportError(to *url.URL, err error) error {
	err = retry.WithoutURL(err)
	var (
		dns   *net.DNSError
		dial  *net.OpError
		cert  *tls.CertificateVerificationError
		plain tls.RecordHeaderError
		local *LocalError
	)
	server := to.Scheme + "://" + to.Host
	because := func(format string) error { return &noAnswer{fmt.Sprintf(format, server, err), err} }
	switch { // after a permanent one a second try would get the same answer
	case errors.As(err, &local):
		return retry.Permanent(err)
	case errors.As(err, &dns) && dns.IsNotFound:
		return retry.Permanent(&noAnswer{"cannot reach " + server + ": there is no such host; check the address", err})
	case errors.As(err, &cert):
		return retry.Permanent(because("cannot trust %s: %v"))
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return retry.Permanent(&noAnswer{server + " does not speak TLS: is its address http://" + to.Host + "?", err})
	case errors.Is(err, errStalled):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return &noAnswer{"cannot reach " + server + ": is the server running?", err}
	case errors.As(err, &dial) && dial.Op == "dial":
		return because("cannot reach %s: %v")
	}
	return because("the connection to %s failed: %v")
}

// answered marks err with what its answer says about a further try.
func answered(resp *http.Response, err error) error {
	switch s := resp.StatusCode; {
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s >= 500 && s != http.StatusNotImplemented:
		return retry.After(err, retry.AfterHeader(resp.Header))
	}
	return retry.Permanent(err)
}
