package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// These tests run on a synthetic clock, so their stores are as simple as
// possible: one record, a queue that wakes on demand, a user with the token
// "t". All other calls hang until their context ends, like those of a store
// that is down.

type oneRecord struct {
	conversion.Store // as if down
	mu               sync.Mutex
	c                conversion.Conversion
	reads            int
}

func (r *oneRecord) ByID(context.Context, string) (conversion.Conversion, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	return r.c, nil
}

func (r *oneRecord) change(f func(*conversion.Conversion)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.c)
	r.c.Revision++
}

type wakeUps struct {
	queue.Queue
	changed     chan struct{}
	subscribe   func()
	down        bool
	unsubscribe int
}

func (q *wakeUps) Subscribe(context.Context, string) (<-chan struct{}, func(), error) {
	if q.down {
		return nil, nil, errors.New("connection refused")
	}
	if q.subscribe != nil {
		q.subscribe()
	}
	return q.changed, func() { q.unsubscribe++ }, nil
}

type oneUser struct{ account.Store }

func (oneUser) ByID(context.Context, string) (account.User, error) {
	return account.User{ID: "u", Email: "u@example.org", ConfirmedAt: time.Unix(1, 0)}, nil
}

type oneToken struct{ account.Tokens }

func (oneToken) VerifyAccess(string) (account.Session, error) {
	return account.Session{UserID: "u"}, nil
}

const theID = "01890a5d-ac96-774b-bcce-b302099a8057"

func waitStack(t *testing.T) (*Gateway, *oneRecord, *wakeUps) {
	t.Helper()
	records := &oneRecord{Store: downRecords{}, c: conversion.Conversion{
		ID: theID, OwnerID: "u", Revision: 1, State: conversion.Queued, Filename: "v.mp4",
		Object: conversion.Object{Size: 3},
	}}
	q := &wakeUps{changed: make(chan struct{}, 1)}
	g, err := New(Options{
		Records: records, Users: oneUser{downUsers{}}, Tokens: oneToken{}, Objects: downObjects{}, Queue: q,
		PublicURL: "https://tonearm.example.org", OpenRegistration: true,
	})
	check(t, err)
	return g, records, q
}

// ask sends a request in a goroutine of the test's bubble. The reply says how
// long the answer took.
func ask(t *testing.T, g *Gateway, method, path, body string) <-chan reply {
	t.Helper()
	answered := make(chan reply, 1)
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer t")
	start := time.Now()
	go func() {
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, req)
		w.Header().Set("Took", time.Since(start).String())
		answered <- reply{t, w.Code, w.Header(), w.Body.Bytes()}
	}()
	return answered
}

func TestWait(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		happen      func(g *oneRecord, q *wakeUps) // after a second of waiting
		took        string
		state       conversion.State
		reads       int
	}{
		{"no wait", "", nil, "0s", conversion.Queued, 1},
		{"nothing happens", "?wait=12", nil, "12s", conversion.Queued, 4},
		{"done and announced", "?wait=60", func(r *oneRecord, q *wakeUps) {
			r.change(func(c *conversion.Conversion) { c.State = conversion.Done })
			q.changed <- struct{}{}
		}, "1s", conversion.Done, 2},
		{"done and not announced", "?wait=60", func(r *oneRecord, q *wakeUps) {
			r.change(func(c *conversion.Conversion) { c.State = conversion.Done })
		}, "5s", conversion.Done, 2},
		{"running is not final", "?wait=3", func(r *oneRecord, q *wakeUps) {
			r.change(func(c *conversion.Conversion) { c.State = conversion.Running })
			q.changed <- struct{}{}
		}, "3s", conversion.Running, 3},
		{"running is another revision", "?wait=60&revision=1", func(r *oneRecord, q *wakeUps) {
			r.change(func(c *conversion.Conversion) { c.State = conversion.Running })
			q.changed <- struct{}{}
		}, "1s", conversion.Running, 2},
		{"an older revision", "?wait=60&revision=0", nil, "0s", conversion.Queued, 1},
		{"woken for nothing", "?wait=2&revision=1", func(_ *oneRecord, q *wakeUps) { q.changed <- struct{}{} }, "2s", conversion.Queued, 3},
		{"deleted", "?wait=60", func(r *oneRecord, q *wakeUps) {
			r.change(func(c *conversion.Conversion) { c.State = conversion.Deleted })
			q.changed <- struct{}{}
		}, "1s", "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, records, q := waitStack(t)
				answered := ask(t, g, "GET", "/v1/conversions/"+theID+tt.query, "")
				if tt.happen != nil {
					time.Sleep(time.Second)
					tt.happen(records, q)
				}
				r := <-answered
				equal(t, "took", r.header.Get("Took"), tt.took)
				if tt.state == "" {
					r.want(404, "not_found")
				} else {
					equal(t, "state", decode[api.Conversion](r.want(200)).State, tt.state)
				}
				equal(t, "reads", records.reads, tt.reads)
				if tt.query != "" {
					equal(t, "subscriptions ended", q.unsubscribe, 1)
				}
			})
		})
	}
}

// TestWaitSubscribesFirst finishes the conversion between subscribing and
// reading: no wake-up follows, and none is needed.
func TestWaitSubscribesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, records, q := waitStack(t)
		q.subscribe = func() { records.change(func(c *conversion.Conversion) { c.State = conversion.Done }) }
		r := <-ask(t, g, "GET", "/v1/conversions/"+theID+"?wait=60", "")
		equal(t, "took", r.header.Get("Took"), "0s")
	})
}

// TestWaitWithoutQueue: the gateway reads less often, and answers all the same.
func TestWaitWithoutQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, records, q := waitStack(t)
		q.down = true
		answered := ask(t, g, "GET", "/v1/conversions/"+theID+"?wait=60", "")
		time.Sleep(7 * time.Second)
		records.change(func(c *conversion.Conversion) { c.State = conversion.Done })
		r := <-answered
		equal(t, "took", r.header.Get("Took"), "10s")
		equal(t, "state", decode[api.Conversion](r.want(200)).State, conversion.Done)
	})
}

// TestWaitEndsWithItsClient: when the client has gone, nothing is kept for it.
func TestWaitEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, _ := waitStack(t)
		ctx, hangUp := context.WithCancel(t.Context())
		req := httptest.NewRequestWithContext(ctx, "GET", "/v1/conversions/"+theID+"?wait=60", nil)
		req.Header.Set("Authorization", "Bearer t")
		w := httptest.NewRecorder()
		start := time.Now()
		time.AfterFunc(time.Second, hangUp)
		g.Handler().ServeHTTP(w, req)
		equal(t, "took", time.Since(start), time.Second)
		equal(t, "status in the metrics", w.Code, clientGone)
	})
}

// TestWaitOnRedis: the real queue wakes the gateway.
func TestWaitOnRedis(t *testing.T) {
	subscribed := make(chan struct{})
	s := start(t, func(o *Options) { o.Queue = &tellSubscribe{o.Queue, subscribed} })
	u := s.user("a@example.org")
	c := u.announce(3, false)
	answered := make(chan reply, 1)
	go func() { answered <- u.call("GET", "/v1/conversions/"+c.ID+"?wait=60&revision=1", nil) }()
	<-subscribed
	begin := time.Now()
	u.call("POST", "/v1/conversions/"+c.ID+"/cancel", nil).want(200)
	r := <-answered
	equal(t, "state", decode[api.Conversion](r.want(200)).State, conversion.Canceled)
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("woken after %v, which looks like the poll", d)
	}
}

type tellSubscribe struct {
	queue.Queue
	done chan struct{}
}

func (q *tellSubscribe) Subscribe(ctx context.Context, id string) (<-chan struct{}, func(), error) {
	defer close(q.done)
	return q.Queue.Subscribe(ctx, id)
}

// TestUnavailable sends all requests while stores do not answer.
func TestUnavailable(t *testing.T) {
	for _, tt := range []struct {
		method, path, body string
		down               func(*Gateway)
		took               time.Duration
	}{
		{"POST", "/login", "", nil, hashing},
		{"POST", "/v1/users", `{"email":"a@example.org","password":"correct horse"}`, nil, hashing},
		{"GET", "/v1/conversions", "", nil, quick},
		{"POST", "/v1/conversions", `{"filename":"a","size":1}`, nil, quick},
		{"POST", "/v1/conversions", `{"filename":"a","size":1,"parts":true}`, nil, quick},
		{"GET", "/v1/conversions/" + theID, "", recordsDown, quick},
		{"GET", "/v1/conversions/" + theID + "?wait=60", "", recordsDown, quick},
		{"DELETE", "/v1/conversions/" + theID, "", nil, quick},
		{"POST", "/v1/conversions/" + theID + "/cancel", "", nil, quick},
		{"POST", "/v1/conversions/" + theID + "/retry", "", failed, quick},
		{"POST", "/v1/conversions/" + theID + "/parts", "", awaiting, quick},
		{"POST", "/v1/conversions/" + theID + "/complete", "", awaiting, joining},
		{"GET", "/v1/mp3s", "", nil, quick},
		{"GET", "/v1/mp3s/" + theID, "", nil, quick},
		{"GET", "/v1/mp3s/" + theID + "/download", "", nil, quick},
		{"GET", "/download?mp3_id=" + theID, "", nil, quick},
		{"PUT", "/upload/v.mp4", "video", nil, quick},
		{"GET", "/v1/conversions", "", func(g *Gateway) { g.o.Users = downUsers{} }, quick},
		{"POST", "/v1/users/reset", `{"email":"u@example.org"}`, nil, hashing},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _, _ := waitStack(t)
				g.outbox.Records = g.o.Records
				if tt.down != nil {
					tt.down(g)
				}
				var r reply
				if tt.path == "/login" {
					w := httptest.NewRecorder()
					req := httptest.NewRequest(tt.method, tt.path, nil)
					req.SetBasicAuth("u@example.org", password)
					begin := time.Now()
					g.Handler().ServeHTTP(w, req)
					w.Header().Set("Took", time.Since(begin).String())
					r = reply{t, w.Code, w.Header(), w.Body.Bytes()}
				} else {
					r = <-ask(t, g, tt.method, tt.path, tt.body)
				}
				r.want(http.StatusServiceUnavailable, "unavailable")
				equal(t, "Retry-After", r.header.Get("Retry-After"), "5")
				if took, err := time.ParseDuration(r.header.Get("Took")); err != nil || took > tt.took {
					t.Errorf("took %v, want at most %v", took, tt.took)
				}
			})
		})
	}
}

func recordsDown(g *Gateway) { g.o.Records = downRecords{} }
func failed(g *Gateway) {
	g.o.Records.(*oneRecord).c.State = conversion.Failed
}
func awaiting(g *Gateway) {
	r := g.o.Records.(*oneRecord)
	r.c.State, r.c.Upload = conversion.AwaitingUpload, &conversion.Upload{ID: "x", PartSize: 16 * mib, Parts: 1}
}

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

type downRecords struct{ conversion.Store }

func (downRecords) Create(ctx context.Context, _ conversion.Conversion) error { return hang(ctx) }
func (downRecords) ByID(ctx context.Context, _ string) (c conversion.Conversion, err error) {
	return c, hang(ctx)
}
func (downRecords) ByMP3(ctx context.Context, _ string) (c conversion.Conversion, err error) {
	return c, hang(ctx)
}
func (downRecords) Update(ctx context.Context, _ string, _ func(*conversion.Conversion) error) (c conversion.Conversion, err error) {
	return c, hang(ctx)
}
func (downRecords) List(ctx context.Context, _ conversion.Query) ([]conversion.Conversion, error) {
	return nil, hang(ctx)
}

func (downRecords) Unfinished(ctx context.Context, _ string) (map[conversion.State]int64, error) {
	return nil, hang(ctx)
}

type downUsers struct{ account.Store }

func (downUsers) Register(ctx context.Context, _ account.NewUser, _ account.Signer) error {
	return hang(ctx)
}
func (downUsers) RequestReset(ctx context.Context, _ string, _ account.Signer) error {
	return hang(ctx)
}
func (downUsers) Authenticate(ctx context.Context, _, _ string) (u account.User, err error) {
	return u, hang(ctx)
}
func (downUsers) ByID(ctx context.Context, _ string) (u account.User, err error) {
	return u, hang(ctx)
}

type downObjects struct{ blob.Store }

func (downObjects) Ping(ctx context.Context) error { return hang(ctx) }
func (downObjects) Head(ctx context.Context, _ string) (o blob.Object, err error) {
	return o, hang(ctx)
}
func (downObjects) CreateUpload(ctx context.Context, _ string) (string, error) { return "", hang(ctx) }
func (downObjects) Parts(ctx context.Context, _, _ string) ([]blob.Part, error) {
	return nil, hang(ctx)
}
