package service_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"tonearm/internal/connection"
	"tonearm/internal/connection/connectiontest"
	"tonearm/internal/service"
)

// TestUnreadAnswer: a client that asks and does not read loses its connection.
func TestUnreadAnswer(t *testing.T) {
	ended := make(chan error, 1)
	addr := listen(t, service.Limits{Connections: connection.Limits{Pause: 500 * time.Millisecond}}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for {
			if _, err := w.Write(block); err != nil {
				ended <- err
				return
			}
		}
	}))
	io.WriteString(connectiontest.Dial(t, "127.0.0.1", addr), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-ended:
	case <-time.After(connectiontest.Soon):
		t.Error("the answer is still being written")
	}
}
