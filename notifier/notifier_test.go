package notifier

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/mail"
	"tonearm/internal/mail/mailtest"
	"tonearm/internal/queue"
	"tonearm/internal/waittest"
)

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
	for _, want := range []string{link + "\n", c.MP3.ID, `"Ferien & <Meer> "2026".mp4"`, `Ferien & <Meer> "2026".mp3`, "1:02:03", "4.2 MB", "Thursday, 24 December 2026, 18:30 UTC",
		"Note:    At 1:01:11: A pause & <more>. (gap)\n", "Note:    Too loud. (clipped)\n"} {
		if !strings.Contains(got.Text, want) {
			t.Errorf("%q is missing in\n%s", want, got.Text)
		}
	}
	for _, want := range []string{`href="` + strings.ReplaceAll(link, "&", "&amp;") + `"`, c.MP3.ID, "Ferien &amp; &lt;Meer&gt;", "1:02:03", "4.2 MB", "24 December 2026",
		"Note: At 1:01:11: A pause &amp; &lt;more&gt;. (gap)"} {
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
	if first.Subject != "Could not convert: silent.mp4  Bcc: eve@example.org" || first.Header.Get("Bcc") != "" {
		t.Errorf("subject %q", first.Subject)
	}
	for _, want := range []string{"The file has no sound track.", "no_audio", noAudio.ID, "There is nothing to convert."} {
		if !strings.Contains(first.Text, want) || !strings.Contains(first.HTML, want) {
			t.Errorf("%q is missing in\n%s\n%s", want, first.Text, first.HTML)
		}
	}
	if strings.Contains(first.Text+first.HTML+second.Text+second.HTML, token) {
		t.Error("a link to an MP3 that is not")
	}
	if n := len([]rune(second.Subject)); n > 110 {
		t.Errorf("a subject of %d characters", n)
	}
	if want := "https://tonearm.example.org/v1/conversions/" + crashed.ID + "/retry"; !strings.Contains(second.Text, want) || !strings.Contains(second.HTML, want) {
		t.Errorf("%q is missing in\n%s", want, second.Text)
	}
}

// TestNotifyNone: an outcome without a wanted mail owes none. If there is a
// message about it all the same, no mail is sent.
func TestNotifyNone(t *testing.T) {
	w := newWorld(t)
	quiet := w.begin(t, "quiet.mp4")
	quiet = w.update(t, quiet.ID, func(c *conversion.Conversion) error {
		c.Notify = conversion.NotifyNone
		return c.Complete(1, "nonce", conversion.Source{}, conversion.MP3{Key: c.MP3Key(1)}, policy, time.Now())
	})
	if depth, err := w.queue.Depth(t.Context(), queue.Notice); err != nil || depth != (queue.Depth{}) {
		t.Errorf("the queue holds %+v, %v", depth, err)
	}
	if err := w.queue.Publish(t.Context(), queue.MessageOf(quiet, conversion.Message{Kind: conversion.Notify, Attempt: 1}), time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	loud := w.done(t, "loud.mp4") // the only one that is mailed
	w.await(t, loud.ID, conversion.NoticeSent)
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != 1 {
		t.Errorf("%d mails", got)
	}
	if c := w.await(t, quiet.ID, conversion.NoticeNone); c.Notice != (conversion.Notice{}) {
		t.Errorf("notice %+v", c.Notice)
	}
}

// Several notifiers and repeated messages: one mail for each outcome.
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
	// Messages about conversions that do not exist, and about notices that are
	// not owed.
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
	n, err := New(newWorld(t).options)
	if err != nil {
		t.Fatal(err)
	}
	for tries, want := range map[int]time.Duration{0: 30 * time.Second, 1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 7: 32 * time.Minute, 8: time.Hour, 1000: time.Hour} {
		if got := n.sending.Pause(tries); got != want {
			t.Errorf("after %d tries: %v, want %v", tries, got, want)
		}
	}
}

// The claimant died between claim and outcome: the mail is sent again, under
// the same Message-ID, once the claim has ended and not before.
func TestCrashAfterClaim(t *testing.T) {
	w := newWorld(t)
	c := w.done(t, "a.mp4")
	if _, err := w.queue.Take(t.Context(), queue.Notice, time.Millisecond, time.Second); err != nil { // it dies with the message
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

// A claimant that lives is left alone, however often the message comes.
func TestClaimedByAnother(t *testing.T) {
	w := newWorld(t)
	c := w.done(t, "a.mp4")
	w.update(t, c.ID, func(c *conversion.Conversion) error { return c.ClaimNotice(1, 10*time.Minute, time.Now()) })
	w.start(t)
	waittest.Until(t, patience, "the message to be put off", func() bool {
		depth, err := w.queue.Depth(t.Context(), queue.Notice)
		return err == nil && depth == queue.Depth{Delayed: 1}
	})
	if w.sink.Tries() != 0 {
		t.Error("a mail went out under another's claim")
	}
}

// The store goes down while a mail is being sent: the outcome is written when
// the store is back, and no second mail is sent.
func TestRecordsDownAfterSending(t *testing.T) {
	w := newWorld(t)
	w.sink.OnData(func(mailtest.Received) error { w.records.down.Store(true); return nil })
	w.start(t)
	c := w.done(t, "a.mp4")
	w.sink.Wait(t, 1)
	before := w.records.updates.Load()
	waittest.Until(t, patience, "the store to be asked again", func() bool { return w.records.updates.Load() > before+5 })
	w.records.down.Store(false)
	w.await(t, c.ID, conversion.NoticeSent)
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != 1 {
		t.Errorf("%d mails", got)
	}
	if gone, back := w.log.count("cannot reach a service that this one needs"), w.log.count("the service is back"); gone != 1 || back != 1 {
		t.Errorf("told %d times that the store is gone and %d that it is back:\n%s", gone, back, w.log)
	}
}

// The store is down for a while: that is one line in the log, and then every
// mail is sent.
func TestRecordsDown(t *testing.T) {
	w := newWorld(t)
	var all []conversion.Conversion
	for i := range 5 {
		all = append(all, w.done(t, fmt.Sprintf("%d.mp4", i)))
	}
	w.records.down.Store(true)
	w.start(t)
	waittest.Until(t, patience, "every worker to have asked", func() bool { return w.records.updates.Load() >= 4 })
	w.records.down.Store(false)
	for _, c := range all {
		w.await(t, c.ID, conversion.NoticeSent)
	}
	w.awaitEmptyQueue(t)
	if got := w.sink.Tries(); got != len(all) {
		t.Errorf("%d mails for %d conversions", got, len(all))
	}
	if gone := w.log.count("cannot reach a service that this one needs"); gone != 1 {
		t.Errorf("told %d times that the store is gone:\n%s", gone, w.log)
	}
}

// The queue goes down in the middle and comes back empty. The test publishes
// the records again, as the dispatcher does.
func TestQueueWiped(t *testing.T) {
	w := newWorld(t)
	first := w.done(t, "first.mp4")
	w.sink.OnData(func(mailtest.Received) error { w.redis.Close(); return nil })
	w.start(t)
	w.await(t, first.ID, conversion.NoticeSent) // although nothing could be acknowledged
	waittest.Until(t, patience, "the queue to be missed", func() bool { return w.log.count(`"neighbour":"queue"`) > 0 })
	w.sink.OnData(func(mailtest.Received) error { return nil })
	second := w.done(t, "second.mp4") // its message is lost
	w.redis.FlushAll()
	if err := w.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, patience, "everything owed to be published", func() bool {
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

// The mail server is down for a while.
func TestMailServerDown(t *testing.T) {
	w := newWorld(t)
	up := w.options.Sender
	switching := &switched{}
	switching.Store(&sender{up: nil})
	w.options.Sender = switching
	w.start(t)
	c := w.done(t, "a.mp4")
	waittest.Until(t, patience, "three tries in vain", func() bool { return w.count(t, outcomeDelayed) >= 3 })
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

// A message that was delivered too often is dropped. The record still owes the
// notice, and says when somebody has to look.
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

// If the notifier is stopped while a mail is being sent, it finishes that mail
// first.
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
	if err != nil || got.Notice.State != conversion.NoticeSending || w.log.count("could not record what became of a mail") != 1 {
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
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "register metrics") {
		t.Errorf("a second notifier with the registerer of the first: %v", err)
	}
	m, err := n.render(conversion.Conversion{ID: "c", State: conversion.Done, Filename: "a\xff\u202e.mp4"}, time.Now())
	if err != nil || !regexp.MustCompile(`^c\.0\.-?\d+@mail\.example\.org$`).MatchString(m.ID) || strings.ContainsAny(m.Subject, "\u202e") {
		t.Errorf("%+v, %v", m, err)
	}
}
