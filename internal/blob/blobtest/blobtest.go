// Package blobtest is the suite that every object store passes.
package blobtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/retry"
)

// Harness is a store to test, on a bucket of its own.
type Harness struct {
	Store blob.Store // prepared; the addresses that it signs for people and for transcoders differ
	// Again is another process's store on the same bucket.
	Again blob.Store
	// PublicHost and InternalHost are the hosts that URLs are signed for.
	PublicHost, InternalHost string
	// Form signs a POST form that uploads to key, as `mc share upload` makes it.
	Form func(ctx context.Context, key string) (url string, fields map[string]string, err error)
	// Origin is that of the only web pages that may use the store; '' if all may.
	Origin string
	// Events are the notifications of this bucket.
	Events <-chan blob.Event
}

// Run tests the stores that open makes, one for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"Put", testPut},
		{"PutBrokenOff", testPutBrokenOff},
		{"Overwrite", testOverwrite},
		{"Download", testDownload},
		{"Expired", testExpired},
		{"Addresses", testAddresses},
		{"Browser", testBrowser},
		{"Upload", testUpload},
		{"PartLength", testPartLength},
		{"UploadAbort", testUploadAbort},
		{"UploadRefused", testUploadRefused},
		{"Stream", testStream},
		{"StreamFails", testStreamFails},
		{"Get", testGet},
		{"NotExist", testNotExist},
		{"List", testList},
		{"Delete", testDelete},
		{"Keys", testKeys},
		{"Events", testEvents},
		{"Prepare", testPrepare},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// Receivers serves one webhook for a store with several buckets.
type Receivers struct {
	URL   string
	Token string // expected as a bearer token

	mu       sync.Mutex
	byBucket map[string]chan blob.Event
}

// NewReceivers starts the webhook's server.
func NewReceivers(t *testing.T) *Receivers {
	r := &Receivers{Token: rand.Text(), byBucket: map[string]chan blob.Event{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL + "/events/s3"
	return r
}

// Bucket returns the events of one bucket.
func (r *Receivers) Bucket(name string) <-chan blob.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byBucket[name] == nil {
		r.byBucket[name] = make(chan blob.Event, 1000)
	}
	return r.byBucket[name]
}

func (r *Receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Authorization") != "Bearer "+r.Token {
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	events, err := blob.ParseNotification(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		select {
		case r.byBucket[e.Bucket] <- e: // nil, so lost, if nobody asked for the bucket
		default:
		}
	}
}

// Relay makes relay send the notifications of bucket to r. A relay is the only
// webhook of a server that many tests share.
func (r *Receivers) Relay(t *testing.T, relay, bucket string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"url": r.URL, "token": r.Token})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, relay+"/receivers/"+bucket, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if code, answer := do(t, req); code/100 != 2 {
		t.Fatalf("register with the relay: %d %s", code, answer)
	}
}

// wait returns the event of key, and all events before it.
func wait(t *testing.T, h Harness, key string) (blob.Event, []blob.Event) {
	t.Helper()
	var before []blob.Event
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e := <-h.Events:
			if e.Key == key {
				return e, before
			}
			before = append(before, e)
		case <-timeout:
			t.Fatalf("no event of %s, only %+v", key, before)
		}
	}
}

// do sends a request without credentials, and returns the status and the body.
func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(retry.WithoutURL(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// request makes the presigned request; Content-Length follows from body.
func request(t *testing.T, r blob.Request, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.Method, r.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(retry.WithoutURL(err))
	}
	req.Header = r.Header.Clone()
	return req
}

// store puts an object by a presigned URL.
func store(t *testing.T, h Harness, key, body string) {
	t.Helper()
	r, err := h.Store.PresignPut(t.Context(), key, int64(len(body)), time.Minute, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	if code, answer := do(t, request(t, r, body)); code != http.StatusOK {
		t.Fatalf("PUT %s: %d %s", key, code, answer)
	}
}

// content reads an object whole.
func content(t *testing.T, h Harness, key string) string {
	t.Helper()
	r, err := h.Store.Get(t.Context(), key, "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
