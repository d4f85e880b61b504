// Package sqstest is a stand-in for one Amazon SQS queue, for tests: the four
// calls that sqsnotify makes, in AWS's JSON 1.0 protocol over HTTP, with long
// polls, visibility timeouts, receive counts and a redrive policy. Its clock
// stands still until a test moves it on. It was written from AWS's
// documentation of the protocol. It does not verify signatures, only the key
// and the region that they name.
package sqstest

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a client of the queue has to be given.
const (
	AccessKey = "AKIDSTANDIN"
	SecretKey = "secret-of-the-stand-in"
	Region    = "eu-central-1"
)

// Queue is the stand-in.
type Queue struct {
	URL string

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with each change
	clock    time.Duration // since the start
	sent     int
	messages []*Message
	dead     []string
	redrive  int    // how often a message may be received; 0 for any number
	refusal  string // code
	refused  int
	waits    int
}

// Message is one message of the queue.
type Message struct {
	ID       string
	Body     string
	Received int           // times
	Hidden   time.Duration // from now on; 0 for one that can be received

	handle  string
	visible time.Duration // on the queue's clock
}

// Start starts a queue that ends with the test.
func Start(t testing.TB) *Queue {
	q := &Queue{changed: make(chan struct{})}
	server := httptest.NewServer(q)
	t.Cleanup(func() {
		server.CloseClientConnections() // otherwise Close would wait for long polls
		server.Close()
	})
	q.URL = server.URL + "/111122223333/tonearm"
	return q
}

// Send puts a message into the queue and returns its id.
func (q *Queue) Send(body string) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent++
	m := &Message{ID: fmt.Sprintf("message-%d", q.sent), Body: body, visible: q.clock}
	q.messages = append(q.messages, m)
	q.change()
	return m.ID
}

// Messages returns the messages that were sent and not deleted, without dead
// letters.
func (q *Queue) Messages() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]Message, len(q.messages))
	for i, m := range q.messages {
		all[i] = *m
		all[i].Hidden = max(m.visible-q.clock, 0)
	}
	return all
}

// Dead returns the ids of the messages that the redrive policy moved away.
func (q *Queue) Dead() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]string(nil), q.dead...)
}

// Redrive sets a redrive policy: a message that was received maxReceiveCount
// times is moved away when it would be received again.
func (q *Queue) Redrive(maxReceiveCount int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.redrive = maxReceiveCount
}

// Refuse makes each call fail with an error of that code; an empty code ends
// that.
func (q *Queue) Refuse(code string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refusal = code
	q.change()
}

// Refused counts the calls that were refused.
func (q *Queue) Refused() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refused
}

// Waits counts how often a long poll had to wait: once when it comes, and again
// after each change that brought it nothing.
func (q *Queue) Waits() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits
}

// Advance moves the queue's clock on.
func (q *Queue) Advance(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.clock += d
	q.change()
}

func (q *Queue) change() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// take returns up to n messages that can be received, and hides them.
func (q *Queue) take(n int, hidden time.Duration) []*Message {
	var taken, kept []*Message
	for _, m := range q.messages {
		if m.visible > q.clock || len(taken) == n {
			kept = append(kept, m)
			continue
		}
		if q.redrive > 0 && m.Received >= q.redrive {
			q.dead = append(q.dead, m.ID)
			continue
		}
		m.Received++
		m.handle = fmt.Sprintf("%s/%d", m.ID, m.Received)
		m.visible = q.clock + hidden
		taken, kept = append(taken, m), append(kept, m)
	}
	q.messages = kept
	return taken
}

// wait blocks until something changed. It is called under the lock.
func (q *Queue) wait(r *http.Request) {
	changed := q.changed
	q.waits++
	q.mu.Unlock()
	select {
	case <-changed:
	case <-r.Context().Done():
	}
	q.mu.Lock()
}

// inFlight returns the message with this receipt handle, or nil if the handle
// is not the current one.
func (q *Queue) inFlight(handle string) *Message {
	for _, m := range q.messages {
		if m.handle == handle && m.visible > q.clock {
			return m
		}
	}
	return nil
}

func md5Of(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// signed reports whether a request names the queue's key, region and service.
func signed(r *http.Request) bool {
	scope := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
	return len(scope) > 4 && scope[0] == AccessKey && scope[2] == Region && scope[3] == "sqs"
}
