package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/waittest"
)

// backend counts the requests that it got whole and answers each with its path.
type backend struct {
	*httptest.Server
	got atomic.Int64
}

func start(t *testing.T) (*backend, *Proxy, *http.Client) {
	t.Helper()
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			b.got.Add(1)
		}
		io.WriteString(w, r.URL.Path)
	}))
	p, err := Listen(t.Context(), b.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); b.Close() })
	// Not retried: a POST with a body on a connection of its own.
	return b, p, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

func post(c *http.Client, p *Proxy, path string, size int) (status int, body string) {
	resp, err := c.Post("http://"+p.Addr+path, "text/plain", strings.NewReader(strings.Repeat("x", size)))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func TestActions(t *testing.T) {
	const size = 300 << 10
	for _, test := range []struct {
		name      string
		rule      *Rule
		status    int // of the request that is struck; 0: no answer
		delivered int64
	}{
		{"watch", &Rule{Do: Watch}, 200, 1},
		{"drop", &Rule{Do: Drop}, 0, 0},
		{"close after", &Rule{Do: CloseAfter, Bytes: 200 << 10}, 0, 0},
		{"lose answer", &Rule{Do: LoseAnswer}, 0, 1},
		{"hold answer", &Rule{Do: HoldAnswer, Delay: time.Millisecond}, 200, 1},
		{"edit answer", &Rule{Do: EditAnswer, Edit: func(b []byte) { copy(b[len("HTTP/1.1 "):], "299") }}, 299, 1},
		{"503", &Rule{Do: Reply, Text: Unavailable}, 503, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, p, c := start(t)
			r := test.rule
			r.Match, r.Skip, r.Times = Regexp(`^POST /struck`), 1, 1
			p.Add(r)
			for i, path := range []string{"/other", "/struck", "/struck", "/struck"} {
				want, delivered := 200, int64(1)
				if i == 2 {
					want, delivered = test.status, test.delivered
				}
				before := b.got.Load()
				if status, body := post(c, p, path, size); status != want {
					t.Errorf("request %d: status %d (%s), want %d", i, status, body, want)
				}
				// What the server does not get whole it never counts.
				if delivered > 0 {
					waittest.Until(t, 5*time.Second, "the server has it", func() bool { return b.got.Load() == before+1 })
				} else if got := b.got.Load() - before; got != 0 {
					t.Errorf("request %d: the server got it", i)
				}
			}
			if r.Struck() != 1 {
				t.Errorf("struck %d times, want 1", r.Struck())
			}
		})
	}
}

func TestHang(t *testing.T) {
	b, p, c := start(t)
	r := &Rule{Do: Hang}
	remove := p.Add(r)
	answer := make(chan int)
	go func() { status, _ := post(c, p, "/", 10); answer <- status }()
	waittest.Until(t, 5*time.Second, "a request hangs", func() bool { return r.Struck() == 1 })
	if b.got.Load() != 0 {
		t.Error("the request got through")
	}
	remove()
	if status := <-answer; status != 200 {
		t.Errorf("after the hang: status %d", status)
	}
}

// TestLate: the request arrives although its client is gone.
func TestLate(t *testing.T) {
	b, p, _ := start(t)
	whole := make(chan struct{})
	remove := p.Add(&Rule{Do: Late, Delay: time.Hour, Times: 1, Strike: func([]byte) { close(whole) }})
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "PUT /late HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", 200_000))
	<-whole
	c.Close()
	if b.got.Load() != 0 {
		t.Fatal("the request came at once")
	}
	remove()
	waittest.Until(t, 5*time.Second, "the request comes", func() bool { return b.got.Load() == 1 })
}

// TestTurns: on one connection each request counts, and a request that comes in
// pieces counts once.
func TestTurns(t *testing.T) {
	_, p, _ := start(t)
	r := &Rule{Match: Regexp(`/struck`), Do: Watch}
	p.Add(r)
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range 3 {
		for _, part := range []string{"GET /str", "uck", "ed HTTP/1.1\r\nHost: x\r\n", "\r\n"} {
			io.WriteString(c, part)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if r.Struck() != 3 || p.Requests() != 3 {
		t.Errorf("%d requests, %d of them struck, want 3", p.Requests(), r.Struck())
	}
	p.Cut()
	if _, err := answers.ReadByte(); err == nil {
		t.Error("the connection is open")
	}
}
