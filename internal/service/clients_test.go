package service_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tonearm/internal/connection"
	"tonearm/internal/connection/connectiontest"
	"tonearm/internal/service"
)

// listen serves handler with limits until the test ends.
func listen(t *testing.T, limits service.Limits, handler http.Handler) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- service.HTTP(l, handler, 0, limits, quiet)(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// handlers do with a body what ours do.
func handlers() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/all", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, "cut off", http.StatusBadRequest)
			return
		}
		io.WriteString(w, "thanks")
	})
	mux.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
		var v any
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			http.Error(w, "cut off", http.StatusBadRequest)
			return
		}
		io.WriteString(w, "thanks")
	})
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	return mux
}

// TestUnfinishedBody: whoever never finishes a body gets an answer and loses the
// connection, also if nobody reads it.
func TestUnfinishedBody(t *testing.T) {
	addr := listen(t, service.Limits{Body: 200 * time.Millisecond}, handlers())
	for _, path := range []string{"/all", "/json", "/none", "/nowhere"} {
		for framing, begin := range map[string]string{
			"Content-Length: 100":        `{"x"`,
			"Content-Length: 1000000":    `{"x":1}`,
			"Transfer-Encoding: chunked": "3\r\n{}\n\r\n",
		} {
			t.Run(path+" "+framing, func(t *testing.T) {
				t.Parallel()
				c := connectiontest.Dial(t, "127.0.0.1", addr)
				io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n"+begin)
				if answer := connectiontest.Rest(t, c); !strings.HasPrefix(answer, "HTTP/1.1 ") {
					t.Errorf("answered %q", answer)
				}
			})
		}
	}
}

// TestByteByByte: neither a header nor a body may come byte by byte for ever.
func TestByteByByte(t *testing.T) {
	addr := listen(t, service.Limits{Header: 300 * time.Millisecond, Body: 300 * time.Millisecond}, handlers())
	for name, begin := range map[string]string{
		"header": "GET /none HTTP/1.1\r\nX-A: ",
		"body":   "POST /all HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
		"unread": "POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connectiontest.Dial(t, "127.0.0.1", addr)
			io.WriteString(c, begin)
			end := time.Now().Add(connectiontest.Soon)
			for { // a write fails some time after the server has closed
				if _, err := c.Write([]byte("x")); err != nil {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the connection stays open")
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// TestIdle: a connection without a request ends.
func TestIdle(t *testing.T) {
	addr := listen(t, service.Limits{Header: 100 * time.Millisecond, Idle: 100 * time.Millisecond}, handlers())
	fresh, used := connectiontest.Dial(t, "127.0.0.1", addr), connectiontest.Dial(t, "127.0.0.1", addr)
	io.WriteString(used, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
	connectiontest.Rest(t, fresh)
	if answer := connectiontest.Rest(t, used); !strings.HasPrefix(answer, "HTTP/1.1 401 ") {
		t.Errorf("answered %q", answer)
	}
}

// TestLongWait: the deadline of a body ends with the body. A handler that waits
// for longer, as ?wait=60 does, is not taken for one whose client has left.
func TestLongWait(t *testing.T) {
	const limit = 50 * time.Millisecond
	addr := listen(t, service.Limits{Header: limit, Body: limit}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		select {
		case <-r.Context().Done():
			t.Error("the request was canceled")
		case <-time.After(10 * limit):
		}
		w.Write(body)
	}))
	for name, c := range map[string]struct{ method, body string }{"no body": {"GET", ""}, "body": {"POST", "{}"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+addr, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); string(b) != c.body || err != nil {
				t.Errorf("got %q, %v", b, err)
			}
		})
	}
}

// TestSteadyBody: a body that a handler takes as a steady one may take longer than
// others, and is cut off when nothing more comes.
func TestSteadyBody(t *testing.T) {
	const pause = 2 * time.Second
	addr := listen(t, service.Limits{Body: 100 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, connection.NewSteady(r.Body, http.NewResponseController(w), pause))
		if err != nil {
			http.Error(w, "cut off", http.StatusBadRequest)
		}
	}))
	block := strings.Repeat("x", connection.Progress)
	for name, c := range map[string]struct {
		blocks int
		want   string
	}{"steady": {30, "HTTP/1.1 200 "}, "stalled": {2, "HTTP/1.1 400 "}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connectiontest.Dial(t, "127.0.0.1", addr)
			io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range c.blocks {
				time.Sleep(pause / 20)
				if _, err := io.WriteString(conn, "4000\r\n"+block+"\r\n"); err != nil {
					t.Fatal(err)
				}
			}
			if c.want == "HTTP/1.1 200 " {
				io.WriteString(conn, "0\r\n\r\n")
			}
			if answer := connectiontest.Rest(t, conn); !strings.HasPrefix(answer, c.want) {
				t.Errorf("answered %q", answer)
			}
		})
	}
}

// TestWaitBehindSteadyBody: neither does a steady body leave one, however often it is
// read behind its end.
func TestWaitBehindSteadyBody(t *testing.T) {
	const pause = 300 * time.Millisecond
	addr := listen(t, service.Limits{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := connection.NewSteady(r.Body, http.NewResponseController(w), pause)
		for range 2 {
			if _, err := io.Copy(io.Discard, body); err != nil {
				t.Errorf("read: %v", err)
			}
		}
		select {
		case <-r.Context().Done():
			t.Error("the request was canceled")
		case <-time.After(3 * pause):
		}
	}))
	resp, err := http.Post("http://"+addr, "text/plain", strings.NewReader("a body"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// TestIdleConnections: one address holds all the connections it can get and uses
// none. Others go on as if it were not there.
func TestIdleConnections(t *testing.T) {
	addr := listen(t, service.Limits{Header: time.Hour, Connections: connection.Limits{PerAddress: 100, Total: 150}}, handlers())
	var idle []net.Conn
	for range 2000 {
		idle = append(idle, connectiontest.Dial(t, "127.0.0.2", addr))
	}
	other := connectiontest.Dial(t, "127.0.0.3", addr)
	for range 100 {
		connectiontest.Dial(t, "127.0.0.4", addr) // and so the total is reached
	}
	ask := func(c net.Conn) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(connectiontest.Soon))
		io.WriteString(c, "POST /all HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); string(b) != "thanks" {
			t.Errorf("answered %q", b)
		}
	}
	ask(connectiontest.Dial(t, "127.0.0.5", addr))
	ask(connectiontest.Dial(t, "127.0.0.2", addr)) // its own newest, too
	ask(other)
	for _, c := range idle[:1900] {
		if connectiontest.Rest(t, c); t.Failed() {
			break // each of the others would take as long
		}
	}
}

// TestBusyConnections: an address whose connections are all in use is refused more.
// A proxy is not.
func TestBusyConnections(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	addr := listen(t, service.Limits{Connections: connection.Limits{PerAddress: 3, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.7/32")}}}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-release
	}))
	defer close(release)
	busy := func(from string) {
		io.WriteString(connectiontest.Dial(t, from, addr), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		select {
		case <-begun:
		case <-time.After(connectiontest.Soon):
			t.Fatalf("%s is refused", from)
		}
	}
	for range 3 {
		busy("127.0.0.2")
	}
	if answer := connectiontest.Rest(t, connectiontest.Dial(t, "127.0.0.2", addr)); !strings.HasPrefix(answer, "HTTP/1.1 429 ") || !strings.Contains(answer, "\r\nRetry-After: ") {
		t.Errorf("refused with %q", answer)
	}
	for range 5 {
		busy("127.0.0.7")
	}
	busy("127.0.0.3")
}
