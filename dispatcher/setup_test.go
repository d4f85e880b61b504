package dispatcher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"tonearm/dispatcher"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/api"
	"tonearm/internal/attempt"
	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/embedded"
	"tonearm/internal/queue"
	"tonearm/internal/queue/redisqueue"
	"tonearm/internal/waittest"
)

const (
	eventToken = "token-of-the-webhook"
	patience   = 90 * time.Second // for what must happen, on a slow machine
)

var attemptKey = attempt.Key("0123456789abcdef0123456789abcdef")

var policy = conversion.Policy{
	Lease: time.Minute, MaxAttempts: 3, MaxLaunches: 6,
	Backoff: 20 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
	SourceRetention: 7 * 24 * time.Hour, URLExpiry: time.Hour,
}

// shortLease is for attempts whose end nobody sees.
func shortLease(o *dispatcher.Options) { o.Policy.Lease = time.Second }

// objects is the server that all tests share; each has a bucket of its own.
var objects *embedded.S3

func TestMain(m *testing.M) {
	embedded.Main()
	flag.Parse()
	flag.Set("test.parallel", "16") // the tests wait more than they work
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dispatcher")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if objects, err = embedded.StartS3(context.Background(), embedded.S3Options{Dir: dir}); err != nil {
		panic(err)
	}
	return m.Run() // objects ends with this process; Close would wait for idle connections
}

// world is everything around a dispatcher, on embedded stores. Its dispatcher
// serves from the start and works after run.
type world struct {
	*testing.T
	clock    *clock
	records  *records
	accounts *sqlaccount.Store
	redis    *miniredis.Miniredis
	queue    queue.Queue
	outbox   *queue.Outbox // like the gateway's
	objects  *faultyObjects
	bucket   string
	launcher *launcher
	server   *httptest.Server

	options  dispatcher.Options
	serving  atomic.Pointer[dispatcher.Dispatcher]
	registry *prometheus.Registry
	halt     func() // ends Run and waits; nil while it does not run
}

func newWorld(t *testing.T, change ...func(*dispatcher.Options)) *world {
	t.Helper()
	dir, ctx := t.TempDir(), t.Context()
	w := &world{T: t, clock: &clock{}}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.serving.Load().Handler().ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)

	store, err := sqliteconversion.Open(filepath.Join(dir, "tonearm.db"))
	w.must(err)
	t.Cleanup(func() { store.Close() })
	w.must(store.Prepare(ctx))
	w.records = &records{Store: store}
	w.accounts, err = sqlaccount.OpenSQLite(filepath.Join(dir, "accounts.db"))
	w.must(err)
	t.Cleanup(func() { w.accounts.Close() })
	w.must(w.accounts.Prepare(ctx))
	w.redis = miniredis.RunT(t)
	q, err := redisqueue.Open("redis://"+w.redis.Addr(), "")
	w.must(err)
	t.Cleanup(func() { q.Close() })
	w.queue = q
	w.bucket = "b" + strings.ReplaceAll(conversion.NewID(), "-", "")
	bucket, err := s3blob.New(s3blob.Options{
		Endpoint: objects.Endpoint(), Bucket: w.bucket, AccessKey: objects.AccessKey(), SecretKey: objects.SecretKey(),
	})
	w.must(err)
	w.objects = &faultyObjects{Store: bucket}
	w.launcher = newLauncher(w.server.URL)

	w.options = dispatcher.Options{
		Records: w.records, Users: w.accounts, Queue: w.queue, Objects: w.objects, Launcher: w.launcher,
		Bucket: w.bucket, EventToken: eventToken, AttemptKey: attemptKey,
		Policy: policy, MaxJobs: map[conversion.Class]int{conversion.CPU: 4},
		InboxEvery: 20 * time.Millisecond, InboxWait: dispatcher.DefaultInboxWait, OrphanScanEvery: 20 * time.Millisecond, UseEvery: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(&discreet{t: t}, nil)), Now: w.clock.Now,
	}
	for _, c := range change {
		c(&w.options)
	}
	w.outbox = &queue.Outbox{Records: store, Queue: q, Log: w.options.Log, Now: w.clock.Now}
	w.fresh()
	w.must(w.serving.Load().Prepare(ctx))
	t.Cleanup(func() {
		w.launcher.end()
		if w.halt != nil {
			w.halt()
		}
	})
	return w
}

// fresh makes another dispatcher, which serves in place of the last one.
func (w *world) fresh() {
	w.Helper()
	w.registry = prometheus.NewPedanticRegistry()
	w.options.Registerer = w.registry
	d, err := dispatcher.New(w.options)
	w.must(err)
	w.serving.Store(d)
}

// run lets the dispatcher work.
func (w *world) run() *world {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	ended := make(chan struct{})
	d := w.serving.Load()
	go func() {
		defer close(ended)
		if err := d.Run(ctx); err != nil {
			w.Errorf("Run: %v", err)
		}
	}()
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		if err := d.KeepUse(ctx); err != nil {
			w.Errorf("KeepUse: %v", err)
		}
	}()
	w.halt = sync.OnceFunc(func() { cancel(); <-ended; <-counted; w.halt = nil })
	return w
}

// restart stops the dispatcher and runs another one.
func (w *world) restart() {
	w.halt()
	w.fresh()
	w.run()
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// until waits until something has become true.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	waittest.Until(w, patience, what, ok)
}

// create makes a conversion that awaits an upload of size bytes.
func (w *world) create(owner string, size int64) conversion.Conversion {
	w.Helper()
	return w.createWith(owner, size, conversion.Options{})
}

func (w *world) createWith(owner string, size int64, o conversion.Options) conversion.Conversion {
	w.Helper()
	c, err := conversion.New(conversion.Params{
		OwnerID: owner, OwnerEmail: owner + "@example.org", Filename: "video.mp4", Size: size, UploadWindow: time.Hour, Options: o,
	}, w.clock.Now())
	w.must(err)
	w.must(w.records.Create(w.Context(), c))
	return c
}

// put stores an object; no event follows.
func (w *world) put(key, content string) {
	w.Helper()
	r, err := w.objects.PresignOverwrite(w.Context(), key, time.Minute, blob.Internal)
	w.must(err)
	w.must(store(w.Context(), onWire(r), content))
}

// event sends the dispatcher an event about an object, and returns the answer's
// status.
func (w *world) event(key string) int {
	w.Helper()
	body, err := blob.FormatNotification(blob.Event{Name: "ObjectCreated:Put", Bucket: w.bucket, Key: key})
	w.must(err)
	status, _ := w.post("/events/s3", eventToken, body, nil)
	return status
}

// tell sends an event that must be accepted.
func (w *world) tell(key string) {
	w.Helper()
	if got := w.event(key); got != http.StatusOK {
		w.Fatalf("event answered %d", got)
	}
}

const source = "a video of 26 bytes at all"

// uploaded makes a conversion, and sends the dispatcher the event of its
// upload.
func (w *world) uploaded(owner string) conversion.Conversion {
	w.Helper()
	return w.uploadedWith(owner, conversion.Options{})
}

func (w *world) uploadedWith(owner string, o conversion.Options) conversion.Conversion {
	w.Helper()
	c := w.createWith(owner, int64(len(source)), o)
	w.put(c.Object.Key, source)
	w.tell(c.Object.Key)
	return w.read(c.ID)
}

func (w *world) read(id string) conversion.Conversion {
	w.Helper()
	c, err := w.records.Store.ByID(w.Context(), id)
	w.must(err)
	return c
}

// become waits until the conversion is in the state.
func (w *world) become(id string, s conversion.State) conversion.Conversion {
	w.Helper()
	var c conversion.Conversion
	defer func() {
		if w.Failed() {
			w.Logf("%s is %s, attempt %d, launches %d, failures %d, error %v", id, c.State, c.Attempt, c.Launches, c.Failures, c.Error)
		}
	}()
	w.until(fmt.Sprintf("%s becomes %s", id, s), func() bool {
		c = w.read(id)
		return c.State == s
	})
	return c
}

// act makes a transition as the gateway does.
func (w *world) act(id string, change func(*conversion.Conversion) error) conversion.Conversion {
	w.Helper()
	c, err := w.outbox.Update(w.Context(), id, change)
	w.must(err)
	return c
}

// keys lists the objects under a prefix.
func (w *world) keys(prefix string) []string {
	w.Helper()
	keys := []string{}
	w.must(w.objects.List(w.Context(), prefix, "", func(o blob.Object) bool {
		keys = append(keys, o.Key)
		return true
	}))
	return keys
}

// wantMP3 checks that a done conversion has one MP3, the one it shows.
func (w *world) wantMP3(c conversion.Conversion) {
	w.Helper()
	if got := w.keys(c.MP3Folder()); len(got) != 1 || got[0] != c.MP3.Key || c.MP3.Key != c.MP3Key(c.Attempt) {
		w.Errorf("%s shows %q and has %q", c.ID, c.MP3.Key, got)
	}
	if c.Notice.State != conversion.NoticeOwed || c.Notice.Attempt != c.Attempt {
		w.Errorf("%s owes %+v", c.ID, c.Notice)
	}
}

// depth counts the messages of a class, whatever they wait for.
func (w *world) depth(class queue.Class) int64 {
	w.Helper()
	d, err := w.queue.Depth(w.Context(), class)
	w.must(err)
	return d.Waiting + d.Delayed + d.Leased
}

// gather scrapes. On a busy machine the queue may take too long for one scrape.
func (w *world) gather() (families []*dto.MetricFamily) {
	w.Helper()
	var err error
	w.until("a whole scrape", func() bool { families, err = w.registry.Gather(); return err == nil })
	return families
}

// metric returns the sum of a metric's series that have all of the labels,
// given as name=value.
func (w *world) metric(name string, labels ...string) float64 {
	w.Helper()
	families := w.gather()
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetName()+"="+l.GetValue()] = true
			}
			all := true
			for _, l := range labels {
				all = all && has[l]
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// post sends body, as it is or as JSON. It returns the status and, if the
// answer is a problem, its code.
func (w *world) post(path, token string, body, answer any) (status int, code string) {
	w.Helper()
	content, ok := body.([]byte)
	if !ok {
		var err error
		content, err = json.Marshal(body)
		w.must(err)
	}
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.server.URL+path, bytes.NewReader(content))
	w.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	content, err = io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode != http.StatusOK {
		var p api.Problem
		w.must(json.Unmarshal(content, &p))
		if p.Status != resp.StatusCode || p.Title == "" || p.Code == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
			w.Errorf("not a problem document: %d %s", resp.StatusCode, content)
		}
		return resp.StatusCode, p.Code
	}
	if answer != nil {
		w.must(json.Unmarshal(content, answer))
	}
	return resp.StatusCode, ""
}

// clock is a clock that tests can move on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// discreet shows the log when the test fails, and fails the test if the log has
// what no log may contain.
type discreet struct{ t *testing.T }

func (d *discreet) Write(p []byte) (int, error) {
	for _, secret := range []string{"X-Amz-", eventToken, "@example.org", "Bearer"} {
		if bytes.Contains(p, []byte(secret)) {
			d.t.Errorf("the log holds %s: %s", secret, p)
		}
	}
	return d.t.Output().Write(p)
}
