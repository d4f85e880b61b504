package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// world is a gateway and an object store that know one conversion. They
// misbehave as a test wants; the tests of cmd/tonearm run against the real
// ones.
type world struct {
	t        *testing.T
	gateway  *httptest.Server
	store    *httptest.Server
	partSize int // 0 for a single PUT
	size     int

	mu       sync.Mutex
	parts    map[int][]byte // what is stored; a single PUT as number 0
	uploadID int            // in the URLs; URLs with another id are no longer good
	signed   int            // calls of …/parts
	puts     int
	refuse   func(n int, r *http.Request) int // status for the nth PUT, 0 to store it
	expiry   time.Duration                    // of the URLs in the next answer
}

func newWorld(t *testing.T, size, partSize int) *world {
	w := &world{t: t, partSize: partSize, size: size, parts: map[int][]byte{}, expiry: time.Hour,
		refuse: func(int, *http.Request) int { return 0 }}
	gate := http.NewServeMux()
	gate.HandleFunc("POST /v1/conversions/{id}/parts", w.sign)
	gate.HandleFunc("POST /v1/conversions/{id}/complete", w.complete)
	w.gateway = httptest.NewServer(gate)
	t.Cleanup(w.gateway.Close)
	w.store = httptest.NewServer(http.HandlerFunc(w.put))
	t.Cleanup(w.store.Close)
	return w
}

func (w *world) client(change func(*client.Options)) *client.Client {
	o := client.Options{Server: w.gateway.URL, Token: "secret", Patience: 10 * time.Second}
	if change != nil {
		change(&o)
	}
	return open(w.t, o)
}

func (w *world) link(n int) string {
	return fmt.Sprintf("%s/object?part=%d&upload=%d&signature=presigned", w.store.URL, n, w.uploadID)
}

// upload describes the upload; the caller holds the lock.
func (w *world) upload(numbers []int) api.Upload {
	up := api.Upload{ExpiresAt: time.Now().Add(w.expiry)}
	if w.partSize == 0 {
		up.Method, up.URL = http.MethodPut, w.link(0)
		up.Headers = map[string]string{"If-None-Match": "*", "Content-Length": strconv.Itoa(w.size)}
		return up
	}
	up.PartSize, up.PartCount = int64(w.partSize), (w.size+w.partSize-1)/w.partSize
	for n := 1; n <= up.PartCount; n++ {
		if w.parts[n] != nil {
			up.Stored = append(up.Stored, n)
		} else if numbers == nil {
			up.Parts = append(up.Parts, api.Part{Number: n, URL: w.link(n)})
		}
	}
	for _, n := range numbers {
		up.Parts = append(up.Parts, api.Part{Number: n, URL: w.link(n)})
	}
	return up
}

func (w *world) conversion() api.Conversion {
	w.mu.Lock()
	defer w.mu.Unlock()
	up := w.upload(nil)
	return api.Conversion{ID: "x", State: conversion.AwaitingUpload, Size: int64(w.size), Upload: &up}
}

func (w *world) sign(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signed++
	w.expiry = time.Hour
	var in api.PartNumbers
	_ = json.NewDecoder(r.Body).Decode(&in)
	_ = json.NewEncoder(rw).Encode(w.upload(in.Numbers))
}

func (w *world) complete(rw http.ResponseWriter, _ *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.content()) != w.size {
		rw.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(rw, `{"code":"upload_incomplete"}`)
		return
	}
	_ = json.NewEncoder(rw).Encode(api.Conversion{ID: "x", State: conversion.Queued, Size: int64(w.size)})
}

// content joins what is stored; the caller holds the lock.
func (w *world) content() []byte {
	if w.partSize == 0 {
		return w.parts[0]
	}
	var all []byte
	for n := 1; n <= len(w.parts); n++ {
		all = append(all, w.parts[n]...)
	}
	return all
}

func (w *world) put(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.puts++
	status := w.refuse(w.puts, r)
	current := r.FormValue("upload") == strconv.Itoa(w.uploadID)
	w.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		w.t.Error("the token went to the object store")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	n, _ := strconv.Atoi(r.FormValue("part"))
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case status != 0:
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, `<?xml version="1.0"?><Error><Code>StoreSaysNo</Code></Error>`)
	case !current:
		rw.WriteHeader(http.StatusNotFound)
	case r.Header.Get("If-None-Match") == "*" && w.parts[n] != nil:
		rw.WriteHeader(http.StatusPreconditionFailed)
	default:
		w.parts[n] = body
	}
}

// send uploads and checks what arrived.
func (w *world) send(c *client.Client, cv api.Conversion) {
	w.t.Helper()
	data := video(w.size)
	var last atomic.Int64
	got, err := c.Send(w.t.Context(), cv, bytes.NewReader(data), func(done int64) { last.Store(done) })
	if err != nil {
		w.t.Fatalf("Send: %v", err)
	}
	if got.State != conversion.Queued {
		w.t.Errorf("state: got %s, want queued", got.State)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !bytes.Equal(w.content(), data) {
		w.t.Error("what arrived is not what was sent")
	}
}

func video(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

func TestSendWhole(t *testing.T) {
	w := newWorld(t, 100_000, 0)
	w.send(w.client(nil), w.conversion())
	if w.puts != 1 {
		t.Errorf("PUTs: got %d, want 1", w.puts)
	}
}

func TestSendParts(t *testing.T) {
	w := newWorld(t, 1_050_000, 100_000)
	w.send(w.client(nil), w.conversion())
	if w.puts != 11 || w.signed != 0 {
		t.Errorf("got %d PUTs and %d requests for URLs, want 11 and none", w.puts, w.signed)
	}
}

func TestSendResumes(t *testing.T) {
	w := newWorld(t, 1_000_000, 100_000)
	for _, n := range []int{1, 2, 5, 10} {
		w.parts[n] = video(w.size)[(n-1)*w.partSize : n*w.partSize]
	}
	w.send(w.client(nil), w.conversion())
	if w.puts != 6 {
		t.Errorf("PUTs: got %d, want the 6 that were missing", w.puts)
	}
}

func TestSendAfterALostAnswer(t *testing.T) {
	w := newWorld(t, 1000, 0)
	w.parts[0] = video(1000)
	w.send(w.client(nil), w.conversion())
}

func TestSendRepeatsWhatMayHeal(t *testing.T) {
	for _, partSize := range []int{0, 1000} {
		w := newWorld(t, 3000, partSize)
		w.refuse = func(n int, _ *http.Request) int {
			if n <= 2 {
				return http.StatusServiceUnavailable
			}
			return 0
		}
		w.send(w.client(nil), w.conversion())
	}
}

func TestSendReplacesExpiredURLs(t *testing.T) {
	for _, partSize := range []int{0, 1000} {
		for _, status := range []int{http.StatusForbidden, http.StatusNotFound} { // expired, or signed by an account that is gone
			w := newWorld(t, 3000, partSize)
			w.refuse = func(n int, _ *http.Request) int {
				if n == 1 {
					return status
				}
				return 0
			}
			w.send(w.client(nil), w.conversion())
			if w.signed != 1 {
				t.Errorf("%d in parts of %d: got %d requests for URLs, want 1", status, partSize, w.signed)
			}
		}
	}
}

func TestSendAsksJustInTime(t *testing.T) {
	w := newWorld(t, 40_000, 1000)
	w.expiry = time.Second // within the margin: too late already
	w.send(w.client(nil), w.conversion())
	// One for every 16 parts, and some more where a later part asks first.
	if w.signed < 3 || w.signed > 8 {
		t.Errorf("requests for URLs: got %d for 40 parts, want 3 to 8", w.signed)
	}
}

func TestSendBeginsAnew(t *testing.T) {
	w := newWorld(t, 10_000, 1000)
	cv := w.conversion()
	w.uploadID++ // the store has dropped the upload; …/parts begins another
	w.send(w.client(nil), cv)
}

func TestSendSaysWhatTheStoreSaid(t *testing.T) {
	w := newWorld(t, 1000, 0)
	w.refuse = func(int, *http.Request) int { return http.StatusForbidden }
	_, err := w.client(nil).Send(t.Context(), w.conversion(), bytes.NewReader(video(1000)), func(int64) {})
	var e *client.StoreError
	if !errors.As(err, &e) || e.Status != http.StatusForbidden || e.Code != "StoreSaysNo" {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "signature") {
		t.Errorf("a presigned URL is in the error: %v", err)
	}
	if w.signed == 0 || w.signed > 5 {
		t.Errorf("requests for URLs: got %d, want a few", w.signed)
	}
}

// TestSendRefusesStrangeRequests: a server chooses where a video goes, and not what
// else the request says.
func TestSendRefusesStrangeRequests(t *testing.T) {
	for _, header := range []string{"Authorization", "cookie", "Host", "Proxy-Authorization", "X-Forwarded-For", "Transfer-Encoding", "Connection",
		"Origin", "X-Amz-Copy-Source", "X-Amz-Acl", "x-amz-meta-", "User-Agent", "", "a\r\nb"} {
		w := newWorld(t, 1000, 0)
		cv := w.conversion()
		cv.Upload.Headers[header] = "x"
		_, err := w.client(nil).Send(t.Context(), cv, bytes.NewReader(video(1000)), func(int64) {})
		if err == nil || !strings.Contains(err.Error(), strconv.Quote(header)) || w.puts != 0 {
			t.Errorf("%q: got %v after %d PUTs", header, err, w.puts)
		}
	}
	for _, method := range []string{"", "POST", "DELETE", "put", "PUT /x"} {
		w := newWorld(t, 1000, 0)
		cv := w.conversion()
		cv.Upload.Method = method
		if _, err := w.client(nil).Send(t.Context(), cv, bytes.NewReader(video(1000)), func(int64) {}); err == nil || w.puts != 0 {
			t.Errorf("method %q: got %v after %d requests", method, err, w.puts)
		}
	}
}

// TestSendsHeaders: what stores may have signed is sent.
func TestSendsHeaders(t *testing.T) {
	w := newWorld(t, 1000, 0)
	cv := w.conversion()
	want := map[string]string{"Content-Type": "video/mp4", "content-md5": "x", "X-Amz-Checksum-Sha256": "y", "x-amz-sdk-checksum-algorithm": "SHA256",
		"x-amz-meta-owner": "o", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
	for name, value := range want {
		cv.Upload.Headers[name] = value
	}
	w.refuse = func(_ int, r *http.Request) int {
		for name, value := range want {
			if got := r.Header.Get(name); got != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		if r.ContentLength != 1000 || r.Header.Get("If-None-Match") != "*" {
			t.Errorf("length %d, header %v", r.ContentLength, r.Header)
		}
		return 0
	}
	w.send(w.client(nil), cv)
}

func TestSendToAStoreThatIsDown(t *testing.T) {
	w := newWorld(t, 1000, 0)
	cv := w.conversion()
	w.store.Close()
	_, err := w.client(func(o *client.Options) { o.Patience = 0 }).Send(t.Context(), cv, bytes.NewReader(video(1000)), func(int64) {})
	if err == nil || strings.Contains(err.Error(), "signature") {
		t.Errorf("got %v, want an error without a presigned URL", err)
	}
}

func TestSendAFileThatShrank(t *testing.T) {
	for _, partSize := range []int{0, 1000} {
		w := newWorld(t, 3000, partSize)
		for _, source := range []io.ReaderAt{bytes.NewReader(video(2500)), shrunk{bytes.NewReader(video(2500))}} {
			_, err := w.client(nil).Send(t.Context(), w.conversion(), source, func(int64) {})
			var e *client.LocalError
			if !errors.As(err, &e) || !strings.Contains(e.Error(), "became shorter") {
				t.Errorf("parts of %d: got %v, want a LocalError that says what happened", partSize, err)
			}
		}
	}
}

// shrunk is a file that is put together of another one, which has become shorter.
type shrunk struct{ io.ReaderAt }

func (s shrunk) ReadAt(p []byte, at int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, at)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// TestSendNoticesAStall uses a store that says nothing the first time.
func TestSendNoticesAStall(t *testing.T) {
	w := newWorld(t, 100_000, 0)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) }) // before the store is closed
	w.store.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		first := w.puts == 0
		w.mu.Unlock()
		if first {
			w.mu.Lock()
			w.puts++
			w.mu.Unlock()
			<-release
			return
		}
		w.put(rw, r)
	})
	said := make(chan error, 10)
	c := w.client(func(o *client.Options) {
		o.Stall = time.Second
		o.Waiting = func(err error, _ time.Duration) { said <- err }
	})
	w.send(c, w.conversion())
	if err := <-said; !strings.Contains(err.Error(), "no data moved") {
		t.Errorf("got %v, want a stall", err)
	}
}

func TestSendRefusesSillyParts(t *testing.T) {
	w := newWorld(t, 3000, 1000)
	cv := w.conversion()
	cv.Upload.PartCount = 5
	if _, err := w.client(nil).Send(t.Context(), cv, bytes.NewReader(video(3000)), func(int64) {}); err == nil {
		t.Error("got no error")
	}
}

// TestDownload uses a store whose answer is damaged, then cut short, then
// right.
func TestDownload(t *testing.T) {
	mp3 := video(300_000)
	sum := sha256.Sum256(mp3)
	var tries atomic.Int32
	store := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token went to the object store")
		}
		switch tries.Add(1) {
		case 1:
			_, _ = rw.Write(append([]byte{^mp3[0]}, mp3[1:]...))
		case 2:
			rw.Header().Set("Content-Length", strconv.Itoa(len(mp3)))
			_, _ = rw.Write(mp3[:1000])
		case 3:
			_, _ = rw.Write(mp3[:1000])
		case 4:
			rw.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = rw.Write(mp3)
		}
	}))
	t.Cleanup(store.Close)
	gateway := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/mp3s/m/download" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("got %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		http.Redirect(rw, r, store.URL+"/object?signature=presigned", http.StatusFound)
	}))
	t.Cleanup(gateway.Close)
	c := open(t, client.Options{Server: gateway.URL, Token: "secret", Patience: time.Minute})
	f, err := os.Create(filepath.Join(t.TempDir(), "out.mp3"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := api.MP3{ID: "m", Size: int64(len(mp3)), SHA256: hex.EncodeToString(sum[:])}
	if err := c.Download(t.Context(), m, f, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, mp3) {
		t.Errorf("what arrived is not the MP3 (%v)", err)
	}
	if n := tries.Load(); n != 5 {
		t.Errorf("tries: got %d, want 5", n)
	}
}
