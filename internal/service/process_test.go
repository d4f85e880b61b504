package service_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/service"
)

var quiet = slog.New(slog.DiscardHandler)

// diary notes what happened, in order.
type diary struct {
	mu    sync.Mutex
	notes []string
}

func (d *diary) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, s)
}

func (d *diary) wrote() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.notes)
}

// part notes its start, and its end one second after it was told to stop.
func (d *diary) part(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		d.note("start " + name)
		<-ctx.Done()
		time.Sleep(time.Second) // on the bubble's clock: cleaning up takes time
		d.note("end " + name)
		return nil
	}
}

func run(ctx context.Context, p *service.Process) (ended <-chan error) {
	ch := make(chan error, 1)
	go func() { ch <- p.Run(ctx) }()
	return ch
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestProcessOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var up atomic.Bool
		p := service.NewProcess(quiet)
		p.Add("a", d.part("a"))
		p.Await("neighbour", func(context.Context) error {
			if !up.Load() {
				return errors.New("down")
			}
			d.note("neighbour is there")
			return nil
		})
		p.Add("b", d.part("b"))
		p.Await("another", func(context.Context) error { return nil })
		p.Add("c", d.part("c"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := run(ctx, p)

		time.Sleep(time.Minute)
		equal(t, "before the neighbour is there", d.wrote(), []string{"start a"})
		if got := p.Health.Failing(t.Context())["process"]; got != "starting" {
			t.Errorf("while waiting the process is %q", got)
		}
		up.Store(true)
		time.Sleep(10 * time.Second) // longer than the longest pause
		if got := p.Health.Failing(t.Context()); len(got) > 0 {
			t.Errorf("running, but failing %v", got)
		}
		started := d.wrote()
		slices.Sort(started[2:]) // b and c may begin to work in either order
		equal(t, "started", started, []string{"start a", "neighbour is there", "start b", "start c"})

		cancel()
		synctest.Wait()
		if got := p.Health.Failing(t.Context())["process"]; got != "stopping" {
			t.Errorf("while stopping the process is %q", got)
		}
		if err := <-ended; err != nil {
			t.Errorf("an orderly stop returned %v", err)
		}
		equal(t, "ended", d.wrote()[4:], []string{"end c", "end b", "end a"})
	})
}

func TestProcessPartEndsEarly(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct{ returned, want error }{
		"with an error": {broken, broken},
		"without one":   {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				p := service.NewProcess(quiet)
				p.Add("a", d.part("a"))
				p.Add("b", func(context.Context) error {
					time.Sleep(time.Hour)
					return c.returned
				})
				p.Add("c", d.part("c"))
				err := p.Run(t.Context())
				if err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v, want one of b that wraps %v", err, c.want)
				}
				equal(t, "ended", d.wrote()[2:], []string{"end c", "end a"})
			})
		})
	}
}

// A part that could not start keeps the parts after it from starting.
func TestProcessEndsWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		broken := errors.New("address in use")
		p := service.NewProcess(quiet)
		p.Add("a", func(context.Context) error { return broken })
		p.Await("neighbour", func(ctx context.Context) error {
			time.Sleep(time.Second)
			return nil // whatever became of ctx
		})
		p.Await("another", func(context.Context) error { d.note("asked"); return nil })
		p.Add("b", d.part("b"))
		if err := p.Run(t.Context()); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
		equal(t, "after the failure", d.wrote(), nil)
	})
}

func TestProcessStoppedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		p := service.NewProcess(quiet)
		p.Add("a", d.part("a"))
		p.Await("neighbour", func(context.Context) error { return errors.New("down") })
		p.Add("b", d.part("b"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := run(ctx, p)
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("an orderly stop returned %v", err)
		}
		equal(t, "notes", d.wrote(), []string{"start a", "end a"})
	})
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Duration
		start := time.Now()
		err := service.Await(t.Context(), quiet, "store", func(ctx context.Context) error {
			tries = append(tries, time.Since(start))
			if len(tries) == 2 { // a hanging try is given up
				<-ctx.Done()
				return ctx.Err()
			}
			if len(tries) < 12 {
				return errors.New("down")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if tries[0] != 0 || tries[1] > 200*time.Millisecond || tries[2]-tries[1] < 10*time.Second {
			t.Errorf("first tries after %v", tries[:3])
		}
		if last := tries[11] - tries[10]; last < 5*time.Second || last > 7*time.Second {
			t.Errorf("the last pause was %v, want about 5 s", last)
		}
	})
}

// A preparation has all the time it needs, and ends with the process.
func TestPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		p := service.NewProcess(quiet)
		tries := 0
		p.Prepare("indexes", func(ctx context.Context) error {
			if tries++; tries == 1 {
				return errors.New("down")
			}
			service.Wait(ctx, time.Hour)
			d.note("prepared")
			return ctx.Err()
		})
		p.Add("a", d.part("a"))
		p.Prepare("more indexes", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := run(ctx, p)
		time.Sleep(2 * time.Hour)
		equal(t, "after two hours", d.wrote(), []string{"prepared", "start a"})
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("an orderly stop returned %v", err)
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		service.Wait(t.Context(), time.Minute)
		if took := time.Since(start); took < time.Minute || took > 75*time.Second {
			t.Errorf("waited %v for a minute", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		service.Wait(ctx, time.Minute)
		service.Wait(t.Context(), 0)
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %v although the context ended after a second", took)
		}
	})
}

// A handler that waits for something answers as soon as its server stops.
func TestStopping(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(waiting)
		<-service.Stopping(r.Context())
		if r.Context().Err() == nil {
			w.Write([]byte("answered"))
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- service.HTTP(l, handler, time.Minute, service.Limits{}, quiet)(ctx) }()
	go func() { <-waiting; stop() }()
	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "answered" {
		t.Errorf("%q, %v", body, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []time.Time
		ctx, cancel := context.WithCancel(t.Context())
		service.Repeat(ctx, quiet, "working", func(context.Context) error {
			steps = append(steps, time.Now())
			switch n := len(steps); {
			case n == 20:
				cancel()
				return ctx.Err()
			case n < 3 || n == 15:
				return nil
			}
			return errors.New("down")
		})
		if len(steps) != 20 {
			t.Fatalf("%d steps", len(steps))
		}
		pause := func(n int) time.Duration { return steps[n].Sub(steps[n-1]) } // before step n, from 0
		for _, c := range []struct {
			n        int
			from, to time.Duration
		}{
			{1, 0, 0}, {2, 0, 0}, // no pause while it works
			{3, 100 * time.Millisecond, 125 * time.Millisecond},
			{4, 200 * time.Millisecond, 250 * time.Millisecond},
			{13, 5 * time.Second, 6250 * time.Millisecond},
			{15, 0, 0}, // it worked
			{16, 100 * time.Millisecond, 125 * time.Millisecond},
		} {
			if got := pause(c.n); got < c.from || got > c.to {
				t.Errorf("pause before step %d: %v, want %v to %v", c.n, got, c.from, c.to)
			}
		}
	})
}

// A shutdown during the pause ends it.
func TestRepeatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cause := range []func(context.Context) (context.Context, context.CancelFunc){
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Minute, cancel)
				return ctx, cancel
			},
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Minute)
			},
		} {
			ctx, cancel := cause(t.Context())
			start := time.Now()
			service.Repeat(ctx, quiet, "working", func(context.Context) error { return errors.New("down") })
			if took := time.Since(start); took != time.Minute {
				t.Errorf("ended after %v", took)
			}
			cancel()
		}
	})
}
