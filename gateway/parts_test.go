package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

func TestPartSize(t *testing.T) {
	for _, tt := range []struct{ size, want int64 }{
		{1, 16 * mib},
		{160_000 * mib, 16 * mib},
		{160_000*mib + 1, 17 * mib},
		{maxObject, 525 * mib},
	} {
		got := partSize(tt.size)
		equal(t, "part size", got, tt.want)
		if n := (tt.size + got - 1) / got; n > maxParts {
			t.Errorf("%d bytes need %d parts", tt.size, n)
		}
	}
}

func TestRanges(t *testing.T) {
	equal(t, "ranges", ranges([]int{1, 3, 4, 5, 9}), "1, 3–5, 9")
	var odd []int
	for n := 1; n < 100; n += 2 {
		odd = append(odd, n)
	}
	if got := ranges(odd); !strings.HasSuffix(got, "39 and 30 others") {
		t.Errorf("got %s", got)
	}
}

func TestWrongParts(t *testing.T) {
	c := conversion.Conversion{Object: conversion.Object{Size: 25}, Upload: &conversion.Upload{PartSize: 10, Parts: 3}}
	got := wrongParts(c, []blob.Part{{Number: 1, Size: 9}, {Number: 3, Size: 5}})
	if !slices.Equal(got, []int{1, 2}) {
		t.Errorf("got %v", got)
	}
}

// TestLargeUploads announces videos of sizes around the limits; no byte is
// sent.
func TestLargeUploads(t *testing.T) {
	s := start(t, func(o *Options) { o.MaxUploadBytes = maxObject })
	u := s.user("a@example.org")
	if up := u.announce(maxSinglePut, false).Upload; up.URL == "" || up.PartCount != 0 {
		t.Errorf("5 GiB: %+v", up)
	}
	if up := u.announce(maxSinglePut+1, false).Upload; up.URL != "" || up.PartCount != 321 || len(up.Parts) != 321 {
		t.Errorf("5 GiB and a byte: %+v", up)
	}
	c := u.announce(maxObject, false)
	if up := c.Upload; up.PartSize != 525*mib || up.PartCount != 9987 || len(up.Parts) != signAtOnce {
		t.Errorf("5 TiB: %d parts of %d, %d URLs", up.PartCount, up.PartSize, len(up.Parts))
	}
	up := decode[api.Upload](u.call("POST", "/v1/conversions/"+c.ID+"/parts", `{"numbers":[9987]}`).want(200))
	if len(up.Parts) != 1 || up.Parts[0].Number != 9987 {
		t.Errorf("the last part: %+v", up)
	}
}

// TestParts uploads 33 MiB in three parts, out of order and with a pause.
func TestParts(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	content := strings.Repeat("0123456789abcdef", 33*mib/16)
	c := u.announce(int64(len(content)), true)
	if up := c.Upload; up.PartSize != 16*mib || up.PartCount != 3 || len(up.Parts) != 3 || up.URL != "" {
		t.Fatalf("upload is %+v", up)
	}
	send := func(p api.Part) {
		from := (p.Number - 1) * 16 * mib
		put(t, "PUT", p.URL, nil, content[from:min(from+16*mib, len(content))])
	}
	path := "/v1/conversions/" + c.ID
	send(c.Upload.Parts[2])
	send(c.Upload.Parts[0])
	p := decode[api.Problem](u.call("POST", path+"/complete", nil).want(409, "upload_incomplete"))
	equal(t, "what is missing", p.Errors[0].Message, "2")

	up := decode[api.Upload](u.call("POST", path+"/parts", nil).want(200))
	if !slices.Equal(up.Stored, []int{1, 3}) || len(up.Parts) != 1 || up.Parts[0].Number != 2 {
		t.Errorf("resumed upload is %+v", up)
	}
	up = decode[api.Upload](u.call("POST", path+"/parts", `{"numbers":[3,2]}`).want(200))
	if len(up.Parts) != 2 || up.Parts[0].Number != 3 {
		t.Errorf("asked for parts: %+v", up)
	}
	const short = "too short for a part in the middle"
	for _, body := range []string{short, content[:100_000]} {
		if status := tryPut(t, up.Parts[1].URL, body); status != http.StatusForbidden {
			t.Errorf("%d bytes for a part of 16 MiB: %d", len(body), status)
		}
	}
	record, err := s.o.Records.ByID(t.Context(), c.ID)
	check(t, err)
	old, err := s.o.Objects.PresignPart(t.Context(), record.Object.Key, record.Upload.ID, 2, int64(len(short)), time.Minute, blob.Public)
	check(t, err) // as the URLs of a version before 0.2, which are good for any length
	put(t, "PUT", old.URL, nil, short)
	p = decode[api.Problem](u.call("POST", path+"/complete", nil).want(409, "upload_incomplete"))
	equal(t, "what has another size", p.Errors[0].Message, "2")
	send(up.Parts[1])
	for range 2 {
		got := decode[api.Conversion](u.call("POST", path+"/complete", nil).want(200))
		equal(t, "state", got.State, conversion.Queued)
	}
	if s.object(record.Object.Key) != content {
		t.Error("the object is not what was sent")
	}
}

// tryPut sends body to a presigned URL and returns the answer's status.
func tryPut(t *testing.T, address, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address, strings.NewReader(body))
	check(t, err)
	res, err := http.DefaultClient.Do(req)
	check(t, err)
	res.Body.Close()
	return res.StatusCode
}

// TestPartsAnew loses multipart uploads in every possible way.
func TestPartsAnew(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for name, lose := range map[string]func(c conversion.Conversion){
		"dropped by the store": func(c conversion.Conversion) {
			check(t, s.o.Objects.AbortUpload(t.Context(), c.Object.Key, c.Upload.ID))
		},
		"expired and started again": func(c conversion.Conversion) {
			s.advance(c.ID, conversion.Expired)
			check(t, s.o.Objects.AbortUpload(t.Context(), c.Object.Key, c.Upload.ID))
			_, err := s.o.Records.Update(t.Context(), c.ID, func(c *conversion.Conversion) error {
				return c.Cleaned(c.UpdatedAt, 0, c.UpdatedAt)
			})
			check(t, err)
			u.call("POST", "/v1/conversions/"+c.ID+"/parts", nil).want(409, "conflict")
			u.call("POST", "/v1/conversions/"+c.ID+"/retry", nil).want(200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := s.o.Records.ByID(t.Context(), u.announce(3, true).ID)
			check(t, err)
			lose(c)
			path := "/v1/conversions/" + c.ID
			u.call("POST", path+"/complete", nil).want(409, "upload_incomplete")
			up := decode[api.Upload](u.call("POST", path+"/parts", nil).want(200))
			put(t, "PUT", up.Parts[0].URL, nil, "abc")
			equal(t, "state", decode[api.Conversion](u.call("POST", path+"/complete", nil).want(200)).State, conversion.Queued)
		})
	}
}

// TestJoinedUnseen completes an upload whose answer was lost.
func TestJoinedUnseen(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	made := decode[api.Conversion](u.call("POST", "/v1/conversions", `{"filename":"a","size":3,"parts":true}`, "Idempotency-Key", "k").want(201))
	c, err := s.o.Records.ByID(t.Context(), made.ID)
	check(t, err)
	put(t, "PUT", made.Upload.Parts[0].URL, nil, "abc")
	have, err := s.o.Objects.Parts(t.Context(), c.Object.Key, c.Upload.ID)
	check(t, err)
	_, err = s.o.Objects.CompleteUpload(t.Context(), c.Object.Key, c.Upload.ID, have)
	check(t, err)
	path := "/v1/conversions/" + c.ID
	u.call("POST", path+"/parts", nil).want(409, "conflict")
	again := decode[api.Conversion](u.call("POST", "/v1/conversions", `{"filename":"a","size":3,"parts":true}`, "Idempotency-Key", "k").want(200))
	if again.ID != made.ID || again.Upload != nil {
		t.Errorf("created again: %+v", again)
	}
	equal(t, "state", decode[api.Conversion](u.call("POST", path+"/complete", nil).want(200)).State, conversion.Queued)
}

// No URL for an upload is good for longer than the upload may take.
func TestURLsEndWithWindow(t *testing.T) {
	late := time.Duration(0)
	s := start(t, func(o *Options) {
		o.UploadWindow, o.URLExpiry = 10*time.Minute, time.Hour
		o.Now = func() time.Time { return time.Now().Add(late) }
	})
	u := s.user("a@example.org")
	for _, parts := range []bool{false, true} {
		late = 0
		c := u.announce(5, parts)
		late = 4 * time.Minute
		again := decode[api.Upload](u.call("POST", "/v1/conversions/"+c.ID+"/parts", nil).want(200))
		for _, up := range []api.Upload{*c.Upload, again} {
			if up.ExpiresAt.After(*c.ExpiresAt) {
				t.Errorf("parts %v: the URL is good until %s, the upload awaited until %s", parts, up.ExpiresAt, c.ExpiresAt)
			}
			signed := up.URL
			if parts {
				signed = up.Parts[0].URL
			}
			url, err := url.Parse(signed)
			check(t, err)
			seconds, err := strconv.Atoi(url.Query().Get("X-Amz-Expires"))
			check(t, err)
			if seconds > 600 || seconds < 300 {
				t.Errorf("parts %v: signed for %d s", parts, seconds)
			}
		}
		late = 11 * time.Minute
		u.call("POST", "/v1/conversions/"+c.ID+"/parts", nil).want(409, "conflict")
	}
}

// Uploads of which a client tells first are counted, and the dispatchers hear of
// them.
func TestCompletedIsTold(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := start(t, func(o *Options) { o.Registerer = registry })
	u := s.user("a@example.org")
	told, cancel, err := s.o.Queue.Subscribe(t.Context(), queue.TopicCompleted)
	check(t, err)
	defer cancel()
	<-told // the connection is made
	for range 2 {
		c := u.announce(5, false)
		put(t, c.Upload.Method, c.Upload.URL, c.Upload.Headers, "video")
		for range 2 {
			u.call("POST", "/v1/conversions/"+c.ID+"/complete", nil).want(200)
		}
	}
	<-told
	u.call("PUT", "/upload/a.mp4", strings.NewReader("video")).want(201)
	want := `
# HELP tonearm_uploads_found_total Uploads that became known, by how: by a notification of the object store, a sweep (a look at it), the client's complete call, or as a plain form.
# TYPE tonearm_uploads_found_total counter
tonearm_uploads_found_total{by="complete"} 2
tonearm_uploads_found_total{by="form"} 1
`
	check(t, testutil.GatherAndCompare(registry, strings.NewReader(want), "tonearm_uploads_found_total"))
}
