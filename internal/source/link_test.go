package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/media/mp4"
)

// conditions describe a store and the link to it.
type conditions struct {
	size    int64
	latency time.Duration // until an answer begins
	cost    time.Duration // of the store's time for each request
	rate    float64       // bytes per second of all answers together
	single  float64       // bytes per second of one answer, 0 for no limit of its own
	crowd   float64       // share of the rate that several answers get together, 0 for all of it
	blank   bool          // the bytes are not looked at
}

// simulated is a store behind a link, on the clock of a synctest bubble.
type simulated struct {
	conditions

	mu          sync.Mutex
	store, link time.Time // when each of them is free again
	open        int       // answers under way
	down        error     // the answer to everything
}

// at is the byte at an offset.
func at(offset int64) byte { return byte(offset ^ offset>>8 ^ offset>>16) }

// busy returns how long something takes that needs d, including the wait for
// what was asked before. free is moved to its end.
func (s *simulated) busy(free *time.Time, d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if free.Before(now) {
		*free = now
	}
	*free = free.Add(d)
	return free.Sub(now)
}

// transfer returns the time until this many bytes have come over the link.
func (s *simulated) transfer(bytes int64) time.Duration {
	s.mu.Lock()
	d := time.Duration(float64(bytes) / s.rate * 1e9)
	if s.open > 1 && s.crowd > 0 {
		d = time.Duration(float64(d) / s.crowd)
	}
	s.mu.Unlock()
	return s.busy(&s.link, d)
}

func (s *simulated) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.down != nil {
		return nil, s.down
	}
	var from, to int64
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
		return nil, err
	}
	time.Sleep(s.busy(&s.store, s.cost) + s.latency)
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	h := http.Header{"Etag": {`"a"`}, "Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, to, s.size)}}
	return &http.Response{StatusCode: 206, Header: h, ContentLength: to - from + 1, Body: &simulatedBody{s: s, at: from, left: to - from + 1}, Request: r}, nil
}

type simulatedBody struct {
	s        *simulated
	at, left int64
}

func (b *simulatedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), b.left)
	wait := b.s.transfer(n)
	if b.s.single > 0 {
		wait = max(wait, time.Duration(float64(n)/b.s.single*1e9))
	}
	time.Sleep(wait)
	for i := range p[:n] {
		if b.s.blank {
			break
		}
		p[i] = at(b.at + int64(i))
	}
	b.at, b.left = b.at+n, b.left-n
	return int(n), nil
}

func (b *simulatedBody) Close() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.open--
	return nil
}

// video returns the plan and the size of a video of that many seconds. It has
// audio of 128 kbit/s, pictures of mbit Mbit/s, and a run of audio every so
// many seconds.
func video(seconds, mbit, every float64) (mp4.Plan, int64) {
	var p mp4.Plan
	offset := int64(1000)
	audio, picture := int64(16000*every), int64(mbit*1e6/8*every)
	for range int(seconds / every) {
		p.Extents = append(p.Extents, mp4.Extent{Offset: offset, Size: audio})
		p.Bytes += audio
		offset += audio + picture
	}
	return p, offset
}

// simulate reads a plan and returns how long it took.
func simulate(t *testing.T, c conditions, p mp4.Plan, mode Mode) (seconds float64, f Stats) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newSimulated(t, &simulated{conditions: c}, Options{Mode: mode})
		o.link.noteLatency(c.cost + c.latency) // measured when the index was read
		began := time.Now()
		st := o.start(t.Context(), clone(p), mode)
		n, err := io.Copy(io.Discard, st)
		if err != nil || n != p.Bytes {
			t.Errorf("%d bytes, %v; want %d", n, err, p.Bytes)
		}
		seconds, f = time.Since(began).Seconds(), o.Stats()
		st.Close()
	})
	return seconds, f
}

func newSimulated(t *testing.T, s *simulated, o Options) *Object {
	o.Size, o.HTTP = s.size, &http.Client{Transport: s}
	o.Request = func(ctx context.Context, _ bool) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, "http://store/object", nil)
	}
	source, err := newObject(o)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// TestPlanner reads videos over links of every kind. The planner must be about
// as fast as the better of the two ways.
func TestPlanner(t *testing.T) {
	links := map[string]conditions{
		"loopback":      {latency: 100 * time.Microsecond, cost: 450 * time.Microsecond, rate: 1.8e9},
		"1g":            {latency: time.Millisecond, cost: 450 * time.Microsecond, rate: 125e6},
		"200m":          {latency: 10 * time.Millisecond, cost: 450 * time.Microsecond, rate: 25e6},
		"far":           {latency: 80 * time.Millisecond, cost: 450 * time.Microsecond, rate: 125e6, single: 30e6},
		"crowded":       {latency: time.Millisecond, cost: 1200 * time.Microsecond, rate: 117e6, crowd: 0.6},
		"slow requests": {latency: 10 * time.Millisecond, cost: 2 * time.Millisecond, rate: 100e6},
	}
	for name, link := range links {
		for _, mbit := range []float64{0.2, 2, 20, 50} {
			for layout, every := range map[string]float64{"camera": 0.5, "fine": 0.043} {
				t.Run(fmt.Sprintf("%s %g Mbit %s", name, mbit, layout), func(t *testing.T) {
					p, size := video(120, mbit, every)
					s := link
					s.size, s.blank = size, true
					sparse, fs := simulate(t, s, p, Sparse)
					plain, _ := simulate(t, s, p, Plain)
					auto, f := simulate(t, s, p, Auto)
					t.Logf("sparse %.3f s (%d requests), plain %.3f s, auto %.3f s (%s, %s, %d requests, %.2f × audio)", sparse, fs.Requests, plain, auto, f.Path, f.Reason, f.Requests, float64(f.Bytes)/float64(p.Bytes))
					learning := 0.0 // the cost of finding out that requests are expensive
					if name == "slow requests" {
						learning = 0.12
					}
					if auto > 1.05*plain+learning {
						t.Errorf("%.3f s, plain %.3f s", auto, plain)
					}
					if auto > 1.3*sparse+0.2 {
						t.Errorf("%.3f s, sparse %.3f s", auto, sparse)
					}
					if float64(fs.Bytes) > 1.06*float64(p.Bytes) {
						t.Errorf("sparse: %d bytes of %d", fs.Bytes, p.Bytes)
					}
				})
			}
		}
	}
}

// TestWindow: if the window limits one connection but not many, even a whole
// long video is read by many requests.
func TestWindow(t *testing.T) {
	p, size := video(600, 20, 0.043)
	c := conditions{size: size, latency: 20 * time.Millisecond, cost: 1500 * time.Microsecond, rate: 1e9, single: 90e6, blank: true}
	plain, _ := simulate(t, c, p, Plain)
	auto, f := simulate(t, c, p, Auto)
	t.Logf("plain %.3f s, auto %.3f s (%+v)", plain, auto, f)
	if auto > plain/2 || f.Path != PathMixed || f.Reason != ReasonMixed {
		t.Errorf("%.3f s, plain %.3f s: %+v", auto, plain, f)
	}
}

// TestGapsAhead: gaps are thrown away as they are read, so they do not reduce
// what can be read ahead.
func TestGapsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, size := video(120, 20, 0.043)
		o := newSimulated(t, &simulated{conditions: conditions{size: size, latency: time.Millisecond, rate: 1e9, blank: true}}, Options{})
		o.link.rate, o.link.parallel = 1e8, 1e9
		st := o.start(t.Context(), p, Auto)
		defer st.Close()
		time.Sleep(time.Minute)
		if f := o.Stats(); f.Reason != ReasonMixed || f.Bytes < size*9/10 {
			t.Errorf("read %+v of %d bytes", f, size)
		}
	})
}

// TestSlowTaker: a slow taker of the bytes does not distort what is measured of
// the link.
func TestSlowTaker(t *testing.T) {
	for _, mode := range []Mode{Plain, Sparse} {
		synctest.Test(t, func(t *testing.T) {
			p, size := video(3600, 2, 0.5)
			s := &simulated{conditions: conditions{size: size, latency: time.Millisecond, cost: 450 * time.Microsecond, rate: 1e9, blank: true}}
			o := newSimulated(t, s, Options{})
			st := o.start(t.Context(), p, mode)
			defer st.Close()
			for n := int64(1); n > 0; time.Sleep(20 * time.Millisecond) {
				var err error
				if n, err = io.CopyN(io.Discard, st, 16<<10); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			if l := &o.link; l.cost > 1e-3 || l.rate > 0 && l.rate < 0.9e9 {
				t.Errorf("mode %d: learnt that a request takes %g s, %g bytes a second", mode, l.cost, l.rate)
			}
		})
	}
}

// TestChangingLink: if a link becomes slow in the middle, the choice changes.
func TestChangingLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, size := video(600, 2, 0.1)
		s := &simulated{conditions: conditions{size: size, latency: time.Millisecond, cost: 450 * time.Microsecond, rate: 1e9}}
		o := newSimulated(t, s, Options{})
		st := o.start(t.Context(), p, Auto)
		if _, err := io.CopyN(io.Discard, st, p.Bytes/4); err != nil {
			t.Fatal(err)
		}
		if f := o.Stats(); f.Path != PathPlain || f.Reason != ReasonDense {
			t.Fatalf("fast link: %+v", f)
		}
		s.mu.Lock()
		s.rate = 5e6
		s.mu.Unlock()
		if _, err := io.Copy(io.Discard, st); err != nil {
			t.Fatal(err)
		}
		st.Close()
		if f := o.Stats(); f.Path != PathMixed || f.Bytes > size*3/4 {
			t.Errorf("slow link: %+v of %d bytes", f, size)
		}
	})
}

// TestOrder reads pieces of every size in both ways and compares each byte.
func TestOrder(t *testing.T) {
	p := mp4.Plan{Header: []byte("header")}
	offset := int64(5)
	var want []byte
	want = append(want, p.Header...)
	for i := range int64(300) {
		e := mp4.Extent{Offset: offset, Size: 1 + i*i*7%5000}
		if i%50 == 49 {
			e.Size = 3<<20 + i
		}
		for j := range e.Size {
			want = append(want, at(e.Offset+j))
		}
		p.Extents, p.Bytes = append(p.Extents, e), p.Bytes+e.Size
		offset = e.End() + 1 + i*i*131%40000
	}
	for _, mode := range []Mode{Auto, Sparse, Plain} {
		synctest.Test(t, func(t *testing.T) {
			s := &simulated{conditions: conditions{size: offset, latency: time.Millisecond, rate: 1e8}}
			st := newSimulated(t, s, Options{}).start(t.Context(), clone(p), mode)
			got, err := io.ReadAll(st)
			if err != nil || !bytes.Equal(got, want) || st.Size != int64(len(want)) {
				t.Errorf("mode %d: %d bytes of %d (%d promised), %v", mode, len(got), len(want), st.Size, err)
			}
			st.Close()
		})
	}
}

// clone copies a plan, because a stream uses up its plan.
func clone(p mp4.Plan) mp4.Plan {
	p.Extents = append([]mp4.Extent{}, p.Extents...)
	return p
}

// TestReadAhead: if nobody takes the bytes, no more than the limit is read.
func TestReadAhead(t *testing.T) {
	for _, mode := range []Mode{Sparse, Plain} {
		synctest.Test(t, func(t *testing.T) {
			p, size := video(3600, 0.2, 60) // runs of almost a megabyte
			p.Extents = append(p.Extents, mp4.Extent{Offset: size, Size: 1 << 30})
			p.Bytes += 1 << 30
			s := &simulated{conditions: conditions{size: size + 1<<30, latency: time.Millisecond, rate: 1e9}}
			o := newSimulated(t, s, Options{})
			st := o.start(t.Context(), p, mode)
			synctest.Wait()
			time.Sleep(time.Hour)
			if got := o.Stats().Bytes; got > maxAhead+80<<20 || mode == Sparse && got > maxAhead {
				t.Errorf("mode %d: %d bytes read ahead", mode, got)
			}
			st.Close() // ends although much is still being read
			if _, err := st.Read(make([]byte, 10)); !errors.Is(err, errClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// TestPatience: reading gives up when the store has been away for Patience, not
// earlier.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, size := video(10, 2, 0.5)
		s := &simulated{conditions: conditions{size: size, rate: 1e8}, down: errors.New("connection refused")}
		o := newSimulated(t, s, Options{Patience: time.Minute})
		began := time.Now()
		st := o.start(t.Context(), p, Sparse)
		defer st.Close()
		if _, err := io.ReadAll(st); !errors.Is(err, ErrUnavailable) || !errors.Is(err, s.down) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d < time.Minute || d > 2*time.Minute {
			t.Errorf("given up after %v", d)
		}
	})
}
