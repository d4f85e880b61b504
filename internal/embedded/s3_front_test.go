package embedded_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/connection"
	"tonearm/internal/connection/connectiontest"
	"tonearm/internal/embedded"
)

// dial connects to a store from an address of this machine.
func dial(t *testing.T, from string, server *embedded.S3) net.Conn {
	t.Helper()
	return connectiontest.Dial(t, from, strings.TrimPrefix(server.Endpoint(), "http://"))
}

// TestIdleConnections: 4,300 connections that send nothing stop no upload,
// whether they come from one address or from several.
func TestIdleConnections(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
	store := open(t, server)
	for _, addresses := range []int{1, 10} {
		for i := range 4300 {
			dial(t, fmt.Sprintf("127.0.1.%d", 1+i%addresses), server)
		}
		ctx, cancel := context.WithTimeout(t.Context(), connectiontest.Soon)
		defer cancel()
		for range 20 {
			if _, err := store.Put(ctx, "k", strings.NewReader("content")); err != nil {
				t.Fatalf("with idle connections from %d addresses: %v", addresses, err)
			}
		}
	}
}

// begin is the header of a presigned request, as it goes over the wire.
func begin(server *embedded.S3, r blob.Request) string {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, strings.TrimPrefix(r.URL, server.Endpoint()), strings.TrimPrefix(server.Endpoint(), "http://"))
	for name := range r.Header {
		text += name + ": " + r.Header.Get(name) + "\r\n"
	}
	return text + "\r\n"
}

// TestBusyConnections: an address whose connections are all in use is refused more.
func TestBusyConnections(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir(), Connections: connection.Limits{PerAddress: 3}})
	store := open(t, server)
	r, err := store.PresignPut(t.Context(), "k", 100_000, time.Hour, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // the first three have sent what makes them busy before the fourth is accepted
		fmt.Fprint(dial(t, "127.0.0.2", server), begin(server, r), strings.Repeat("x", 20_000))
		time.Sleep(100 * time.Millisecond)
	}
	if answer := connectiontest.Rest(t, dial(t, "127.0.0.2", server)); !strings.HasPrefix(answer, "HTTP/1.1 429 ") {
		t.Errorf("refused with %q", answer)
	}
	put(t, store, "other")
}

// TestSlowClients: nobody who has no credentials can hold a connection by sending
// slowly or not at all, and no upload that stalls does.
func TestSlowClients(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir(), HeaderTimeout: 500 * time.Millisecond, BodyPause: time.Second})
	store := open(t, server)
	r, err := store.PresignPut(t.Context(), "k", 1_000_000, time.Hour, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	signed := begin(server, r)
	form := "POST /test HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000000000\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n" + strings.Repeat("x", 9000)
	for name, c := range map[string]struct {
		begin string
		each  string // sent again and again; '' for nothing
	}{
		"nothing":             {"", ""},
		"header":              {"GET /test/k HTTP/1.1\r\nHost: x\r\n", ""},
		"header byte by byte": {"GET /test/k HTTP/1.1\r\nX-A: ", "x"},
		"body":                {"PUT /test/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", ""},
		"body byte by byte":   {"POST /test?delete HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 9000), "x"},
		"chunks":              {"POST /test?delete HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
		"form":                {form, ""},
		"form byte by byte":   {form, "x"},
		"upload":              {signed + strings.Repeat("x", 50_000), ""},
		"upload byte by byte": {signed + strings.Repeat("x", 50_000), "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, "127.0.0.1", server)
			io.WriteString(conn, c.begin)
			var sender sync.WaitGroup
			defer sender.Wait()
			sender.Go(func() {
				for c.each != "" {
					if _, err := io.WriteString(conn, c.each); err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
			if answer := connectiontest.Rest(t, conn); c.begin == "" && answer != "" {
				t.Errorf("a connection without a request was answered with %q", answer)
			}
			conn.Close()
		})
	}
}

// trickle gives a body slowly but steadily.
type trickle struct {
	blocks int
	pause  time.Duration
}

func (r *trickle) Read(p []byte) (int, error) {
	if r.blocks == 0 {
		return 0, io.EOF
	}
	r.blocks--
	time.Sleep(r.pause)
	return copy(p, make([]byte, connection.Progress)), nil
}

// TestSteadyUpload: an upload may take far longer than a header and than the longest
// pause, in one piece or as a form.
func TestSteadyUpload(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir(), HeaderTimeout: 300 * time.Millisecond, BodyPause: 2 * time.Second})
	store := open(t, server)
	const blocks, pause = 40, 100 * time.Millisecond
	const size = blocks * connection.Progress
	send := func(method, url string, header http.Header, body io.Reader, length int64) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header, req.ContentLength = header, length
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode/100 != 2 {
			t.Fatalf("%s: %s", resp.Status, text)
		}
	}
	r, err := store.PresignPut(t.Context(), "k", size, time.Hour, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	send(r.Method, r.URL, r.Header, &trickle{blocks, pause}, size)

	form := filmForm(t, server, "f")
	send(http.MethodPost, form.url, http.Header{"Content-Type": {form.contentType}}, form.around(&trickle{blocks, pause}), int64(len(form.head)+size+len(form.tail)))
	for _, key := range []string{"k", "f"} {
		if o, err := store.Head(t.Context(), key); err != nil || o.Size != size {
			t.Errorf("%s has %d bytes, %v", key, o.Size, err)
		}
	}
}

// TestHarmless: a browser that is led to an object, or to an error, runs and frames
// nothing of it.
func TestHarmless(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
	store := open(t, server)
	put(t, store, "uploads/page.html")
	r, err := store.PresignGet(t.Context(), "uploads/page.html", "", "text/html", time.Minute, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	for url, status := range map[string]int{r.URL: http.StatusOK, server.Endpoint() + "/test/uploads/page.html": http.StatusForbidden} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal("no answer")
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("got %s, want %d", resp.Status, status)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%d: %s is %q, want %q", status, name, got, want)
			}
		}
	}
}
