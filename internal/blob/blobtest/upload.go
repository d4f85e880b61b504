package blobtest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"mime/multipart"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/retry"
)

const partSize = 5 << 20 // the least that S3 takes, except for the last part

// putPart puts one part by its presigned URL and returns its ETag.
func putPart(t *testing.T, h Harness, key, id string, number int, body string) string {
	t.Helper()
	r, err := h.Store.PresignPart(t.Context(), key, id, number, int64(len(body)), time.Minute, blob.Public)
	noErr(t, err)
	resp, err := http.DefaultClient.Do(request(t, r, body))
	if err != nil {
		t.Fatal(retry.WithoutURL(err))
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("part %d: %s", number, resp.Status)
	}
	return blob.TrimETag(resp.Header.Get("ETag"))
}

func testUpload(t *testing.T, h Harness) {
	const key = "uploads/u/c/source"
	id, err := h.Store.CreateUpload(t.Context(), key)
	noErr(t, err)
	if parts, err := h.Store.Parts(t.Context(), key, id); err != nil || len(parts) != 0 {
		t.Errorf("of a new upload: got %v, %v", parts, err)
	}
	one, two := strings.Repeat("1", partSize), strings.Repeat("2", 1000)
	putPart(t, h, key, id, 2, "half")
	second := putPart(t, h, key, id, 2, two) // in place of the first part 2
	first := putPart(t, h, key, id, 1, one)
	want := []blob.Part{{Number: 1, ETag: first, Size: partSize}, {Number: 2, ETag: second, Size: 1000}}
	parts, err := h.Again.Parts(t.Context(), key, id) // as a resuming client asks
	noErr(t, err)
	if fmt.Sprint(parts) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", parts, want)
	}
	_, err = h.Store.Head(t.Context(), key)
	wantErr(t, "before it is complete", err, blob.ErrNotExist)
	o, err := h.Store.CompleteUpload(t.Context(), key, id, parts)
	noErr(t, err)
	head, err := h.Store.Head(t.Context(), key)
	noErr(t, err)
	if o.Key != key || o.Size != partSize+1000 || o != head {
		t.Errorf("got %+v, want %+v", o, head)
	}
	if content(t, h, key) != one+two {
		t.Error("the content is not that of the parts")
	}
	_, err = h.Store.Parts(t.Context(), key, id)
	wantErr(t, "parts of a complete upload", err, blob.ErrNotExist)
	if again, err := h.Store.CompleteUpload(t.Context(), key, id, parts); err == nil && again != o || err != nil && !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("complete again: got %+v, %v", again, err)
	}
	noErr(t, h.Store.AbortUpload(t.Context(), key, id))
	if content(t, h, key) != one+two {
		t.Error("the abort of a complete upload took the object")
	}
}

// A part's URL is good for as many bytes as it was signed for.
func testPartLength(t *testing.T, h Harness) {
	const key = "uploads/u/c/source"
	id, err := h.Store.CreateUpload(t.Context(), key)
	noErr(t, err)
	r, err := h.Store.PresignPart(t.Context(), key, id, 1, 4, time.Minute, blob.Public)
	noErr(t, err)
	if got := r.Header.Get("Content-Length"); got != "4" {
		t.Errorf("Content-Length is %q", got)
	}
	for _, body := range []string{"", "one", "three", strings.Repeat("x", 100_000)} { // more than 256 KiB may break the connection
		if code, _ := do(t, request(t, r, body)); code/100 != 4 {
			t.Errorf("%d bytes in place of 4: got %d, want a refusal", len(body), code)
		}
	}
	chunked := request(t, r, "four")
	chunked.ContentLength = -1
	if code, _ := do(t, chunked); code/100 != 4 {
		t.Errorf("without a length: got %d, want a refusal", code)
	}
	if parts, err := h.Store.Parts(t.Context(), key, id); err != nil || len(parts) > 0 {
		t.Errorf("after refusals: got %v, %v", parts, err)
	}
	if code, answer := do(t, request(t, r, "four")); code != http.StatusOK {
		t.Errorf("got %d %s", code, answer)
	}
}

func testUploadAbort(t *testing.T, h Harness) {
	const key = "uploads/u/c/source"
	id, err := h.Store.CreateUpload(t.Context(), key)
	noErr(t, err)
	putPart(t, h, key, id, 1, "part")
	noErr(t, h.Store.AbortUpload(t.Context(), key, id))
	noErr(t, h.Store.AbortUpload(t.Context(), key, id))
	noErr(t, h.Store.AbortUpload(t.Context(), "uploads/u/never", id))
	_, err = h.Store.Parts(t.Context(), key, id)
	wantErr(t, "parts of an aborted upload", err, blob.ErrNotExist)
	_, err = h.Store.CompleteUpload(t.Context(), key, id, []blob.Part{{Number: 1, ETag: "0123456789abcdef0123456789abcdef"}})
	wantErr(t, "completion of an aborted upload", err, blob.ErrNotExist)
	r, err := h.Store.PresignPart(t.Context(), key, id, 2, 4, time.Minute, blob.Public)
	noErr(t, err)
	if code, _ := do(t, request(t, r, "part")); code != http.StatusNotFound {
		t.Errorf("a part of an aborted upload: got %d, want 404", code)
	}
}

func testUploadRefused(t *testing.T, h Harness) {
	const key = "uploads/u/c/source"
	id, err := h.Store.CreateUpload(t.Context(), key)
	noErr(t, err)
	first, second := putPart(t, h, key, id, 1, "too small"), putPart(t, h, key, id, 2, "last")
	for name, parts := range map[string][]blob.Part{
		"a part too small": {{Number: 1, ETag: first}, {Number: 2, ETag: second}},
		"a part missing":   {{Number: 1, ETag: first}, {Number: 3, ETag: second}},
		"a wrong ETag":     {{Number: 1, ETag: second}},
		"no parts":         nil,
	} {
		_, err = h.Store.CompleteUpload(t.Context(), key, id, parts)
		wantErr(t, name, err, blob.ErrInvalid)
	}
	_, err = h.Store.CompleteUpload(t.Context(), key, id, []blob.Part{{Number: 1, ETag: first}})
	noErr(t, err)
}

// pattern is a reader of n bytes that computes their checksum and watches the
// memory.
type pattern struct {
	n, read int64
	sum     uint32
	heap    uint64
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.read == p.n {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.n-p.read, 64<<10)]
	for i := range b {
		b[i] = byte((p.read + int64(i)) * 2654435761 >> 13)
	}
	p.sum = crc32.Update(p.sum, crc32.IEEETable, b)
	if p.read>>20 != (p.read+int64(len(b)))>>20 { // once a MiB
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		p.heap = max(p.heap, m.HeapAlloc)
	}
	p.read += int64(len(b))
	return len(b), nil
}

func testStream(t *testing.T, h Harness) {
	for _, size := range []int64{0, 1, 16 << 20, 40<<20 + 7} {
		key := fmt.Sprint("uploads/u/", size)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		in := &pattern{n: size}
		o, err := h.Store.Put(t.Context(), key, in)
		noErr(t, err)
		if o.Size != size || o.ETag == "" || o.Key != key {
			t.Errorf("got %+v, want %d bytes", o, size)
		}
		if grown := int64(in.heap) - int64(m.HeapAlloc); grown > 36<<20 {
			t.Errorf("%d bytes took %d MiB of memory", size, grown>>20)
		}
		r, err := h.Store.Get(t.Context(), key, o.ETag, 0, -1)
		noErr(t, err)
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, r)
		noErr(t, errors.Join(err, r.Close()))
		if n != size || sum.Sum32() != in.sum {
			t.Errorf("got %d other bytes, want %d", n, size)
		}
	}
	if _, err := h.Store.Put(t.Context(), "uploads/u/1", strings.NewReader("over it")); err != nil || content(t, h, "uploads/u/1") != "over it" {
		t.Errorf("replace: %v", err)
	}
}

// A source that breaks off, as a request's body does, must not become a
// shorter object.
func testStreamFails(t *testing.T, h Harness) {
	gone := errors.New("gone")
	for _, size := range []int64{0, 10, 17 << 20} {
		for _, end := range []error{gone, io.ErrUnexpectedEOF} {
			key := fmt.Sprintf("uploads/u/%d-%v", size, end)
			_, err := h.Store.Put(t.Context(), key, io.MultiReader(&pattern{n: size}, failing{end}))
			wantErr(t, key, err, end)
			_, err = h.Store.Head(t.Context(), key)
			wantErr(t, key, err, blob.ErrNotExist)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := h.Store.Put(ctx, "uploads/u/canceled", io.MultiReader(&pattern{n: 17 << 20}, calling(cancel), &pattern{n: 17 << 20}))
	wantErr(t, "a canceled one", err, context.Canceled)
	_, err = h.Store.Head(t.Context(), "uploads/u/canceled")
	wantErr(t, "a canceled one", err, blob.ErrNotExist)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type calling func()

func (c calling) Read([]byte) (int, error) {
	c()
	return 0, io.EOF
}

func testEvents(t *testing.T, h Harness) {
	check := func(e blob.Event, name string) {
		t.Helper()
		o, err := h.Store.Head(t.Context(), e.Key)
		noErr(t, err)
		if !strings.HasPrefix(e.Name, "ObjectCreated:"+name) || e.ETag != o.ETag || e.Size != o.Size || e.Version != "" || e.Time.IsZero() {
			t.Errorf("got %+v, want %+v", e, o)
		}
	}
	store(t, h, "mp3s/u/c/1.mp3", "sound")
	store(t, h, "other", "x")
	for _, key := range []string{
		"uploads/u/c/source", "inbox/a+b@example.org/x.mp4", "inbox/a@example.org/my holiday.mp4",
		"inbox/a@example.org/take #1.mp4", "inbox/a@example.org/100% + more.mp4", "inbox/a@example.org/ビデオ 🎬.mp4",
	} {
		store(t, h, key, "a video")
		e, before := wait(t, h, key)
		check(e, "Put")
		if len(before) > 0 {
			t.Errorf("got %+v as well", before)
		}
	}

	const parted = "uploads/u/c+d/source"
	id, err := h.Store.CreateUpload(t.Context(), parted)
	noErr(t, err)
	etag := putPart(t, h, parted, id, 1, "all of it")
	_, err = h.Store.CompleteUpload(t.Context(), parted, id, []blob.Part{{Number: 1, ETag: etag}})
	noErr(t, err)
	e, _ := wait(t, h, parted)
	check(e, "CompleteMultipartUpload")

	const posted = "inbox/a+b@example.org/the form #2.mp4"
	url, contentType, body := form(t, h, posted, "a video")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	noErr(t, err)
	req.Header.Set("Content-Type", contentType)
	if code, answer := do(t, req); code/100 != 2 {
		t.Fatalf("POST: %d %s", code, answer)
	}
	e, _ = wait(t, h, posted)
	check(e, "P") // Post, or Put where the store does not tell them apart

	_, err = h.Store.Put(t.Context(), "uploads/u/stream", strings.NewReader("a video"))
	noErr(t, err)
	e, _ = wait(t, h, "uploads/u/stream")
	check(e, "")
}

// form renders a signed form with the file as its last field, as S3 demands.
func form(t *testing.T, h Harness, key, content string) (url, contentType, body string) {
	t.Helper()
	url, fields, err := h.Form(t.Context(), key)
	noErr(t, err)
	var b strings.Builder
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		noErr(t, w.WriteField(name, value))
	}
	file, err := w.CreateFormFile("file", "x.mp4")
	noErr(t, err)
	_, err = io.WriteString(file, content)
	noErr(t, errors.Join(err, w.Close()))
	return url, w.FormDataContentType(), b.String()
}
