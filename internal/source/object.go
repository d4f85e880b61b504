package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tonearm/internal/retry"
)

// Errors after which no further try can help.
var (
	ErrMissing  = errors.New("source: the object is gone")
	ErrChanged  = errors.New("source: the object was replaced by another")
	ErrNoRanges = errors.New("source: the store did not answer with the range asked for")
)

// ErrUnavailable means that the store could not be reached for as long as
// Patience.
var ErrUnavailable = errors.New("source: the object store could not be reached")

// Options say what is read and how.
type Options struct {
	// Request makes a GET request for the whole object, which may be presigned.
	// refused means that the store did not accept the last one. There is only
	// one call at a time.
	Request func(ctx context.Context, refused bool) (*http.Request, error)
	Size    int64        // of the object in bytes, > 0
	ETag    string       // without quotes; if '', the ETag of the first answer is used
	HTTP    *http.Client // see NewClient; it follows no redirects
	Mode    Mode
	// Connections is how many requests run at the same time, 1–64; default
	// DefaultConnections.
	Connections int
	// Patience is how long no byte at all may arrive; default DefaultPatience.
	Patience time.Duration
	// Stall is how long no byte may arrive on one connection; default 1 min.
	Stall    time.Duration
	Received func(bytes int64) // called for all bytes that are read; may be nil
	Retrying func(err error)   // called before a further try; may be nil
}

// Mode is how a track's audio is read.
type Mode int

// Modes.
const (
	Auto   Mode = iota // the planner chooses
	Sparse             // many small requests
	Plain              // one long answer
)

// Defaults of Options.
const (
	DefaultConnections = 32
	DefaultPatience    = 5 * time.Minute
	defaultStall       = time.Minute
)

// Limits of what is read at the same time.
const (
	maxConnections = 64
	maxRange       = 1 << 20   // bytes of one request
	maxWanted      = 512 << 10 // bytes of one request that are wanted
	maxAhead       = 32 << 20  // bytes of audio asked for or held that nobody has taken
	maxParts       = 1024      // parts that hold this audio
)

// Object is one source.
type Object struct {
	o Options

	mu      sync.Mutex // held while a request is renewed
	request *http.Request
	renewed int // how often a request was renewed

	etag     atomic.Pointer[string] // with quotes; nil until known
	lastByte atomic.Int64           // when a byte last came in, in ns since 1970

	index pieces
	found found
	stats counters
	link  link
}

func newObject(o Options) (*Object, error) {
	if o.Request == nil || o.HTTP == nil || o.Size <= 0 || o.Connections < 0 || o.Connections > maxConnections {
		return nil, errors.New("source: options need Request, HTTP, Size, and at most 64 Connections")
	}
	if o.Patience < 0 || o.Stall < 0 {
		return nil, errors.New("source: Patience and Stall must not be negative")
	}
	o.Connections = cmp.Or(o.Connections, DefaultConnections)
	o.Patience = cmp.Or(o.Patience, DefaultPatience)
	o.Stall = cmp.Or(o.Stall, defaultStall)
	if o.Received == nil {
		o.Received = func(int64) {}
	}
	if o.Retrying == nil {
		o.Retrying = func(error) {}
	}
	s := &Object{o: o}
	if o.ETag != "" {
		quoted := `"` + o.ETag + `"`
		s.etag.Store(&quoted)
	}
	s.link.connections = o.Connections
	return s, nil
}

// NewClient returns a client for that many connections. It follows no redirects
// and does not decompress bodies.
func NewClient(connections int) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, connections
	t.ReadBufferSize = 64 << 10
	// Requests over one connection would share the window of that connection.
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ResponseHeaderTimeout = time.Minute
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// current returns the request to send, and its number.
func (s *Object) current(ctx context.Context) (*http.Request, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.request == nil {
		if err := s.renew(ctx, false); err != nil {
			return nil, 0, err
		}
	}
	return s.request.Clone(ctx), s.renewed, nil
}

// refused replaces the request with this number, unless somebody else has
// replaced it.
func (s *Object) refused(ctx context.Context, number int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renewed != number {
		return nil
	}
	return s.renew(ctx, true)
}

func (s *Object) renew(ctx context.Context, refused bool) error {
	r, err := s.o.Request(ctx, refused)
	if err != nil {
		return retry.Permanent(fmt.Errorf("presign the source: %w", err))
	}
	s.request = r
	s.renewed++
	return nil
}

// Stats are figures about what was read.
type Stats struct {
	Path     Path
	Reason   string // why this path was taken, a stable word
	Bytes    int64  // of the bodies of answers
	Requests int64
	Retries  int64
	Audio    int64 // bytes of the track; 0 for a whole object
	Index    int64 // bytes of the moov box; 0 without one
}

// Path is how an object was read.
type Path string

// Paths.
const (
	PathSparse Path = "sparse" // only the audio, and gaps of at most a twentieth of it in all
	PathMixed  Path = "mixed"  // partly plain, or with larger gaps
	PathPlain  Path = "plain"  // one long answer
	PathWhole  Path = "whole"  // all of the object, passed on as it is
)

// Reasons for a path, besides those of package mp4.
const (
	ReasonForced = "forced"     // by Options.Mode
	ReasonBytes  = "less_bytes" // reading only the audio is quicker
	ReasonDense  = "dense"      // one long answer is quicker
	ReasonMixed  = "in_between"
	ReasonHeld   = "held"  // it came with the index
	ReasonAsked  = "asked" // the caller asked for all of the object
)

type counters struct {
	bytes, requests, retries atomic.Int64

	mu     sync.Mutex
	path   Path
	reason string
	audio  int64
}

// Stats returns figures about what was read so far.
func (s *Object) Stats() Stats {
	f := &s.stats
	f.mu.Lock()
	defer f.mu.Unlock()
	return Stats{
		Path: f.path, Reason: f.reason, Audio: f.audio, Index: s.found.moov.End - s.found.moov.Start,
		Bytes: f.bytes.Load(), Requests: f.requests.Load(), Retries: f.retries.Load(),
	}
}

func (f *counters) take(p Path, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.path, f.reason = p, reason
}

// chosen notes how a stream reads from now on.
func (f *counters) chosen(c choice, mode Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == PathWhole {
		return
	}
	path, reason := PathSparse, ReasonBytes
	switch {
	case c.plain:
		path, reason = PathPlain, ReasonDense
	case !c.frugal:
		path, reason = PathMixed, ReasonMixed
	}
	if f.path != "" && f.path != path {
		path = PathMixed
	}
	if mode != Auto {
		reason = ReasonForced
	}
	f.path, f.reason = path, reason
}
