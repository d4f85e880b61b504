package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
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
	"tonearm/internal/mail"
	"tonearm/internal/mail/mailtest"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/queue"
	"tonearm/internal/queue/redisqueue"
)

const (
	owner = "ada+mp3@example.org"
	token = "the.download.token"
)

var linkEnds = time.Date(2026, 12, 24, 18, 30, 0, 0, time.UTC)

type fixedToken struct{}

func (fixedToken) Download(string) (string, time.Time, error) { return token, linkEnds, nil }

// world is everything around a notifier, real but for the scale.
type world struct {
	records  *faulty
	redis    *miniredis.Miniredis
	queue    *redisqueue.Queue
	outbox   queue.Outbox
	sink     *mailtest.Sink
	registry *prometheus.Registry
	log      *lockedBuffer
	options  Options
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
		registry: prometheus.NewRegistry(), log: &lockedBuffer{}}
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

// start runs a notifier with short pauses and returns how to stop it.
func (w *world) start(t *testing.T) (stop func()) {
	t.Helper()
	w.options.Registerer = prometheus.NewRegistry()
	if len(must(w.registry.Gather())) == 0 {
		w.options.Registerer = w.registry // the first one's metrics are looked at
	}
	n, err := New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	n.sendingPause, n.storePause = 20*time.Millisecond, 5*time.Millisecond
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

// done makes a conversion that is done, and publishes its notice.
func (w *world) done(t *testing.T, filename string) conversion.Conversion {
	t.Helper()
	return w.update(t, w.begin(t, filename).ID, func(c *conversion.Conversion) error {
		return c.Complete(1, "nonce", conversion.Source{}, conversion.MP3{Key: c.MP3Key(1), Size: 4_200_000, Duration: 3723.4}, policy, time.Now())
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
	eventually(t, fmt.Sprintf("notice of %s %s", id, state), func() bool {
		var err error
		c, err = w.records.ByID(t.Context(), id)
		return err == nil && c.Notice.State == state
	})
	return c
}

func (w *world) awaitEmptyQueue(t *testing.T) {
	t.Helper()
	eventually(t, "an empty queue", func() bool {
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

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// faulty is a record store that can be down, before or after it writes.
type faulty struct {
	conversion.Store
	down    atomic.Bool
	updates atomic.Int64
	before  atomic.Pointer[func(update int64) error] // asked before each update
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

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string     { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }
func (l *lockedBuffer) count(s string) int { return strings.Count(l.String(), s) }

func TestDone(t *testing.T) {
	w := newWorld(t)
	w.start(t)
	c := w.done(t, "Ferien & <Meer> \"2026\".mp4")
	c = w.await(t, c.ID, conversion.NoticeSent)
	got := mailtest.Parse(t, w.sink.Wait(t, 1)[0].Raw)
	if want := fmt.Sprintf("<%s.1.%d@tonearm.example.org>", c.ID, c.Notice.OwedSince.UnixMilli()); got.Header.Get("Message-ID") != want {
		t.Errorf("message id %s, want %s", got.Header.Get("Message-ID"), want)
	}
	if to := got.Header.Get("To"); to != "<"+owner+">" {
		t.Errorf("to %s", to)
	}
	if want := `Your MP3 is ready: Ferien & <Meer> "2026".mp4`; got.Subject != want {
		t.Errorf("subject %q, want %q", got.Subject, want)
	}
	link := "https://tonearm.example.org/download?mp3_id=" + c.MP3.ID + "&token=" + token
	for _, want := range []string{link + "\n", c.MP3.ID, `"Ferien & <Meer> "2026".mp4"`, `Ferien & <Meer> "2026".mp3`, "1:02:03", "4.2 MB", "Thursday, 24 December 2026, 18:30 UTC"} {
		if !strings.Contains(got.Text, want) {
			t.Errorf("%q is missing in\n%s", want, got.Text)
		}
	}
	for _, want := range []string{`href="` + strings.ReplaceAll(link, "&", "&amp;") + `"`, c.MP3.ID, "Ferien &amp; &lt;Meer&gt;", "1:02:03", "4.2 MB", "24 December 2026"} {
		if !strings.Contains(got.HTML, want) {
			t.Errorf("%q is missing in\n%s", want, got.HTML)
		}
	}
	w.awaitEmptyQueue(t)
	if c.Notice.Tries != 1 || c.Notice.SentAt.IsZero() || len(c.Outbox) != 0 || w.count(t, outcomeSent) != 1 {
		t.Errorf("notice %+v, outbox %v", c.Notice, c.Outbox)
	}
}

func TestFailed(t *testing.T) {
	w := newWorld(t)
	w.start(t)
	noAudio := w.failed(t, "silent.mp4\r\nBcc: eve@example.org", conversion.Failure{Code: conversion.CodeNoAudio, Message: "The file has no sound track."})
	w.await(t, noAudio.ID, conversion.NoticeSent)
	crashed := w.failed(t, strings.Repeat("lang", 100)+".mov", conversion.Failure{Code: conversion.CodeCrashed, Message: "The conversion crashed."})
	w.await(t, crashed.ID, conversion.NoticeSent)
	mails := w.sink.Wait(t, 2)
	first, second := mailtest.Parse(t, mails[0].Raw), mailtest.Parse(t, mails[1].Raw)
	if first.Subject != "Could not be converted: silent.mp4  Bcc: eve@example.org" || first.Header.Get("Bcc") != "" {
		t.Errorf("subject %q", first.Subject)
	}
	for _, want := range []string{"The file has no sound track.", "no_audio", noAudio.ID, "There is nothing to convert in it."} {
		if !strings.Contains(first.Text, want) || !strings.Contains(first.HTML, want) {
			t.Errorf("%q is missing in\n%s\n%s", want, first.Text, first.HTML)
		}
	}
	if strings.Contains(first.Text+first.HTML+second.Text+second.HTML, "token") {
		t.Error("a link to an MP3 that is not")
	}
	if n := len([]rune(second.Subject)); n > 110 {
		t.Errorf("a subject of %d characters", n)
	}
	if want := "https://tonearm.example.org/v1/conversions/" + crashed.ID + "/retry"; !strings.Contains(second.Text, want) || !strings.Contains(second.HTML, want) {
		t.Errorf("%q is missing in\n%s", want, second.Text)
	}
}

func TestLengthsAndSizes(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0:00", 0.2: "0:00", 59.6: "1:00", 61: "1:01", 3599.4: "59:59", 3600: "1:00:00", 36061: "10:01:01"} {
		if got := length(seconds); got != want {
			t.Errorf("%v s: %s, want %s", seconds, got, want)
		}
	}
	for bytes, want := range map[int64]string{0: "0.0 kB", 1234: "1.2 kB", 4_200_000: "4.2 MB", 1_500_000_000: "1.5 GB"} {
		if got := size(bytes); got != want {
			t.Errorf("%d bytes: %s, want %s", bytes, got, want)
		}
	}
}

// Several notifiers, messages published over and over: one mail each.
func TestDuplicates(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.start(t)
	}
	var all []conversion.Conversion
	for i := range 10 {
		c := w.done(t, fmt.Sprintf("video %d.mp4", i))
		all = append(all, c)
		for range 3 {
			if err := w.queue.Publish(t.Context(), queue.MessageOf(c, conversion.Message{Kind: conversion.Notify, Attempt: 1}), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range all {
		w.await(t, c.ID, conversion.NoticeSent)
		if err := w.queue.Publish(t.Context(), queue.MessageOf(c, conversion.Message{Kind: conversion.Notify, Attempt: 1}), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	// Messages about what is not there, or not owed.
	for _, m := range []queue.Message{
		{Class: queue.Notice, Owner: "ada", ConversionID: "nobody's", Attempt: 1, Kind: conversion.Notify},
		{Class: queue.Notice, Owner: "ada", ConversionID: all[0].ID, Attempt: 7, Kind: conversion.Notify},
		{Class: queue.Notice, Owner: "ada", ConversionID: w.begin(t, "running.mp4").ID, Attempt: 1, Kind: conversion.Notify},
	} {
		if err := w.queue.Publish(t.Context(), m, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != len(all) {
		t.Errorf("%d mails for %d conversions", got, len(all))
	}
}

func TestRefusals(t *testing.T) {
	t.Run("for later", func(t *testing.T) {
		w := newWorld(t)
		var tries atomic.Int64
		w.sink.OnRcpt(func(string) error {
			if tries.Add(1) <= 3 {
				return mailtest.Later
			}
			return nil
		})
		w.start(t)
		c := w.await(t, w.done(t, "a.mp4").ID, conversion.NoticeSent)
		w.awaitEmptyQueue(t)
		if c.Notice.Tries != 4 || len(w.sink.Mails()) != 1 || w.count(t, outcomeDelayed) != 3 || w.count(t, outcomeSent) != 1 {
			t.Errorf("notice %+v, %d mails", c.Notice, len(w.sink.Mails()))
		}
	})
	t.Run("for good", func(t *testing.T) {
		w := newWorld(t)
		w.sink.OnRcpt(func(string) error { return mailtest.Refused })
		w.start(t)
		c := w.await(t, w.done(t, "a.mp4").ID, conversion.NoticeRefused)
		w.awaitEmptyQueue(t)
		if c.Notice.Tries != 1 || !strings.Contains(c.Notice.Reason, "no such user") || w.count(t, outcomeRefused) != 1 {
			t.Errorf("notice %+v", c.Notice)
		}
	})
	t.Run("for too long", func(t *testing.T) {
		w := newWorld(t)
		w.sink.OnRcpt(func(string) error { return mailtest.Later })
		w.options.Now = func() time.Time { return time.Now().Add(5*24*time.Hour + time.Minute) }
		w.start(t)
		if c := w.await(t, w.done(t, "a.mp4").ID, conversion.NoticeRefused); c.Notice.Tries != 1 {
			t.Errorf("notice %+v", c.Notice)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		w := newWorld(t)
		var tries atomic.Int64
		w.sink.OnData(func(mailtest.Received) error {
			if tries.Add(1) == 1 {
				return mailtest.ErrDrop
			}
			return nil
		})
		w.start(t)
		w.await(t, w.done(t, "a.mp4").ID, conversion.NoticeSent)
		mails := w.sink.Wait(t, 2)
		a, b := mailtest.Parse(t, mails[0].Raw).Header.Get("Message-ID"), mailtest.Parse(t, mails[1].Raw).Header.Get("Message-ID")
		if a != b || a == "" {
			t.Errorf("message ids %s and %s", a, b)
		}
	})
	t.Run("not sendable", func(t *testing.T) {
		w := newWorld(t)
		w.start(t)
		c := w.begin(t, "a.mp4")
		w.update(t, c.ID, func(c *conversion.Conversion) error {
			c.OwnerEmail = "ada@example.org, eve@example.org"
			return c.FailAttempt(1, conversion.Failure{Code: conversion.CodeEmpty}, conversion.Final, policy, time.Now())
		})
		w.await(t, c.ID, conversion.NoticeRefused)
		if w.sink.Tries() != 0 {
			t.Error("something was sent")
		}
	})
}

func TestBackoff(t *testing.T) {
	for tries, want := range map[int]time.Duration{0: 30 * time.Second, 1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 7: 32 * time.Minute, 8: time.Hour, 1000: time.Hour} {
		if got := backoff(tries, 30*time.Second, longestPause); got != want {
			t.Errorf("after %d tries: %v, want %v", tries, got, want)
		}
	}
}

// The claimant died between claim and outcome: the mail goes again, under the
// same Message-ID, once its claim has passed and not before.
func TestCrashAfterClaim(t *testing.T) {
	w := newWorld(t)
	c := w.done(t, "a.mp4")
	if _, err := w.queue.Take(t.Context(), queue.Notice, time.Millisecond, time.Second); err != nil { // dies with it
		t.Fatal(err)
	}
	claimed := w.update(t, c.ID, func(c *conversion.Conversion) error { return c.ClaimNotice(1, 300*time.Millisecond, time.Now()) })
	w.start(t)
	c = w.await(t, c.ID, conversion.NoticeSent)
	if c.Notice.Tries != 2 || c.Notice.SentAt.Before(claimed.Notice.ClaimedUntil) || w.sink.Tries() != 1 {
		t.Errorf("notice %+v under a claim until %v, %d mails", c.Notice, claimed.Notice.ClaimedUntil, w.sink.Tries())
	}
	w.awaitEmptyQueue(t)
}

// A live claimant is left alone, however often the message comes.
func TestClaimedByAnother(t *testing.T) {
	w := newWorld(t)
	c := w.done(t, "a.mp4")
	w.update(t, c.ID, func(c *conversion.Conversion) error { return c.ClaimNotice(1, 10*time.Minute, time.Now()) })
	w.start(t)
	eventually(t, "the message to be put off", func() bool {
		depth, err := w.queue.Depth(t.Context(), queue.Notice)
		return err == nil && depth == queue.Depth{Delayed: 1}
	})
	if w.sink.Tries() != 0 {
		t.Error("a mail went out under another's claim")
	}
}

// The store goes down while a mail is under way: the outcome is written when
// it is back, and no second mail goes out.
func TestRecordsDownAfterSending(t *testing.T) {
	w := newWorld(t)
	w.sink.OnData(func(mailtest.Received) error { w.records.down.Store(true); return nil })
	w.start(t)
	c := w.done(t, "a.mp4")
	w.sink.Wait(t, 1)
	before := w.records.updates.Load()
	eventually(t, "the store to be asked again", func() bool { return w.records.updates.Load() > before+5 })
	w.records.down.Store(false)
	w.await(t, c.ID, conversion.NoticeSent)
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != 1 {
		t.Errorf("%d mails", got)
	}
	if gone, back := w.log.count("neighbour cannot be used"), w.log.count("neighbour is back"); gone != 1 || back != 1 {
		t.Errorf("told %d times that the store is gone and %d that it is back:\n%s", gone, back, w.log)
	}
}

// The store is down for a while: one line in the log, and then every mail.
func TestRecordsDown(t *testing.T) {
	w := newWorld(t)
	var all []conversion.Conversion
	for i := range 5 {
		all = append(all, w.done(t, fmt.Sprintf("%d.mp4", i)))
	}
	w.records.down.Store(true)
	w.start(t)
	eventually(t, "every worker to have asked", func() bool { return w.records.updates.Load() >= 4 })
	w.records.down.Store(false)
	for _, c := range all {
		w.await(t, c.ID, conversion.NoticeSent)
	}
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != len(all) {
		t.Errorf("%d mails for %d conversions", got, len(all))
	}
	if gone := w.log.count("neighbour cannot be used"); gone != 1 {
		t.Errorf("told %d times that the store is gone:\n%s", gone, w.log)
	}
}

// The queue goes away in the middle and comes back empty; the records are
// published again, as the dispatcher does.
func TestQueueWiped(t *testing.T) {
	w := newWorld(t)
	first := w.done(t, "first.mp4")
	w.sink.OnData(func(mailtest.Received) error { w.redis.Close(); return nil })
	w.start(t)
	w.await(t, first.ID, conversion.NoticeSent) // though nothing could be acknowledged
	eventually(t, "the queue to be missed", func() bool { return w.log.count(`"neighbour":"queue"`) > 0 })
	w.sink.OnData(func(mailtest.Received) error { return nil })
	second := w.done(t, "second.mp4") // published to nobody
	w.redis.FlushAll()
	if err := w.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything owed to be published", func() bool {
		owed := 0
		for _, c := range []conversion.Conversion{first, second} {
			c = w.update(t, c.ID, func(c *conversion.Conversion) error { return c.Republish(time.Now()) })
			if c, err := w.records.ByID(t.Context(), c.ID); err != nil || len(c.Outbox) > 0 {
				owed++
			}
		}
		return owed == 0
	})
	w.await(t, second.ID, conversion.NoticeSent)
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != 2 {
		t.Errorf("%d mails, want 2", got)
	}
}

// The mail server is away for a while.
func TestMailServerDown(t *testing.T) {
	w := newWorld(t)
	up := w.options.Sender
	switching := &switched{}
	switching.Store(&sender{up: nil})
	w.options.Sender = switching
	w.start(t)
	c := w.done(t, "a.mp4")
	eventually(t, "three tries in vain", func() bool { return w.count(t, outcomeDelayed) >= 3 })
	switching.Store(&sender{up: up})
	w.await(t, c.ID, conversion.NoticeSent)
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != 1 {
		t.Errorf("%d mails", got)
	}
}

type sender struct{ up mail.Sender }

type switched struct{ atomic.Pointer[sender] }

func (s *switched) Send(ctx context.Context, m mail.Message) error {
	if up := s.Load().up; up != nil {
		return up.Send(ctx, m)
	}
	return &mail.Error{Err: errors.New("connect: connection refused")}
}
func (s *switched) Timeout() time.Duration     { return time.Second }
func (s *switched) Ping(context.Context) error { return nil }

// A message that came too often is let go; the record owes the notice still
// and says when somebody has to look.
func TestPoison(t *testing.T) {
	w := newWorld(t)
	c := w.done(t, "a.mp4")
	for range mostDeliveries {
		d, err := w.queue.Take(t.Context(), queue.Notice, time.Minute, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.queue.Return(t.Context(), d, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.start(t)
	w.awaitEmptyQueue(t)
	got, err := w.records.ByID(t.Context(), c.ID)
	if err != nil || got.Notice.State != conversion.NoticeOwed || got.WakeAt.IsZero() || w.sink.Tries() != 0 || w.count(t, outcomePoison) != 1 {
		t.Fatalf("notice %+v, wake at %v, %v", got.Notice, got.WakeAt, err)
	}
	w.update(t, c.ID, func(c *conversion.Conversion) error { return c.Republish(time.Now()) })
	w.await(t, c.ID, conversion.NoticeSent)
}

// Told to stop while a mail is under way, the notifier finishes it first.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	sending, answer := make(chan struct{}), make(chan struct{})
	w.sink.OnData(func(mailtest.Received) error { close(sending); <-answer; return nil })
	n, err := New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	c := w.done(t, "a.mp4")
	<-sending
	cancel()
	close(answer)
	if err := <-done; err != nil {
		t.Error(err)
	}
	got, err := w.records.ByID(t.Context(), c.ID)
	if err != nil || got.Notice.State != conversion.NoticeSent {
		t.Errorf("notice %+v, %v", got.Notice, err)
	}
	depth, err := w.queue.Depth(t.Context(), queue.Notice)
	if err != nil || depth != (queue.Depth{}) {
		t.Errorf("left in the queue: %+v, %v", depth, err)
	}
}

func TestAnOutcomeThatCannotBeWrittenIsTold(t *testing.T) {
	w := newWorld(t)
	var stop func()
	stopping := make(chan struct{})
	w.sink.OnData(func(mailtest.Received) error {
		w.records.down.Store(true)
		go func() { stop(); close(stopping) }()
		return nil
	})
	stop = w.start(t)
	c := w.done(t, "a.mp4")
	<-stopping
	got, err := w.records.ByID(t.Context(), c.ID)
	if err != nil || got.Notice.State != conversion.NoticeSending || w.log.count("outcome of a mail not recorded") != 1 {
		t.Errorf("notice %+v, %v\n%s", got.Notice, err, w.log)
	}
}

func TestOptions(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*Options){
		"records": func(o *Options) { o.Records = nil }, "queue": func(o *Options) { o.Queue = nil },
		"sender": func(o *Options) { o.Sender = nil }, "tokens": func(o *Options) { o.Tokens = nil },
		"log": func(o *Options) { o.Log = nil }, "registerer": func(o *Options) { o.Registerer = nil },
		"no URL": func(o *Options) { o.PublicURL = "" }, "no host": func(o *Options) { o.PublicURL = "/x" },
		"script": func(o *Options) { o.PublicURL = "javascript:alert(1)" }, "query": func(o *Options) { o.PublicURL = "https://a.example.org/?x=1" },
		"concurrency": func(o *Options) { o.Concurrency = -1 },
	} {
		o := w.options
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	o := w.options
	o.PublicURL, o.Domain = "http://localhost:8080", "mail.example.org"
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.render(conversion.Conversion{ID: "c", State: conversion.Done, Filename: "a\xff\u202e.mp4"}, time.Now())
	if err != nil || !regexp.MustCompile(`^c\.0\.-?\d+@mail\.example\.org$`).MatchString(m.ID) || strings.ContainsAny(m.Subject, "\u202e") {
		t.Errorf("%+v, %v", m, err)
	}
}
