package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// Action is what a rule does with a request.
type Action string

// The actions of rules.
const (
	Watch      Action = "watch"       // pass it on
	Drop       Action = "drop"        // close the connection; the server gets nothing of the request's matching part
	Hang       Action = "hang"        // pass on no further byte while the rule stands
	CloseAfter Action = "close-after" // pass on so many bytes of the request, then close
	LoseAnswer Action = "lose-answer" // pass it on, wait for the answer, close without passing that on
	HoldAnswer Action = "hold-answer" // pass it on, and the answer only after Delay
	EditAnswer Action = "edit-answer" // pass it on, and the answer as Edit leaves it
	Reply      Action = "reply"       // send Text in the server's place, then close
	Late       Action = "late"        // keep it whole; when the client is gone and Delay has passed, pass it on
)

// Unavailable is an answer of status 503.
const Unavailable = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// Rule says what happens to which requests.
type Rule struct {
	// Match looks at what has come of a request so far; nil matches each.
	Match func(request []byte) bool
	Skip  int // so many requests that match pass before
	Times int // it strikes so often; 0 for always
	Do    Action
	Bytes int           // for CloseAfter
	Text  string        // for Reply
	Edit  func([]byte)  // for EditAnswer: changes bytes of the answer's first part in place
	Delay time.Duration // for HoldAnswer and Late
	// Strike is called whenever the rule strikes: LoseAnswer, HoldAnswer and
	// EditAnswer call it when the answer has come, Late when it has the whole request, the others
	// when the request has. It may be nil.
	Strike func(request []byte)

	seen  atomic.Int64
	count atomic.Int64
	once  sync.Once
	ended chan struct{} // closed when the rule is taken back
}

// Struck is how often the rule has struck.
func (r *Rule) Struck() int { return int(r.count.Load()) }

func (r *Rule) end() { r.once.Do(func() { close(r.ended) }) }

// takes reports whether the rule strikes with this request, which matches.
func (r *Rule) takes() bool {
	n := int(r.seen.Add(1)) - r.Skip
	return n > 0 && (r.Times == 0 || n <= r.Times)
}

func (r *Rule) strike(request []byte) {
	r.count.Add(1)
	if r.Strike != nil {
		r.Strike(request)
	}
}

// Regexp matches requests by an expression.
func Regexp(expression string) func([]byte) bool {
	return regexp.MustCompile(expression).Match
}

// conn is one connection and its way on.
type conn struct {
	proxy          *Proxy
	client, server net.Conn

	mu      sync.Mutex
	request []byte         // what came since the last answer, its first bytes
	matched map[*Rule]bool // rules that the present request has matched
	answer  *Rule          // what happens to the next answer; nil for nothing
}

func (c *conn) close() {
	_ = c.client.Close()
	_ = c.server.Close()
}

const (
	chunk   = 64 << 10
	longest = 128 << 10 // bytes of a request that rules look at
)

// requests passes on what the client sends.
func (c *conn) requests() {
	defer c.close()
	b := make([]byte, chunk)
	for {
		n, err := c.client.Read(b)
		if n > 0 && !c.pass(b[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass handles a part of a request. ok is false if the connection must end.
func (c *conn) pass(part []byte) (ok bool) {
	r, request := c.look(part)
	if r == nil {
		return send(c.server, part)
	}
	switch r.Do {
	case Drop:
		r.strike(request)
		return false
	case Hang:
		r.strike(request)
		<-r.ended
	case CloseAfter:
		r.strike(request)
		c.begin(part, r.Bytes)
		return false
	case Reply:
		r.strike(request)
		_ = send(c.client, []byte(r.Text))
		linger(c.client)
		return false
	case Late:
		c.late(r, request)
		return false
	case LoseAnswer, HoldAnswer, EditAnswer:
		c.mu.Lock()
		c.answer = r
		c.mu.Unlock()
	case Watch:
		r.strike(request)
	}
	return send(c.server, part)
}

// linger reads what a client still sends behind an answer. A connection that is closed
// with bytes unread is reset, and the client may never see the answer.
func linger(client net.Conn) {
	if c, ok := client.(*net.TCPConn); ok {
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.Copy(io.Discard, c)
	}
}

// look adds a part to the present request, and returns the rule that strikes
// with it, and the request so far.
func (c *conn) look(part []byte) (*Rule, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.request) == 0 {
		c.proxy.passed.Add(1)
		c.matched = map[*Rule]bool{}
	}
	c.request = append(c.request, part[:min(len(part), longest-len(c.request))]...)
	c.proxy.mu.Lock()
	rules := append([]*Rule(nil), c.proxy.rules...)
	c.proxy.mu.Unlock()
	var strikes *Rule
	for _, r := range rules {
		if c.matched[r] || r.Match != nil && !r.Match(c.request) {
			continue
		}
		c.matched[r] = true
		if !r.takes() {
			continue
		}
		if r.Do == Watch { // another rule may do something as well
			r.strike(bytes.Clone(c.request))
		} else if strikes == nil {
			strikes = r
		}
	}
	return strikes, bytes.Clone(c.request)
}

// begin passes on the first bytes of a request, whose rest follows part.
func (c *conn) begin(part []byte, n int) {
	b := make([]byte, chunk)
	for n > 0 {
		now := part[:min(n, len(part))]
		if !send(c.server, now) {
			return
		}
		if n -= len(now); n == 0 {
			return
		}
		read, err := c.client.Read(b)
		if err != nil {
			return
		}
		part = b[:read]
	}
}

// late reads a request of HTTP whole, waits until the client is gone and Delay
// has passed, and sends it then.
func (c *conn) late(r *Rule, request []byte) {
	all, err := whole(c.client, request)
	if err != nil {
		return
	}
	r.strike(request)
	_, _ = c.client.Read(make([]byte, 1)) // ends with the client
	select {
	case <-time.After(r.Delay):
	case <-r.ended:
	}
	c.proxy.mu.Lock()
	target := c.proxy.target
	c.proxy.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if send(server, all) {
		_ = server.SetReadDeadline(time.Now().Add(dialTimeout))
		_, _ = server.Read(make([]byte, chunk)) // so that it has had all of it
	}
}

// answers passes on what the server sends.
func (c *conn) answers() {
	defer c.close()
	b := make([]byte, chunk)
	for {
		n, err := c.server.Read(b)
		if n > 0 && !c.back(b[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *conn) back(part []byte) (ok bool) {
	c.mu.Lock()
	r, request := c.answer, bytes.Clone(c.request)
	interim := bytes.HasPrefix(part, []byte("HTTP/1.1 100 "))
	if !interim {
		c.request, c.answer = c.request[:0], nil
	}
	c.mu.Unlock()
	if r == nil || interim {
		return send(c.client, part)
	}
	r.strike(request)
	switch r.Do {
	case LoseAnswer:
		return false
	case EditAnswer:
		r.Edit(part)
		return send(c.client, part)
	}
	select {
	case <-time.After(r.Delay):
	case <-r.ended:
	}
	return send(c.client, part)
}

func send(to net.Conn, b []byte) (ok bool) {
	_, err := to.Write(b)
	return err == nil
}
