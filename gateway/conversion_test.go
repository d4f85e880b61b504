package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
	"tonearm/internal/queue/redisqueue"
)

func TestBadRequests(t *testing.T) {
	s := start(t, func(o *Options) { o.MaxUploadBytes = 1000 })
	u, small := s.user("a@example.org"), s.user("b@example.org", 10)
	single, parts := u.announce(3, false).ID, u.announce(3, true).ID
	key := strings.Repeat("k", 256)
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, location           string
	}{
		{"empty file", "POST", "/v1/conversions", `{"filename":"a","size":0}`, nil, 422, "empty_source", "body.size"},
		{"negative size", "POST", "/v1/conversions", `{"filename":"a","size":-1}`, nil, 422, "invalid_request", "body.size"},
		{"fraction", "POST", "/v1/conversions", `{"filename":"a","size":1.5}`, nil, 422, "invalid_request", "body.size"},
		{"huge size", "POST", "/v1/conversions", `{"filename":"a","size":1e30}`, nil, 422, "invalid_request", "body.size"},
		{"no size", "POST", "/v1/conversions", `{"filename":"a"}`, nil, 422, "invalid_request", "body"},
		{"no name", "POST", "/v1/conversions", `{"size":1}`, nil, 422, "invalid_request", "body"},
		{"empty name", "POST", "/v1/conversions", `{"filename":"","size":1}`, nil, 422, "invalid_request", "body.filename"},
		{"blank name", "POST", "/v1/conversions", `{"filename":" ","size":1}`, nil, 422, "invalid_request", "body.filename"},
		{"escape in name", "POST", "/v1/conversions", `{"filename":"a\u001b[2Jb","size":1}`, nil, 422, "invalid_request", "body.filename"},
		{"C1 in name", "POST", "/v1/conversions", `{"filename":"a\u009bb","size":1}`, nil, 422, "invalid_request", "body.filename"},
		{"line separator in name", "POST", "/v1/conversions", `{"filename":"a\u2028b","size":1}`, nil, 422, "invalid_request", "body.filename"},
		{"control in name", "POST", "/v1/conversions", `{"filename":"a\u0000b","size":1}`, nil, 422, "invalid_request", "body.filename"},
		{"long name", "POST", "/v1/conversions", `{"filename":"` + strings.Repeat("n", 1025) + `","size":1}`, nil, 422, "invalid_request", "body.filename"},
		{"too large", "POST", "/v1/conversions", `{"filename":"a","size":1001}`, nil, 413, "too_large", ""},
		{"bit rate", "POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"bitrate_kbps":100}}`, nil, 422, "invalid_options", "body.options.bitrate_kbps"},
		{"quality", "POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"vbr_quality":10}}`, nil, 422, "invalid_options", "body.options.vbr_quality"},
		{"both", "POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"vbr_quality":1,"bitrate_kbps":128}}`, nil, 422, "invalid_options", "body.options.bitrate_kbps"},
		{"type of option", "POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"channels":"two"}}`, nil, 422, "invalid_options", "body.options.channels"},
		{"unknown option", "POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"loud":1}}`, nil, 422, "invalid_options", "body.options.loud"},
		{"track", "POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"track":"-1"}}`, nil, 422, "invalid_options", "body.options.track"},
		{"unknown field", "POST", "/v1/conversions", `{"filename":"a","size":1,"owner_id":"x"}`, nil, 422, "invalid_request", "body.owner_id"},
		{"small original", "POST", "/v1/conversions", `{"filename":"a","size":9,"sent":{"what":"sound","original_size":8}}`, nil, 422, "invalid_request", "body.sent.original_size"},
		{"sent otherwise", "POST", "/v1/conversions", `{"filename":"a","size":9,"sent":{"what":"half","original_size":80}}`, nil, 422, "invalid_request", "body.sent.what"},
		{"sent of what", "POST", "/v1/conversions", `{"filename":"a","size":9,"sent":{"what":"sound"}}`, nil, 422, "invalid_request", "body.sent"},
		{"two values", "POST", "/v1/conversions", `{"filename":"a","size":1}1`, nil, 400, "invalid_request", "body"},
		{"a name twice", "POST", "/v1/conversions", `{"filename":"a","size":1,"size":2}`, nil, 400, "invalid_request", "body"},
		{"a name twice, in another case", "POST", "/v1/conversions", `{"filename":"a","size":1,"SIZE":2}`, nil, 400, "invalid_request", "body"},
		{"an option twice", "POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"bitrate_kbps":128,"bitrate_kbps":64}}`, nil, 400, "invalid_request", "body"},
		{"a password twice", "POST", "/v1/session", `{"email":"a@example.org","password":"x","password":"y"}`, nil, 400, "invalid_request", "body"},
		{"broken", "POST", "/v1/conversions", `{"filename":`, nil, 400, "invalid_request", "body"},
		{"long body", "POST", "/v1/conversions", `{"filename":"` + strings.Repeat("n", 64<<10) + `"}`, nil, 413, "body_too_large", ""},
		{"a form", "POST", "/v1/conversions", `a=b`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", ""},
		{"long key", "POST", "/v1/conversions", `{"filename":"a","size":1}`, []string{"Idempotency-Key", key}, 422, "invalid_request", "header.Idempotency-Key"},
		{"odd key", "POST", "/v1/conversions", `{"filename":"a","size":1}`, []string{"Idempotency-Key", "\xff"}, 422, "invalid_request", "header.Idempotency-Key"},
		{"cursor", "GET", "/v1/conversions?cursor=eA", "", nil, 422, "invalid_request", "query.cursor"},
		{"cursor in clear", "GET", "/v1/mp3s?cursor=%25", "", nil, 422, "invalid_request", "query.cursor"},
		{"limit", "GET", "/v1/conversions?limit=201", "", nil, 422, "invalid_request", "query.limit"},
		{"no limit", "GET", "/v1/conversions?limit=0", "", nil, 422, "invalid_request", "query.limit"},
		{"state", "GET", "/v1/conversions?state=deleted", "", nil, 422, "invalid_request", "query.state[0]"},
		{"wait", "GET", "/v1/conversions/" + single + "?wait=61", "", nil, 422, "invalid_request", "query.wait"},
		{"no number", "GET", "/v1/conversions/" + single + "?wait=x", "", nil, 422, "invalid_request", "query.wait"},
		{"part of a single PUT", "POST", "/v1/conversions/" + single + "/parts", `{"numbers":[1]}`, nil, 422, "invalid_request", "body.numbers"},
		{"part 0", "POST", "/v1/conversions/" + parts + "/parts", `{"numbers":[0]}`, nil, 422, "invalid_request", "body.numbers"},
		{"part 2 of 1", "POST", "/v1/conversions/" + parts + "/parts", `{"numbers":[1,2]}`, nil, 422, "invalid_request", "body.numbers"},
		{"many parts", "POST", "/v1/conversions/" + parts + "/parts", `{"numbers":[1` + strings.Repeat(",1", 1000) + `]}`, nil, 422, "invalid_request", "body.numbers"},
		{"nothing uploaded", "POST", "/v1/conversions/" + single + "/complete", "", nil, 409, "upload_incomplete", ""},
		{"no part uploaded", "POST", "/v1/conversions/" + parts + "/complete", "", nil, 409, "upload_incomplete", "parts"},
		{"retry while waiting", "POST", "/v1/conversions/" + single + "/retry", "", nil, 409, "conflict", ""},
		{"unknown path", "GET", "/v2/conversions", "", nil, 404, "no_such_path", ""},
		{"unknown page", "GET", "/docs/nothing", "", nil, 404, "no_such_path", ""},
		{"wrong method", "PUT", "/v1/conversions", "", nil, 405, "method_not_allowed", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := u.call(tt.method, tt.path, tt.body, tt.header...)
			r.t = t
			r.want(tt.status, tt.code)
			fields := decode[api.Problem](r).Errors
			if got := append(fields, api.Field{})[0].Location; got != tt.location {
				t.Errorf("got location %q, want %q: %s", got, tt.location, r.body)
			}
		})
	}
	small.call("POST", "/v1/conversions", `{"filename":"a","size":11}`).want(413, "too_large")
	generous := s.user("c@example.org", 2000)
	generous.call("POST", "/v1/conversions", `{"filename":"a","size":2000}`).want(201)
	equal(t, "conversions left by bad requests", len(s.everything(u)), 2)
}

// TestSinglePut sends a video in the shortest way.
func TestSinglePut(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	r := u.call("POST", "/v1/conversions", `{"filename":"a <b>&.mp4","size":5,"options":{"bitrate_kbps":128}}`).want(201)
	c := decode[api.Conversion](r)
	equal(t, "Location", r.header.Get("Location"), "/v1/conversions/"+c.ID)
	equal(t, "state", c.State, conversion.AwaitingUpload)
	equal(t, "options", c.Options.BitrateKbps, 128)
	equal(t, "method", c.Upload.Method, "PUT")
	equal(t, "precondition", c.Upload.Headers["If-None-Match"], "*")
	if c.MP3 != nil || c.ExpiresAt == nil || c.FinishedAt != nil || c.Upload.ExpiresAt.Before(time.Now()) {
		t.Errorf("answer is %s", r.body)
	}
	fresh := decode[api.Upload](u.call("POST", "/v1/conversions/"+c.ID+"/parts", nil).want(200))
	put(t, fresh.Method, fresh.URL, fresh.Headers, "video")

	for range 2 {
		got := decode[api.Conversion](u.call("POST", "/v1/conversions/"+c.ID+"/complete", nil).want(200))
		equal(t, "state after complete", got.State, conversion.Queued)
		equal(t, "size", got.Size, 5)
	}
	m, err := s.o.Queue.Take(t.Context(), queue.CPU, time.Minute, time.Second)
	check(t, err)
	m.Since = time.Time{}
	equal(t, "message", m.Message, queue.Message{Class: queue.CPU, Owner: u.ID, ConversionID: c.ID, Attempt: 1, Kind: conversion.Work, Size: 5})
	u.call("POST", "/v1/conversions/"+c.ID+"/parts", nil).want(409, "conflict")

	// A video of another size than announced fails; its owner sees that and can
	// retry.
	d := u.announce(5, false)
	record, err := s.o.Records.ByID(t.Context(), d.ID)
	check(t, err)
	_, err = s.o.Objects.Put(t.Context(), record.Object.Key, strings.NewReader("short"[:2]))
	check(t, err)
	got := decode[api.Conversion](u.call("POST", "/v1/conversions/"+d.ID+"/complete", nil).want(200))
	equal(t, "state of another size", got.State, conversion.Failed)
	equal(t, "code of another size", got.Error.Code, conversion.CodeSizeMismatch)
	got = decode[api.Conversion](u.call("POST", "/v1/conversions/"+d.ID+"/retry", nil).want(200))
	equal(t, "state after retry", got.State, conversion.AwaitingUpload)
	fresh = decode[api.Upload](u.call("POST", "/v1/conversions/"+d.ID+"/parts", nil).want(200))
	put(t, fresh.Method, fresh.URL, fresh.Headers, "right")
	got = decode[api.Conversion](u.call("POST", "/v1/conversions/"+d.ID+"/complete", nil).want(200))
	equal(t, "state in the end", got.State, conversion.Queued)
}

func TestIdempotency(t *testing.T) {
	s := start(t)
	a, b := s.user("a@example.org"), s.user("b@example.org")
	const body = `{"filename":"a","size":3}`
	create := func(u *user, body string) reply {
		return u.call("POST", "/v1/conversions", body, "Idempotency-Key", "k é")
	}
	first := decode[api.Conversion](create(a, body).want(201))
	same := decode[api.Conversion](create(a, ` {"size":3, "filename":"a", "options":{}, "parts":false}`).want(200))
	equal(t, "same request", same.ID, first.ID)
	if same.Upload == nil || same.Upload.URL == "" {
		t.Error("the same request gets no fresh URL")
	}
	for _, other := range []string{`{"filename":"b","size":3}`, `{"filename":"a","size":4}`, `{"filename":"a","size":3,"parts":true}`,
		`{"filename":"a","size":3,"options":{"channels":1}}`} {
		create(a, other).want(422, "idempotency_mismatch")
	}
	if got := decode[api.Conversion](create(b, body).want(201)); got.ID == first.ID {
		t.Error("two users share a key")
	}
	put(t, "PUT", same.Upload.URL, same.Upload.Headers, "abc")
	a.call("POST", "/v1/conversions/"+first.ID+"/complete", nil).want(200)
	if got := decode[api.Conversion](create(a, body).want(200)); got.Upload != nil || got.State != conversion.Queued {
		t.Errorf("after the upload: %+v", got)
	}
	a.call("DELETE", "/v1/conversions/"+first.ID, nil).want(204)
	if got := decode[api.Conversion](create(a, body).want(201)); got.ID == first.ID {
		t.Error("a deleted conversion keeps its key")
	}
}

// TestSent: what a client says of a video that it does not send whole is kept, and
// limits count what it sends.
func TestSent(t *testing.T) {
	s := start(t, func(o *Options) { o.MaxUploadBytes = 1000 })
	u := s.user("a@example.org")
	create := func(original int) reply {
		body := fmt.Sprintf(`{"filename":"a.mp4","size":3,"sent":{"what":"sound","original_size":%d}}`, original)
		return u.call("POST", "/v1/conversions", body, "Idempotency-Key", "k")
	}
	first := decode[api.Conversion](create(5000).want(201))
	create(5001).want(422, "idempotency_mismatch")
	create(5000).want(200)
	put(t, "PUT", first.Upload.URL, first.Upload.Headers, "abc")
	u.call("POST", "/v1/conversions/"+first.ID+"/complete", nil).want(200)
	got := decode[api.Conversion](u.call("GET", "/v1/conversions/"+first.ID, nil).want(200))
	if want := (conversion.Sent{What: conversion.SentSound, OriginalSize: 5000}); got.Sent == nil || *got.Sent != want || got.Size != 3 {
		t.Errorf("got %+v of %d bytes, want %+v", got.Sent, got.Size, want)
	}
	if whole := u.announce(3, false); whole.Sent != nil {
		t.Errorf("a whole video has %+v", whole.Sent)
	}
}

// TestRequestHash fixes hashes that stored records contain.
func TestRequestHash(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for body, want := range map[string]string{
		`{"filename":"a","size":3}`:                                "df4ba2c0107c59da160ded4c59186986fe9287f645560cbcf03b0d2ca1814bb3",
		`{"filename":"a","size":3,"options":{}}`:                   "df4ba2c0107c59da160ded4c59186986fe9287f645560cbcf03b0d2ca1814bb3",
		`{"filename":"a","size":3,"options":null}`:                 "df4ba2c0107c59da160ded4c59186986fe9287f645560cbcf03b0d2ca1814bb3",
		`{"filename":"a","size":3,"notify":"email"}`:               "23d76b33c11d7b9cbc7c31183febd2baefa32c41ec09030a41137476e0c9c6e8",
		`{"filename":"a","size":3,"options":{"preset":"podcast"}}`: "7f45e8c1e0bd354ab4c6dbf0f1fe19687f2db2121a8ef1793103bd9ce1913e33",
		`{"filename":"a","size":3,"options":{"vbr_quality":2}}`:    "223f2a6ce2db05c1616d5fbba4b1e1a73e09a29f6d41f4b9888d8279c4aa22dd",
		`{"filename":"a","size":3,"options":{"cover":12.50}}`:      "aac47aef1b6c1fde4049957d8ce9ed75f58f0f274a86559ec5f45434afe27fc1",
		`{"filename":"Ünder <way>.mp4","size":3,"parts":true,"notify":"none","options":{"preset":"voice","bitrate_kbps":128,` +
			`"sample_rate_hz":44100,"channels":2,"track":"pt-BR","start":0.1,"end":1000000,"loudness":{"target_lufs":-16,"true_peak_db":-1.5},` +
			`"tags":{"title":"t","artist":"a","album":"b","date":"2026","genre":"g","comment":"c\nd","track":"3/12"},` +
			`"cover":"12.5","chapters":"drop","copy":"never"}}`: "fd6f9e8177aea0921aa56144ddfae5689522f5feb1e5e9ada0020b5ce033ba6c",
	} {
		id := decode[api.Conversion](u.call("POST", "/v1/conversions", body).want(201)).ID
		c, err := s.o.Records.ByID(t.Context(), id)
		check(t, err)
		equal(t, body, c.RequestHash, want)
	}
}

// TestIdempotencyRace sends one request many times at once.
func TestIdempotencyRace(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for _, parts := range []string{"false", "true"} {
		replies := make([]reply, 12)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() {
				replies[i] = u.call("POST", "/v1/conversions", `{"filename":"a","size":3,"parts":`+parts+`}`, "Idempotency-Key", "race "+parts)
			})
		}
		wg.Wait()
		created, ids := 0, map[string]bool{}
		for _, r := range replies {
			c := decode[api.Conversion](r)
			ids[c.ID] = true
			if r.status == 201 {
				created++
			} else {
				r.want(200)
			}
			url := c.Upload.URL
			if parts == "true" {
				url = c.Upload.Parts[0].URL
			}
			if url == "" {
				t.Errorf("no URL in %s", r.body)
			}
		}
		if created != 1 || len(ids) != 1 {
			t.Errorf("parts %s: %d created, ids %v", parts, created, ids)
		}
	}
	equal(t, "conversions", len(s.everything(u)), 2)
}

func TestList(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	var want []string
	for i := range 7 {
		c := u.announce(3, false)
		s.advance(c.ID, conversion.States[i])
		want = append([]string{c.ID}, want...)
	}
	s.advance(u.announce(3, false).ID, conversion.Deleted)
	var got []string
	pages := 0
	for path := "/v1/conversions?limit=3"; path != ""; pages++ {
		page := decode[api.Conversions](u.call("GET", path, nil).want(200))
		for _, c := range page.Conversions {
			got = append(got, c.ID)
		}
		path = ""
		if page.Next != "" {
			path = "/v1/conversions?limit=3&cursor=" + page.Next
		}
	}
	if !reflect.DeepEqual(got, want) || pages != 3 {
		t.Errorf("got %d pages %v, want %v", pages, got, want)
	}
	some := decode[api.Conversions](u.call("GET", "/v1/conversions?state=done,failed", nil).want(200)).Conversions
	if len(some) != 2 || some[0].State != conversion.Failed || some[1].State != conversion.Done {
		t.Errorf("done and failed: %+v", some)
	}
	if some[1].MP3 == nil || some[1].Source == nil || some[0].Error == nil || some[0].MP3 != nil {
		t.Errorf("done shows no result, or failed no error: %+v", some)
	}
	mp3s := decode[api.MP3s](u.call("GET", "/v1/mp3s", nil).want(200)).MP3s
	if len(mp3s) != 1 || !reflect.DeepEqual(mp3s[0], *some[1].MP3) && mp3s[0].ID != some[1].MP3.ID || mp3s[0].Name != "Ünder way.mp3" {
		t.Errorf("MP3s: %+v", mp3s)
	}
	empty := s.user("b@example.org")
	equal(t, "an empty list", strings.TrimSpace(string(empty.call("GET", "/v1/conversions", nil).want(200).body)), `{"conversions":[]}`)
	equal(t, "no MP3s", strings.TrimSpace(string(empty.call("GET", "/v1/mp3s", nil).want(200).body)), `{"mp3s":[]}`)
}

// TestTransitions tries cancel, retry and delete in every state.
func TestTransitions(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for _, tt := range []struct {
		from                  conversion.State
		cancel, retry, remove string
	}{
		{conversion.AwaitingUpload, "200 canceled", "409 conflict", "204 "},
		{conversion.Queued, "200 canceled", "409 conflict", "204 "},
		{conversion.Running, "200 canceled", "409 conflict", "204 "},
		{conversion.Done, "409 conflict", "409 conflict", "204 "},
		{conversion.Failed, "409 conflict", "200 queued", "204 "},
		{conversion.Canceled, "200 canceled", "200 awaiting_upload", "204 "},
		{conversion.Expired, "409 conflict", "200 awaiting_upload", "204 "},
		{conversion.Deleted, "404 not_found", "404 not_found", "404 not_found"},
	} {
		for action, want := range map[string]string{"cancel": tt.cancel, "retry": tt.retry, "": tt.remove} {
			c := s.advance(u.announce(3, false).ID, tt.from)
			if c.Object.ETag != "" {
				o, err := s.o.Objects.Put(t.Context(), c.Object.Key, strings.NewReader("abc"))
				check(t, err)
				_, err = s.o.Records.Update(t.Context(), c.ID, func(c *conversion.Conversion) error {
					c.Object = o.Record()
					return nil
				})
				check(t, err)
			}
			method, path := "POST", "/v1/conversions/"+c.ID+"/"+action
			if action == "" {
				method, path = "DELETE", "/v1/conversions/"+c.ID
			}
			r := u.call(method, path, nil)
			var body struct{ State, Code string }
			if len(r.body) > 0 {
				check(t, json.Unmarshal(r.body, &body))
			}
			if got := fmt.Sprint(r.status, " ", body.State+body.Code); got != want {
				t.Errorf("%q from %s: got %s, want %s", action, tt.from, got, want)
			}
		}
	}
}

// A record of a newer format is shown and listed, and cannot be changed. The
// log says so once.
func TestNewerFormat(t *testing.T) {
	var log lines
	s := start(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	u := s.user("a@example.org")
	c := s.advance(u.announce(3, false).ID, conversion.Queued)
	_, err := s.o.Records.Update(t.Context(), c.ID, func(c *conversion.Conversion) error {
		c.Format = conversion.Format + 1
		return nil
	})
	check(t, err)
	path := "/v1/conversions/" + c.ID
	u.call("POST", path+"/cancel", nil).want(409, "newer_format")
	u.call("POST", path+"/retry", nil).want(409, "newer_format")
	u.call("DELETE", path, nil).want(409, "newer_format")
	s.user("b@example.org").call("DELETE", path, nil).want(404, "not_found")
	u.call("GET", path, nil).want(200)
	if r := u.call("GET", "/v1/conversions", nil).want(200); !bytes.Contains(r.body, []byte(c.ID)) {
		t.Errorf("not in the list: %s", r.body)
	}
	if n := log.count("a newer version of Tonearm"); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
}

// lines keeps a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func TestRetryWithoutSource(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	c := s.advance(u.announce(3, false).ID, conversion.Failed)
	u.call("POST", "/v1/conversions/"+c.ID+"/retry", nil).want(409, "source_missing")
	_, err := s.o.Objects.Put(t.Context(), c.Object.Key, strings.NewReader("other"))
	check(t, err)
	u.call("POST", "/v1/conversions/"+c.ID+"/retry", nil).want(409, "source_missing")
	equal(t, "state", decode[api.Conversion](u.call("GET", "/v1/conversions/"+c.ID, nil).want(200)).State, conversion.Failed)

	// A video that came through the gateway cannot be sent with a URL.
	plain := decode[api.Conversion](u.call("PUT", "/upload", strings.NewReader("video")).want(201))
	record, err := s.o.Records.Update(t.Context(), plain.ID, func(c *conversion.Conversion) error {
		c.State, c.Object.ETag, c.Object.Size = conversion.Expired, "", 0
		return nil
	})
	check(t, err)
	check(t, s.o.Objects.Delete(t.Context(), record.Object.Key))
	u.call("POST", "/v1/conversions/"+plain.ID+"/retry", nil).want(409, "source_missing")

	// An upload that arrived after all is used as it is.
	late := s.advance(u.announce(3, false).ID, conversion.Expired)
	_, err = s.o.Objects.Put(t.Context(), late.Object.Key, strings.NewReader("abc"))
	check(t, err)
	equal(t, "state of a late one", decode[api.Conversion](u.call("POST", "/v1/conversions/"+late.ID+"/retry", nil).want(200)).State, conversion.Queued)
}

// TestCancelRunning checks that the dispatcher gets a message to stop the
// attempt.
func TestCancelRunning(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for _, method := range []string{"POST", "DELETE"} {
		c := s.advance(u.announce(3, false).ID, conversion.Running)
		if method == "POST" {
			u.call("POST", "/v1/conversions/"+c.ID+"/cancel", nil).want(200)
		} else {
			u.call("DELETE", "/v1/conversions/"+c.ID, nil).want(204)
		}
		m, err := s.o.Queue.Take(t.Context(), queue.Stop, time.Minute, time.Second)
		check(t, err)
		m.Since = time.Time{}
		equal(t, "message", m.Message, queue.Message{Class: queue.Stop, Owner: u.ID, ConversionID: c.ID, Attempt: 1, Kind: conversion.Stop, Size: 3})
	}
}

func TestETag(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	c := u.announce(3, false)
	path := "/v1/conversions/" + c.ID
	tag := u.call("GET", path, nil).want(200).header.Get("ETag")
	equal(t, "tag", tag, `"1"`)
	for _, same := range []string{tag, "W/" + tag, `"7", ` + tag} {
		if r := u.call("GET", path, nil, "If-None-Match", same).want(304); len(r.body) > 0 || r.header.Get("ETag") != tag {
			t.Errorf("304 with %v %s", r.header, r.body)
		}
	}
	s.advance(c.ID, conversion.Queued)
	equal(t, "tag later", u.call("GET", path, nil, "If-None-Match", tag).want(200).header.Get("ETag"), `"2"`)
}

// TestQueueDown: conversions change all the same, and the record keeps what has
// to be published.
func TestQueueDown(t *testing.T) {
	s := start(t, func(o *Options) {
		gone, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		check(t, gone.Close())
		q, err := redisqueue.Open("redis://"+gone.Addr().String(), "x")
		check(t, err)
		t.Cleanup(func() { q.Close() })
		o.Queue = q
	})
	u := s.user("a@example.org")
	c := decode[api.Conversion](u.call("PUT", "/upload", strings.NewReader("video")).want(201))
	record, err := s.o.Records.ByID(t.Context(), c.ID)
	check(t, err)
	if len(record.Outbox) != 1 || record.Outbox[0].Kind != conversion.Work {
		t.Errorf("outbox is %+v", record.Outbox)
	}
	u.call("GET", "/v1/conversions/"+c.ID+"?wait=1&revision=1", nil).want(200)
	u.call("POST", "/v1/conversions/"+c.ID+"/cancel", nil).want(200)
	u.call("DELETE", "/v1/conversions/"+c.ID, nil).want(204)
}
