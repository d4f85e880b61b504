package embedded

import (
	"net/http"
	"sync"

	"github.com/gofiber/fiber/v3"
)

// requests counts the running requests. When the gateway itself stops, it waits
// for open connections instead. These include connections that never sent a
// byte, such as the spare ones of browsers and of Go's HTTP client, and for
// each of them it would take its full 10 s.
type requests struct {
	mu      sync.Mutex
	running int
	drained chan struct{} // closed when no request runs; nil before drain
}

// count is a middleware. After drain it refuses requests.
func (r *requests) count(ctx fiber.Ctx) error {
	if !r.begin() {
		return ctx.SendStatus(http.StatusServiceUnavailable)
	}
	ctx.RequestCtx().SetUserValue(r, request{r})
	return ctx.Next()
}

func (r *requests) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drained != nil {
		return false
	}
	r.running++
	return true
}

// request is stored as a value of one request. The server closes it after it
// has sent the answer.
type request struct{ of *requests }

func (r request) Close() error {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.of.running--
	if r.of.running == 0 && r.of.drained != nil {
		close(r.of.drained)
	}
	return nil
}

// drain refuses new requests, and returns a channel that is closed when no
// request runs.
func (r *requests) drain() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drained = make(chan struct{})
	if r.running == 0 {
		close(r.drained)
	}
	return r.drained
}
