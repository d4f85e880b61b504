package blobtest

import (
	"bufio"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/retry"
)

func testPut(t *testing.T, h Harness) {
	const key, body = "uploads/u/c/source", "a video"
	r, err := h.Store.PresignPut(t.Context(), key, int64(len(body)), time.Minute, blob.Public)
	noErr(t, err)
	if r.Method != http.MethodPut || r.Header.Get("Content-Length") != "7" || r.Header.Get("If-None-Match") != "*" {
		t.Errorf("got %s with %v", r.Method, r.Header)
	}
	if left := time.Until(r.ExpiresAt); left <= 50*time.Second || left > time.Minute {
		t.Errorf("expires in %s, want a minute", left)
	}

	for _, wrong := range []string{"", "short", "far too long"} {
		if code, _ := do(t, request(t, r, wrong)); code/100 != 4 {
			t.Errorf("%d bytes in place of %d: got %d, want a refusal", len(wrong), len(body), code)
		}
	}
	open := request(t, r, body)
	open.Header.Del("If-None-Match")
	if code, _ := do(t, open); code/100 != 4 {
		t.Errorf("without If-None-Match: got %d, want a refusal", code)
	}
	_, err = h.Store.Head(t.Context(), key)
	wantErr(t, "after refusals", err, blob.ErrNotExist)

	if code, answer := do(t, request(t, r, body)); code != http.StatusOK {
		t.Fatalf("got %d %s", code, answer)
	}
	if code, _ := do(t, request(t, r, body)); code != http.StatusPreconditionFailed {
		t.Errorf("a second time: got %d, want 412", code)
	}
	o, err := h.Store.Head(t.Context(), key)
	noErr(t, err)
	if o.Key != key || o.Size != 7 || o.Version != "" || o.ETag != fmt.Sprintf("%x", md5.Sum([]byte(body))) || time.Since(o.Modified).Abs() > time.Minute {
		t.Errorf("got %+v", o)
	}

	empty, err := h.Store.PresignPut(t.Context(), "uploads/u/empty", 0, time.Minute, blob.Public)
	noErr(t, err)
	if code, answer := do(t, request(t, empty, "")); code != http.StatusOK {
		t.Errorf("empty: got %d %s", code, answer)
	}
	if got := content(t, h, "uploads/u/empty"); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

// An uploader that is killed half-way leaves nothing.
func testPutBrokenOff(t *testing.T, h Harness) {
	const key, size = "uploads/u/c/source", 1 << 20
	r, err := h.Store.PresignPut(t.Context(), key, size, time.Minute, blob.Public)
	noErr(t, err)
	half := string(make([]byte, size/2))
	breakOff(t, http.MethodPut, r.URL, "If-None-Match: *", size, half)
	_, err = h.Store.Head(t.Context(), key)
	wantErr(t, "after half an upload", err, blob.ErrNotExist)
	if code, answer := do(t, request(t, r, string(make([]byte, size)))); code != http.StatusOK {
		t.Errorf("the next try: got %d %s", code, answer)
	}

	id, err := h.Store.CreateUpload(t.Context(), key)
	noErr(t, err)
	part, err := h.Store.PresignPart(t.Context(), key, id, 1, size, time.Minute, blob.Public)
	noErr(t, err)
	breakOff(t, http.MethodPut, part.URL, "X-Part: 1", size, half)
	if parts, err := h.Store.Parts(t.Context(), key, id); err != nil || len(parts) != 0 {
		t.Errorf("after half a part: got %v, %v", parts, err)
	}

	const posted = "inbox/a@example.org/x.mp4"
	url, contentType, body := form(t, h, posted, half+half)
	breakOff(t, http.MethodPost, url, "Content-Type: "+contentType, len(body), body[:len(body)-len(half)])
	_, err = h.Store.Head(t.Context(), posted)
	wantErr(t, "after half a form", err, blob.ErrNotExist)
}

// breakOff sends a request with a body that is shorter than announced.
func breakOff(t *testing.T, method, rawURL, header string, length int, body string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	noErr(t, err)
	conn, err := net.Dial("tcp", u.Host)
	noErr(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n\r\n%s", method, u.RequestURI(), u.Host, length, header, body)
	noErr(t, err)
	noErr(t, conn.(*net.TCPConn).CloseWrite())
	_, _ = bufio.NewReader(conn).ReadString('\n') // when an answer or the end comes, the store has dealt with the request
}

func testOverwrite(t *testing.T, h Harness) {
	const key = "mp3s/u/c/1.mp3"
	r, err := h.Store.PresignOverwrite(t.Context(), key, time.Minute, blob.Internal)
	noErr(t, err)
	put := func(body, sum string) int {
		req := request(t, r, body)
		if sum != "" {
			digest := md5.Sum([]byte(sum))
			req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(digest[:]))
		}
		code, _ := do(t, req)
		return code
	}
	if code := put("first", "other"); code != http.StatusBadRequest {
		t.Errorf("wrong Content-MD5: got %d, want 400", code)
	}
	_, err = h.Store.Head(t.Context(), key)
	wantErr(t, "after a wrong Content-MD5", err, blob.ErrNotExist)
	if code := put("first", "first"); code != http.StatusOK {
		t.Errorf("right Content-MD5: got %d", code)
	}
	if code := put("second one", ""); code != http.StatusOK {
		t.Errorf("no Content-MD5: got %d", code)
	}
	if code := put("third", "other"); code != http.StatusBadRequest {
		t.Errorf("wrong Content-MD5: got %d, want 400", code)
	}
	if got := content(t, h, key); got != "second one" {
		t.Errorf("got %q, want the second", got)
	}
}

func testDownload(t *testing.T, h Harness) {
	const key = "mp3s/u/c/1.mp3"
	store(t, h, key, "sound")
	for name, want := range map[string]string{
		"song.mp3":                 "song.mp3",
		`He said "so" \ then.mp3`:  `He said "so" _ then.mp3`,
		"a+b & c=d?#100%;'*.mp3":   "a+b & c=d?#100%;'*.mp3",
		"ビデオ 🎬.mp3":                "ビデオ 🎬.mp3",
		"Ünïcödé.mp3":              "Ünïcödé.mp3",
		"x\r\nSet-Cookie: a=b.mp3": "xSet-Cookie: a=b.mp3",
	} {
		r, err := h.Store.PresignGet(t.Context(), key, name, "audio/mpeg", time.Minute, blob.Public)
		noErr(t, err)
		resp, err := http.DefaultClient.Do(request(t, r, ""))
		if err != nil {
			t.Fatal(retry.WithoutURL(err))
		}
		resp.Body.Close()
		disposition, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
		if resp.StatusCode != http.StatusOK || err != nil || disposition != "attachment" || params["filename"] != want {
			t.Errorf("%q: got %s, %s %q, %v", name, resp.Status, disposition, params["filename"], err)
		}
		if got := resp.Header.Get("Content-Type"); got != "audio/mpeg" || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("%q: got %q as type", name, got)
		}
	}

	r, err := h.Store.PresignGet(t.Context(), key, "", "", time.Minute, blob.Internal)
	noErr(t, err)
	if code, got := do(t, request(t, r, "")); code != http.StatusOK || got != "sound" {
		t.Errorf("got %d %q", code, got)
	}
	ranged := request(t, r, "")
	ranged.Header.Set("Range", "bytes=1-3")
	if code, got := do(t, ranged); code != http.StatusPartialContent || got != "oun" {
		t.Errorf("a range: got %d %q", code, got)
	}
	if code, _ := do(t, request(t, tampered(r), "")); code != http.StatusForbidden {
		t.Errorf("another key: got %d, want 403", code)
	}
}

func tampered(r blob.Request) blob.Request {
	r.URL = strings.Replace(r.URL, "/1.mp3", "/2.mp3", 1)
	return r
}

func testExpired(t *testing.T, h Harness) {
	store(t, h, "mp3s/u/c/1.mp3", "sound")
	var get, put blob.Request
	synctest.Test(t, func(t *testing.T) { // its clock begins in the year 2000
		var err error
		get, err = h.Store.PresignGet(t.Context(), "mp3s/u/c/1.mp3", "", "", time.Hour, blob.Public)
		noErr(t, err)
		put, err = h.Store.PresignPut(t.Context(), "mp3s/u/c/2.mp3", 5, time.Hour, blob.Public)
		noErr(t, err)
	})
	if code, _ := do(t, request(t, get, "")); code != http.StatusForbidden {
		t.Errorf("GET: got %d, want 403", code)
	}
	if code, _ := do(t, request(t, put, "sound")); code != http.StatusForbidden {
		t.Errorf("PUT: got %d, want 403", code)
	}
}

func testAddresses(t *testing.T, h Harness) {
	if h.PublicHost == h.InternalHost {
		t.Fatal("the harness must give two addresses")
	}
	id, err := h.Store.CreateUpload(t.Context(), "uploads/u/c/source")
	noErr(t, err)
	for to, host := range map[blob.Audience]string{blob.Public: h.PublicHost, blob.Internal: h.InternalHost} {
		var requests [4]blob.Request
		var errs [4]error
		requests[0], errs[0] = h.Store.PresignPut(t.Context(), fmt.Sprint("uploads/", to), 4, time.Minute, to)
		requests[1], errs[1] = h.Store.PresignOverwrite(t.Context(), fmt.Sprint("mp3s/", to), time.Minute, to)
		requests[2], errs[2] = h.Store.PresignPart(t.Context(), "uploads/u/c/source", id, 1, 4, time.Minute, to)
		requests[3], errs[3] = h.Store.PresignGet(t.Context(), fmt.Sprint("uploads/", to), "a b.mp3", "audio/mpeg", time.Minute, to)
		for i, r := range requests {
			noErr(t, errs[i])
			u, err := url.Parse(r.URL)
			noErr(t, err)
			if u.Host != host {
				t.Errorf("request %d: got host %s, want %s", i, u.Host, host)
			}
			body := "four"
			if r.Method == http.MethodGet {
				body = ""
			}
			if code, answer := do(t, request(t, r, body)); code != http.StatusOK {
				t.Errorf("request %d to %s: got %d %s", i, host, code, answer)
			}
		}
	}
}

// A page of a listed origin may upload, no other page, and it may read the ETag, which completing an
// upload in parts needs.
func testBrowser(t *testing.T, h Harness) {
	r, err := h.Store.PresignPut(t.Context(), "uploads/u/c/source", 4, time.Minute, blob.Public)
	noErr(t, err)
	preflight := request(t, r, "")
	preflight.Method = http.MethodOptions
	preflight.Header = http.Header{}
	preflight.Header.Set("Origin", "https://tonearm.example.org")
	preflight.Header.Set("Access-Control-Request-Method", "PUT")
	preflight.Header.Set("Access-Control-Request-Headers", "if-none-match")
	put := request(t, r, "four")
	put.Header.Set("Origin", "https://tonearm.example.org")
	for _, req := range []*http.Request{preflight, put} {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(retry.WithoutURL(err))
		}
		resp.Body.Close()
		allowed := resp.Header.Get("Access-Control-Allow-Origin")
		if resp.StatusCode/100 != 2 || allowed != "*" && allowed != "https://tonearm.example.org" {
			t.Errorf("%s: got %s for origin %q", req.Method, resp.Status, allowed)
		}
		switch req.Method {
		case http.MethodOptions:
			if got := resp.Header.Get("Access-Control-Allow-Headers"); !strings.Contains(strings.ToLower(got), "if-none-match") && got != "*" {
				t.Errorf("allowed headers are %q", got)
			}
		default:
			exposed := strings.ToLower(strings.Join(resp.Header.Values("Access-Control-Expose-Headers"), ","))
			if !strings.Contains(exposed, "etag") && exposed != "*" {
				t.Errorf("exposed headers are %q", exposed)
			}
		}
	}
	if h.Origin == "" {
		return
	}
	for _, other := range []string{"https://elsewhere.example.org", h.Origin + ".example.com", "null"} {
		for _, req := range []*http.Request{preflight, put} {
			req := req.Clone(t.Context())
			req.Header.Set("Origin", other)
			req.Body = http.NoBody
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(retry.WithoutURL(err))
			}
			resp.Body.Close()
			if allowed := resp.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
				t.Errorf("%s: pages of %s may use the store: %q", req.Method, other, allowed)
			}
		}
	}
}
