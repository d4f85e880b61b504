package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

var errAway = errors.New("switched off by the test")

// lossy are records that lose answers to updates: the next ones, after they
// were written or before.
type lossy struct {
	conversion.Store
	after, before atomic.Int64
}

func (l *lossy) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	if l.after.Add(-1) >= 0 {
		_, err := l.Store.Update(ctx, id, change)
		return conversion.Conversion{}, errors.Join(errAway, err)
	}
	if l.before.Add(-1) >= 0 {
		return conversion.Conversion{}, errAway
	}
	return l.Store.Update(ctx, id, change)
}

// broken is an object store that takes no object for a while.
type broken struct {
	blob.Store
	puts atomic.Int64 // that fail
}

func (b *broken) Put(ctx context.Context, key string, r io.Reader) (blob.Object, error) {
	if b.puts.Add(-1) >= 0 {
		return blob.Object{}, errAway
	}
	return b.Store.Put(ctx, key, r)
}

func startLossy(t *testing.T) (*user, *lossy, *broken) {
	records, objects := &lossy{}, &broken{}
	s := start(t, func(o *Options) {
		records.Store, objects.Store = o.Records, o.Objects
		o.Records, o.Objects = records, objects
	})
	return s.user("a@example.org"), records, objects
}

// upload sends a video with a key.
func (u *user) upload(key string, header ...string) reply {
	u.t.Helper()
	if key != "" {
		header = append(header, "Idempotency-Key", key)
	}
	return u.call("PUT", "/upload/v.mp4", strings.NewReader("video"), header...)
}

func TestRepeatedUpload(t *testing.T) {
	u, _, _ := startLossy(t)
	first := decode[api.Conversion](u.upload("k").want(201))
	again := u.upload("k").want(200)
	equal(t, "id", decode[api.Conversion](again).ID, first.ID)
	equal(t, "Location", again.header.Get("Location"), "/v1/conversions/"+first.ID)
	u.advance(first.ID, conversion.Deleted)
	if fresh := decode[api.Conversion](u.upload("k").want(201)); fresh.ID == first.ID {
		t.Error("a deleted conversion came back")
	}
	for name, path := range map[string]string{"another name": "/upload/w.mp4", "other options": "/upload/v.mp4?options=%7B%22channels%22:1%7D",
		"another mail": "/upload/v.mp4?notify=none"} {
		r := u.call("PUT", path, strings.NewReader("video"), "Idempotency-Key", "k")
		if r.status != 422 || decode[api.Problem](r).Code != "idempotency_mismatch" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	u.upload("k", "Content-Digest", sha256Of("video")).want(422, "idempotency_mismatch")
	u.call("POST", "/v1/conversions", `{"filename":"v.mp4","size":5}`, "Idempotency-Key", "k").want(422, "idempotency_mismatch")
	u.upload(strings.Repeat("k", 256)).want(422, "invalid_request")
	for _, key := range []string{"", "form"} {
		body, kind := form(t, "@a.mp4", "video")
		u.call("POST", "/upload", body, "Content-Type", kind, "Idempotency-Key", key).want(201)
	}
	body, kind := form(t, "@a.mp4", strings.Repeat("video", 200_000))
	u.call("POST", "/upload", body, "Content-Type", kind, "Idempotency-Key", "form").want(200)
	equal(t, "conversions", len(u.everything(u)), 3)
}

// Whatever answer of a store is lost, an upload that is repeated with its key
// becomes one conversion, and one without a key is not said to be gone while it
// may go on.
func TestUploadOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name               string
		after, before, put int64
		code               string // of the first answer without a key
		left               int    // conversions then
	}{
		{"recorded, answer lost", 1, 0, 0, "unavailable", 0},
		{"recorded, then no answer", 1, 1, 0, "outcome_unknown", 1},
		{"not recorded", 0, 1, 0, "unavailable", 0},
		{"not recorded, then no answer", 0, 2, 0, "outcome_unknown", 1},
		{"not stored", 0, 0, 1, "unavailable", 0},
		{"not stored, then no answer", 0, 1, 1, "outcome_unknown", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, key := range []string{"", "k"} {
				u, records, objects := startLossy(t)
				records.after.Store(tt.after)
				records.before.Store(tt.before)
				objects.puts.Store(tt.put)
				r := u.upload(key)
				if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
					t.Fatalf("%d %s", r.status, r.body)
				}
				p := decode[api.Problem](r)
				if strings.Contains(p.Detail, "othing is lost") {
					t.Errorf("it says %q", p.Detail)
				}
				records.after.Store(0)
				records.before.Store(0)
				all := u.everything(u)
				if key == "" {
					equal(t, "code", p.Code, tt.code)
					equal(t, "conversions", len(all), tt.left)
					if tt.left > 0 && tt.put == 0 { // it may go on, and needs its source
						equal(t, "content", u.object(all[0].Object.Key), "video")
					}
					if tt.left == 0 {
						u.nothingLeft(u)
					} else {
						equal(t, "Location", r.header.Get("Location"), "/v1/conversions/"+all[0].ID)
					}
					continue
				}
				done := u.upload(key)
				done.want(map[bool]int{true: 200, false: 201}[tt.put == 0]) // 200: what is stored is not stored again
				all = u.everything(u)
				if len(all) != 1 || all[0].ID != decode[api.Conversion](done).ID || all[0].State != conversion.Queued {
					t.Errorf("%d conversions: %+v", len(all), all)
				}
				equal(t, "content", u.object(all[0].Object.Key), "video")
			}
		})
	}
}

func sha256Of(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func TestContentDigest(t *testing.T) {
	u, _, _ := startLossy(t)
	sum := sha512.Sum512([]byte("video"))
	long := "sha-512=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	whole, kind := form(t, "@a.mp4", "video")
	text, err := io.ReadAll(whole)
	check(t, err)
	for name, tt := range map[string]struct {
		header, body, kind string
		status             int
		code               string
	}{
		"right":                  {sha256Of("video"), "video", "", 201, ""},
		"right and longer":       {long, "video", "", 201, ""},
		"two":                    {sha256Of("video") + ", " + long, "video", "", 201, ""},
		"of a form":              {sha256Of(string(text)), string(text), kind, 201, ""},
		"unknown":                {"md5=:AAAA:", "video", "", 201, ""},
		"wrong":                  {sha256Of("other"), "video", "", 400, "digest_mismatch"},
		"cut off and well-ended": {sha256Of("video"), "vide", "", 400, "digest_mismatch"},
		"wrong for a form":       {sha256Of("video"), string(text), kind, 400, "digest_mismatch"},
		"the longer one wrong":   {sha256Of("video") + "," + strings.Replace(long, ":", ":AAAA", 1), "video", "", 400, "invalid_request"},
		"not base64":             {"sha-256=:video:", "video", "", 400, "invalid_request"},
		"no colons":              {strings.ReplaceAll(sha256Of("video"), ":", ""), "video", "", 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := u.call("PUT", "/upload/v.mp4", strings.NewReader(tt.body), "Content-Type", tt.kind, "Content-Digest", tt.header)
			answer.t = t
			if tt.code == "" {
				c := decode[api.Conversion](answer.want(tt.status))
				u.advance(c.ID, conversion.Deleted)
				check(t, u.o.Objects.Delete(t.Context(), conversion.UploadKey(u.ID, c.ID)))
			} else {
				answer.want(tt.status, tt.code)
			}
			u.nothingLeft(u)
		})
	}
}
