package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"tonearm/internal/conversion"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/mail/mailtest"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/queue"
	"tonearm/internal/queue/redisqueue"
	"tonearm/internal/waittest"
)

const (
	owner = "ada+mp3@example.org"
	token = "the.download.token"
)

var linkEnds = time.Date(2026, 12, 24, 18, 30, 0, 0, time.UTC)

type fixedToken struct{}

func (fixedToken) Download(string) (string, time.Time, error) { return token, linkEnds, nil }

func (fixedToken) Unsubscribe(userID, email string) (string, error) {
	return "fewer." + userID, nil
}

// world is everything around a notifier. All of it is real, only smaller.
type world struct {
	records  *faulty
	redis    *miniredis.Miniredis
	queue    *redisqueue.Queue
	outbox   queue.Outbox
	sink     *mailtest.Sink
	registry *prometheus.Registry
	log      *logged
	options  Options
	change   func(*Notifier) // made to notifiers that are started from now on
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := sqliteconversion.Open(filepath.Join(t.TempDir(), "tonearm.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{records: &faulty{Store: store}, redis: miniredis.RunT(t), sink: mailtest.NewSink(t, mailtest.SinkOptions{}),
		registry: prometheus.NewRegistry(), log: &logged{}}
	if w.queue, err = redisqueue.Open("redis://"+w.redis.Addr(), t.Name()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.queue.Close() })
	sender, err := smtpmail.New(smtpmail.Options{Host: w.sink.Host, Port: w.sink.Port, RootCAs: w.sink.RootCAs,
		From: "Tonearm <tonearm@example.org>", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(w.log, nil))
	w.outbox = queue.Outbox{Records: store, Queue: w.queue, Log: log, Now: time.Now}
	w.options = Options{Records: w.records, Queue: w.queue, Sender: sender, Tokens: fixedToken{},
		PublicURL: "https://tonearm.example.org/", Log: log, Registerer: w.registry}
	t.Cleanup(func() {
		for _, secret := range []string{owner, token} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("%q shows in the log:\n%s", secret, w.log)
			}
		}
	})
	return w
}

// start runs a notifier with short pauses. stop ends it.
func (w *world) start(t *testing.T) (stop func()) {
	t.Helper()
	w.options.Registerer = prometheus.NewRegistry()
	if len(must(w.registry.Gather())) == 0 {
		w.options.Registerer = w.registry // tests look at the first one's metrics
	}
	n, err := New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	n.sending.Initial, n.storing.Initial = 20*time.Millisecond, 5*time.Millisecond
	n.unknown = 20 * time.Millisecond
	if w.change != nil {
		w.change(n)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

var policy = conversion.DefaultPolicy

// begin makes a conversion whose first attempt runs.
func (w *world) begin(t *testing.T, filename string) conversion.Conversion {
	t.Helper()
	now := time.Now()
	c, err := conversion.New(conversion.Params{OwnerID: "ada", OwnerEmail: owner, Filename: filename, Size: 1000, UploadWindow: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	c.Filename = filename // not cleaned, as versions before 0.2 stored it
	if err := errors.Join(
		c.Uploaded(conversion.Object{Key: c.Object.Key, ETag: "e", Version: c.ID, Size: 1000}, now),
		c.Begin(1, policy, now), c.Claim(1, "nonce", policy, now),
		w.records.Create(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) update(t *testing.T, id string, change func(*conversion.Conversion) error) conversion.Conversion {
	t.Helper()
	c, err := w.outbox.Update(t.Context(), id, change)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var notes = []conversion.Note{
	{Code: conversion.NoteGap, Message: "A pause & <more>.", At: 3671},
	{Code: conversion.NoteClipped, Message: "Too\nloud."},
}

// done makes a conversion that is done, and publishes its notice.
func (w *world) done(t *testing.T, filename string) conversion.Conversion {
	t.Helper()
	return w.update(t, w.begin(t, filename).ID, func(c *conversion.Conversion) error {
		return c.Complete(1, "nonce", conversion.Source{}, conversion.MP3{Key: c.MP3Key(1), Size: 4_200_000, Duration: 3723.4, Notes: notes}, policy, time.Now())
	})
}

func (w *world) failed(t *testing.T, filename string, f conversion.Failure) conversion.Conversion {
	t.Helper()
	return w.update(t, w.begin(t, filename).ID, func(c *conversion.Conversion) error {
		return c.FailAttempt(1, f, conversion.Final, policy, time.Now())
	})
}

// await waits until the notice of a conversion is in this state.
func (w *world) await(t *testing.T, id string, state conversion.NoticeState) conversion.Conversion {
	t.Helper()
	var c conversion.Conversion
	waittest.Until(t, patience, fmt.Sprintf("notice of %s %s", id, state), func() bool {
		var err error
		c, err = w.records.ByID(t.Context(), id)
		return err == nil && c.Notice.State == state
	})
	return c
}

func (w *world) awaitEmptyQueue(t *testing.T) {
	t.Helper()
	waittest.Until(t, patience, "an empty queue", func() bool {
		depth, err := w.queue.Depth(t.Context(), queue.Notice)
		return err == nil && depth == queue.Depth{}
	})
}

func (w *world) count(t *testing.T, outcome string) int {
	t.Helper()
	for _, family := range must(w.registry.Gather()) {
		for _, m := range family.Metric {
			if family.GetName() == "tonearm_notices_total" && m.Label[0].GetValue() == outcome {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	t.Fatalf("outcome %s is not counted", outcome)
	return 0
}

func must(families []*dto.MetricFamily, err error) []*dto.MetricFamily {
	if err != nil {
		panic(err)
	}
	return families
}

// faulty is a record store that can be down, or that can fail before an update.
type faulty struct {
	conversion.Store
	down    atomic.Bool
	updates atomic.Int64
	before  atomic.Pointer[func(update int64) error] // called before each update
}

var errDown = errors.New("the record store is down")

func (f *faulty) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	n := f.updates.Add(1)
	if f.down.Load() {
		return conversion.Conversion{}, errDown
	}
	if before := f.before.Load(); before != nil {
		if err := (*before)(n); err != nil {
			return conversion.Conversion{}, err
		}
	}
	return f.Store.Update(ctx, id, change)
}

func (f *faulty) Ping(ctx context.Context) error {
	if f.down.Load() {
		return errDown
	}
	return f.Store.Ping(ctx)
}

// patience is how long a test waits for something that must happen.
const patience = 20 * time.Second

// logged is what the notifier logs.
type logged struct{ waittest.Buffer }

func (l *logged) count(s string) int { return strings.Count(l.String(), s) }
