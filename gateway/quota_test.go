package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/quota"
	"tonearm/internal/waittest"
)

// exceeded wants a refusal with the name of the limit, and a time for a further try.
func (r reply) exceeded(limit account.Quota) {
	r.t.Helper()
	p := decode[api.Problem](r.want(429, "quota_exceeded"))
	equal(r.t, "limit", p.Limit, string(limit))
	if wait := r.header.Get("Retry-After"); wait == "" || wait == "0" {
		r.t.Errorf("Retry-After is %q", wait)
	}
}

// limited is a gateway with one limit, and a user of it.
func limitedTo(t *testing.T, l account.Limits) *user {
	t.Helper()
	return start(t, func(o *Options) { o.Quotas = l }).user("a@example.org")
}

func (u *user) begin(size int64) reply {
	u.t.Helper()
	return u.call("POST", "/v1/conversions", api.NewConversion{Filename: "a.mp4", Size: size})
}

// room waits until the user may begin another upload, and begins it.
func (u *user) room(size int64) {
	u.t.Helper()
	waittest.Until(u.t, time.Minute, "there is room for an upload", func() bool { return u.begin(size).status == 201 })
}

// used waits until the user takes this much.
func (u *user) used(q account.Quota, want int64) {
	u.t.Helper()
	waittest.Until(u.t, time.Minute, fmt.Sprintf("%d of %s are used", want, q), func() bool {
		for _, l := range decode[api.Me](u.call("GET", "/v1/me", nil).want(200)).Usage {
			if l.Name == q {
				return l.Used == want
			}
		}
		return false
	})
}

// An upload counts until it is finished, has expired, or its conversion was canceled
// or deleted.
func TestOpenUploads(t *testing.T) {
	u := limitedTo(t, account.Limits{OpenUploads: 2})
	other := u.user("b@example.org")
	for name, end := range map[string]func(id string){
		"finished": func(id string) {
			c, err := u.o.Records.ByID(t.Context(), id)
			check(t, err)
			_, err = u.o.Objects.Put(t.Context(), c.Object.Key, strings.NewReader("mp4"))
			check(t, err)
			u.call("POST", "/v1/conversions/"+id+"/complete", nil).want(200)
		},
		"expired":  func(id string) { u.advance(id, conversion.Expired) },
		"canceled": func(id string) { u.call("POST", "/v1/conversions/"+id+"/cancel", nil).want(200) },
		"deleted":  func(id string) { u.call("DELETE", "/v1/conversions/"+id, nil).want(204) },
	} {
		t.Log(name)
		open := func() []api.Conversion {
			return decode[api.Conversions](u.call("GET", "/v1/conversions?state=awaiting_upload", nil).want(200)).Conversions
		}
		for len(open()) < 2 {
			u.room(3)
		}
		u.begin(3).exceeded(account.QuotaOpenUploads)
		u.call("PUT", "/upload/a.mp4", strings.NewReader("mp4")).exceeded(account.QuotaOpenUploads)
		end(open()[0].ID)
		u.room(3)
		u.begin(3).exceeded(account.QuotaOpenUploads)
	}
	other.begin(3).want(201)
	if n := testutil.ToFloat64(u.metrics.refused.WithLabelValues(string(account.QuotaOpenUploads))); n < 12 { // and those that waited for room
		t.Errorf("%v refusals are counted", n)
	}
}

// Whoever asks again for what was begun gets it, at the limit too.
func TestRepeatedAtLimit(t *testing.T) {
	u := limitedTo(t, account.Limits{OpenUploads: 1})
	begin := func(key string) reply {
		return u.call("POST", "/v1/conversions", api.NewConversion{Filename: "a.mp4", Size: 3}, "Idempotency-Key", key)
	}
	first := decode[api.Conversion](begin("k").want(201))
	again := decode[api.Conversion](begin("k").want(200))
	equal(t, "the same conversion", again.ID, first.ID)
	if again.Upload == nil {
		t.Error("the answer does not say where to upload")
	}
	begin("l").exceeded(account.QuotaOpenUploads)
}

// Many requests at once get what there is.
func TestOpenUploadsAtOnce(t *testing.T) {
	u := limitedTo(t, account.Limits{OpenUploads: 5})
	var wg sync.WaitGroup
	answers := make(chan reply, 40)
	for range cap(answers) {
		wg.Go(func() { answers <- u.begin(3) })
	}
	wg.Wait()
	close(answers)
	made := 0
	for r := range answers {
		if r.status == 201 {
			made++
		} else {
			r.exceeded(account.QuotaOpenUploads)
		}
	}
	equal(t, "made", made, 5)
}

// Conversions that wait count until their attempt begins; a retry needs room, too.
func TestQueued(t *testing.T) {
	u := limitedTo(t, account.Limits{Queued: 2})
	failed := u.advance(u.announce(3, false).ID, conversion.Failed)
	_, err := u.o.Objects.Put(t.Context(), failed.Object.Key, strings.NewReader("mp4"))
	check(t, err)
	object, err := u.o.Objects.Head(t.Context(), failed.Object.Key)
	check(t, err)
	_, err = u.o.Records.Update(t.Context(), failed.ID, func(c *conversion.Conversion) error { c.Object.ETag = object.ETag; return nil })
	check(t, err)
	first := u.advance(u.announce(3, false).ID, conversion.Queued)
	u.advance(u.announce(3, false).ID, conversion.Queued)
	u.used(account.QuotaQueued, 2)
	u.begin(3).exceeded(account.QuotaQueued)
	u.call("POST", "/v1/conversions/"+failed.ID+"/retry", nil).exceeded(account.QuotaQueued)
	_, err = u.o.Records.Update(t.Context(), first.ID, func(c *conversion.Conversion) error {
		return c.Begin(1, conversion.DefaultPolicy, time.Now())
	})
	check(t, err)
	waittest.Until(t, time.Minute, "there is room for a retry", func() bool {
		return u.call("POST", "/v1/conversions/"+failed.ID+"/retry", nil).status == 200
	})
	u.begin(3).exceeded(account.QuotaQueued)
}

// What is stored counts with what is announced, until it is deleted.
func TestStoredBytes(t *testing.T) {
	u := limitedTo(t, account.Limits{Stored: 100})
	yesterday := conversion.Day(u.o.Now()).Add(-24 * time.Hour)
	check(t, u.o.Users.SaveUsage(t.Context(), account.Usage{UserID: u.ID, Day: yesterday, CountedAt: u.o.Now(), Use: conversion.Use{Stored: 30}}))
	a := u.advance(decode[api.Conversion](u.begin(40).want(201)).ID, conversion.Done) // and an MP3 of 3 bytes
	u.used(account.QuotaStored, 73)
	u.begin(28).exceeded(account.QuotaStored)
	u.room(27)
	u.begin(1).exceeded(account.QuotaStored)
	u.call("DELETE", "/v1/conversions/"+a.ID, nil).want(204)
	u.room(43)
	u.begin(1).exceeded(account.QuotaStored)
}

// The bytes of a day count although they are deleted, but not those that never came.
func TestDailyBytes(t *testing.T) {
	u := limitedTo(t, account.Limits{DailyBytes: 100})
	deleted := u.advance(decode[api.Conversion](u.begin(60).want(201)).ID, conversion.Done)
	u.call("DELETE", "/v1/conversions/"+deleted.ID, nil).want(204)
	u.begin(41).exceeded(account.QuotaDailyBytes)
	never := decode[api.Conversion](u.begin(40).want(201))
	u.begin(1).exceeded(account.QuotaDailyBytes)
	u.call("DELETE", "/v1/conversions/"+never.ID, nil).want(204)
	u.room(40)
	r := u.begin(1)
	r.exceeded(account.QuotaDailyBytes)
	if wait, err := time.ParseDuration(r.header.Get("Retry-After") + "s"); err != nil || wait > 24*time.Hour {
		t.Errorf("Retry-After is %v, %v", wait, err)
	}
}

func TestDailySound(t *testing.T) {
	u := limitedTo(t, account.Limits{DailySound: 6})
	for range 2 { // of 3 s each
		u.advance(u.announce(3, false).ID, conversion.Done)
	}
	u.used(account.QuotaDailySound, 6)
	u.begin(3).exceeded(account.QuotaDailySound)
}

// A body of unknown length ends where the room for it ends, and leaves nothing.
func TestUploadOfUnknownLength(t *testing.T) {
	u := limitedTo(t, account.Limits{DailyBytes: 1 << 20})
	send := func(bytes int64) reply {
		body := struct{ io.Reader }{io.LimitReader(zeros{}, bytes)} // whose length nobody can see
		return u.send("PUT", "/upload/a.mp4", body, "Authorization", "Bearer "+u.token)
	}
	send(1<<20 + 1).exceeded(account.QuotaDailyBytes)
	send(1 << 19).want(201)
	send(1<<19 + 1).exceeded(account.QuotaDailyBytes)
	left := decode[api.Conversions](u.call("GET", "/v1/conversions", nil).want(200)).Conversions
	equal(t, "conversions", len(left), 1)
}

// A request that waits counts until it is answered or its client leaves.
func TestWaiters(t *testing.T) {
	s := start(t, func(o *Options) { o.Quotas.Waiters, o.MaxWaiters = 2, 3 })
	a, b := s.user("a@example.org"), s.user("b@example.org")
	path := func(u *user) string { return "/v1/conversions/" + u.announce(3, false).ID }
	ofA, ofB := path(a), path(b)
	wait := func(u *user, path string) (end func()) {
		t.Helper()
		all, _ := s.waiters.Open("")
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+path+"?wait=60", nil)
		check(t, err)
		req.Header.Set("Authorization", "Bearer "+u.token)
		transport := &http.Transport{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, err := transport.RoundTrip(req); err == nil {
				res.Body.Close()
			}
		}()
		waittest.Until(t, time.Minute, "the request waits", func() bool { now, _ := s.waiters.Open(""); return now == all+1 })
		return func() { transport.CancelRequest(req); <-done } //nolint:staticcheck // one request of many
	}
	first := wait(a, ofA)
	wait(a, ofA)
	a.call("GET", ofA+"?wait=60", nil).exceeded(account.QuotaWaiters)
	a.call("GET", ofA, nil).want(200)
	wait(b, ofB)
	b.call("GET", ofB+"?wait=60", nil).exceeded("waiters_overall")
	first()
	waittest.Until(t, time.Minute, "a waiter has left", func() bool { return b.call("GET", ofB+"?wait=1", nil).status == 200 })
	s.advance(strings.TrimPrefix(ofA, "/v1/conversions/"), conversion.Canceled) // which ends a's waiting, at the next look
	s.advance(strings.TrimPrefix(ofB, "/v1/conversions/"), conversion.Canceled)
	waittest.Until(t, time.Minute, "nobody waits", func() bool { all, own := s.waiters.Open(a.ID); return all == 0 && own == 0 })
}

// An upload through the gateway counts until it is finished or cut off.
func TestGatewayUploads(t *testing.T) {
	s := start(t, func(o *Options) { o.Quotas.GatewayUploads, o.MaxGatewayUploads = 1, 2 })
	a, b, c := s.user("a@example.org"), s.user("b@example.org"), s.user("c@example.org")
	send := func(u *user) (body *io.PipeWriter, answered chan reply) {
		t.Helper()
		all, _ := s.uploads.Open("")
		r, w := io.Pipe()
		answered = make(chan reply, 1)
		go func() {
			answered <- u.send("PUT", "/upload/a.mp4", r, "Authorization", "Bearer "+u.token)
		}()
		_, err := w.Write([]byte("mp4"))
		check(t, err)
		waittest.Until(t, time.Minute, "the upload has begun", func() bool { now, _ := s.uploads.Open(""); return now == all+1 })
		return w, answered
	}
	ofA, answered := send(a)
	a.call("PUT", "/upload/b.mp4", strings.NewReader("mp4")).exceeded(account.QuotaGatewayUploads)
	ofB, _ := send(b)
	c.call("PUT", "/upload/c.mp4", strings.NewReader("mp4")).exceeded("gateway_uploads_overall")
	check(t, ofA.Close())
	(<-answered).want(201)
	c.call("PUT", "/upload/c.mp4", strings.NewReader("mp4")).want(201)
	_, err := ofB.Write([]byte("mp4"))
	check(t, err)
	check(t, ofB.Close())
	waittest.Until(t, time.Minute, "nothing is uploaded", func() bool { all, _ := s.uploads.Open(""); return all == 0 })
	a.call("PUT", "/upload/b.mp4", strings.NewReader("mp4")).want(201)
}

// What an operator sets for a user counts at once.
func TestOwnQuota(t *testing.T) {
	u := limitedTo(t, account.Limits{OpenUploads: 1})
	u.begin(3).want(201)
	u.begin(3).exceeded(account.QuotaOpenUploads)
	check(t, u.o.Users.SetLimits(t.Context(), u.ID, account.Limits{OpenUploads: 2}))
	u.begin(3).want(201)
	u.begin(3).exceeded(account.QuotaOpenUploads)
	check(t, u.o.Users.SetLimits(t.Context(), u.ID, account.Limits{OpenUploads: account.Unlimited}))
	u.begin(3).want(201)
}

// GET /v1/me shows each quota with what is used of it.
func TestUsage(t *testing.T) {
	u := limitedTo(t, account.Limits{OpenUploads: 5, Stored: account.Unlimited})
	u.advance(decode[api.Conversion](u.begin(40).want(201)).ID, conversion.Done)
	u.advance(decode[api.Conversion](u.begin(7).want(201)).ID, conversion.Queued)
	u.begin(9).want(201)
	want := "[{open_uploads 1 5} {queued_conversions 1 20000} {stored_bytes 59 0} {daily_bytes 56 10995116277760} {daily_sound_seconds 3 72000000} {waiters 0 256} {gateway_uploads 0 8}]"
	waittest.Until(t, time.Minute, "the usage is "+want, func() bool {
		return fmt.Sprint(decode[api.Me](u.call("GET", "/v1/me", nil).want(200)).Usage) == want
	})
}

// What another gateway admits counts here, when it is counted next.
func TestQuotaOfTwoGateways(t *testing.T) {
	u := limitedTo(t, account.Limits{OpenUploads: 3})
	o := u.o
	o.Registerer = nil
	other, err := New(o)
	check(t, err)
	u.begin(3).want(201)
	for range 2 {
		room, err := other.meter.Admit(t.Context(), u.User, quota.Ask{Uploads: 1, Bytes: 3})
		check(t, err)
		c, err := conversion.New(conversion.Params{OwnerID: u.ID, OwnerEmail: u.Email, Filename: "a.mp4", Size: 3, UploadWindow: time.Hour}, time.Now())
		check(t, err)
		check(t, o.Records.Create(t.Context(), c))
		room.Done(true)
	}
	if _, err := other.meter.Admit(t.Context(), u.User, quota.Ask{Uploads: 1, Bytes: 3}); err == nil {
		t.Error("the other gateway does not count this one's")
	}
	u.used(account.QuotaOpenUploads, 3)
	u.begin(3).exceeded(account.QuotaOpenUploads)
}
