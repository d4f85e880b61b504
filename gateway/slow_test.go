package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/connection"
	"tonearm/internal/conversion"
	"tonearm/internal/service"
)

// listen serves the gateway as its command does, with short limits, and returns its
// address.
func (s *stack) listen(limits service.Limits) string {
	s.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	check(s.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(s.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- service.HTTP(l, s.Handler(), 0, limits, slog.New(slog.DiscardHandler))(ctx) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestUnfinishedBodies: no route lets a client who never finishes its body keep the
// connection, whoever it is.
func TestUnfinishedBodies(t *testing.T) {
	s := start(t, func(o *Options) { o.UploadPause = 300 * time.Millisecond })
	u := s.user("a@example.org")
	addr := s.listen(service.Limits{Body: 300 * time.Millisecond})
	var open []net.Conn
	for _, header := range []string{"", "Authorization: Bearer " + u.token + "\r\n"} {
		for _, request := range []string{
			"POST /v1/users", "POST /v1/session", "POST /login", "POST /v1/conversions", "GET /v1/presets", "DELETE /v1/session",
			"POST /upload", "PUT /upload/v.mp4", "POST /account/confirm", "POST /nowhere", "PUT /docs", "GET /openapi.json",
		} {
			for _, framing := range []string{"Content-Length: 100000\r\n", "Transfer-Encoding: chunked\r\n"} {
				c, err := net.Dial("tcp", addr)
				check(t, err)
				defer c.Close()
				_, err = io.WriteString(c, request+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+header+framing+"\r\n")
				check(t, err)
				open = append(open, c)
			}
		}
	}
	end := time.Now().Add(30 * time.Second)
	for i, c := range open {
		check(t, c.SetReadDeadline(end))
		answer, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("request %d stays open; it was answered with %q", i, answer)
		} else if !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
			t.Errorf("request %d: %q, %v", i, answer, err)
		}
	}
	s.nothingLeft(u)
}

// steps gives a body slowly but steadily.
type steps struct{ left int }

func (r *steps) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.left--
	time.Sleep(100 * time.Millisecond)
	return copy(p, make([]byte, connection.Progress)), nil
}

// TestSteadyUpload: an upload through the gateway may take far longer than other
// bodies and than the longest pause. Neither does ?wait= end with them.
func TestSteadyUpload(t *testing.T) {
	s := start(t, func(o *Options) { o.UploadPause = 2 * time.Second })
	u := s.user("a@example.org")
	s.url = "http://" + s.listen(service.Limits{Header: 200 * time.Millisecond, Body: 200 * time.Millisecond})
	c := decode[api.Conversion](u.call("PUT", "/upload/v.mp4", &steps{30}).want(201))
	equal(t, "size", c.Size, 30*connection.Progress)
	equal(t, "state", c.State, conversion.Queued)
	u.call("GET", "/v1/conversions/"+c.ID+"?wait=2", nil).want(http.StatusOK)
}

// TestStalledUpload: one that stops coming is cut off and leaves nothing.
func TestStalledUpload(t *testing.T) {
	s := start(t, func(o *Options) { o.UploadPause = 300 * time.Millisecond })
	u := s.user("a@example.org")
	s.url = "http://" + s.listen(service.Limits{})
	stalled, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = w.Write(make([]byte, 2*connection.Progress)) }()
	r := u.call("PUT", "/upload/v.mp4", stalled).want(400, "upload_incomplete")
	if !strings.Contains(string(r.body), "16384 bytes") {
		t.Errorf("it says %s", r.body)
	}
	s.nothingLeft(u)
}
