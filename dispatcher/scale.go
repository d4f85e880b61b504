package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
)

// allowed returns how many attempts of class may run at a time, given those
// that run. It is the only place that decides this.
func (d *Dispatcher) allowed(ctx context.Context, class conversion.Class, running []launch.Attempt) (int, error) {
	limit := d.breakers[class].allowed(d.o.MaxJobs[class], len(running), d.o.Now())
	if d.o.Target <= 0 || len(running) == 0 || limit == 0 {
		return limit, nil
	}
	depth, err := d.o.Queue.Depth(ctx, queue.Class(class))
	if err != nil {
		return 0, fmt.Errorf("count waiting work of class %s: %w", class, err)
	}
	left, err := d.left(ctx, class, running)
	if err != nil {
		return 0, err
	}
	return jobs(backlog{
		queued: d.pace[class].of(max(int(depth.Waiting), 1), depth.WaitingSize), // at least one, because one may come at any moment
		left:   left, age: depthAge(depth, d.o.Now()),
	}, d.o.Target, limit), nil
}

// depthAge returns how long the oldest message has waited.
func depthAge(depth queue.Depth, now time.Time) time.Duration {
	if depth.WaitingSince.IsZero() {
		return 0
	}
	return max(0, now.Sub(depth.WaitingSince))
}

// running lists the running attempts of class.
func (d *Dispatcher) running(ctx context.Context, class conversion.Class) ([]launch.Attempt, error) {
	running, err := d.o.Launcher.Running(ctx)
	if err != nil {
		return nil, fmt.Errorf("count running attempts: %w", err)
	}
	return slices.DeleteFunc(running, func(a launch.Attempt) bool { return a.Class != class }), nil
}

// left predicts how much work is left in running attempts.
func (d *Dispatcher) left(ctx context.Context, class conversion.Class, running []launch.Attempt) (time.Duration, error) {
	now := d.o.Now()
	if err := d.know(ctx, class, running); err != nil {
		return 0, err
	}
	return d.pace[class].leftOf(running, now), nil
}

// know notes the running attempts that another replica launched.
func (d *Dispatcher) know(ctx context.Context, class conversion.Class, running []launch.Attempt) error {
	p := d.pace[class]
	for _, ref := range p.unknown(running) {
		c, err := d.o.Records.ByID(ctx, ref.ConversionID)
		if err != nil && !errors.Is(err, conversion.ErrNotFound) {
			return fmt.Errorf("look up running attempt %s: %w", ref, err)
		}
		p.began(ref, c.OwnerID, c.Object.Size, c.StartedAt)
	}
	return nil
}

// backlog is the work of one class at a moment.
type backlog struct {
	queued time.Duration // work in the messages that wait
	left   time.Duration // work in the attempts that run
	age    time.Duration // of the oldest message that waits
}

// jobs returns how many attempts may run at a time so that the backlog is done
// within target, counted from the arrival of its oldest message: at least one,
// at most limit. As that message grows older, the time that is left shrinks,
// down to a tenth of target. If the number depended only on the length of the
// queue, it would shrink with the queue, and the last files would be left to a
// few attempts.
func jobs(b backlog, target time.Duration, limit int) int {
	if target <= 0 {
		return limit
	}
	n := math.Ceil((b.queued + b.left).Seconds() / max(target-b.age, target/10).Seconds())
	return int(min(max(n, 1), float64(limit)))
}

// pace predicts how long attempts take, from those that ended: a straight line
// through seconds by size, fitted by least squares that forget.
type pace struct {
	mu              sync.Mutex
	n, x, y, xx, xy float64 // weighted sums over observations: of sizes (MB), seconds and their products
	underway        map[conversion.AttemptRef]underway
}

// underway is an attempt that runs.
type underway struct {
	owner string
	size  int64 // bytes of its source
	began time.Time
}

const (
	forget      = 0.98 // weight of all earlier observations when a new one comes
	shortestJob = 500 * time.Millisecond
	longestJob  = 24 * time.Hour
)

// newPace starts from what an attempt takes on a small machine: three seconds,
// and one for each 20 MB.
func newPace() *pace {
	p := &pace{underway: map[conversion.AttemptRef]underway{}}
	for _, mb := range []float64{1, 10, 100, 1000} {
		p.observe(int64(mb*1e6), time.Duration((3+mb/20)*float64(time.Second)))
	}
	return p
}

// observe learns from an attempt: the size of its source in bytes, and how long
// it took.
func (p *pace) observe(size int64, took time.Duration) {
	x, y := float64(size)/1e6, took.Seconds()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n, p.x, p.y, p.xx, p.xy = p.n*forget+1, p.x*forget+x, p.y*forget+y, p.xx*forget+x*x, p.xy*forget+x*y
}

// line returns seconds for an empty file and for each further MB; neither is
// negative.
func (p *pace) line() (base, perMB float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if spread := p.n*p.xx - p.x*p.x; spread > 1e-9*p.n*p.xx {
		perMB = max(0, (p.n*p.xy-p.x*p.y)/spread)
	}
	base = (p.y - perMB*p.x) / p.n
	if base < 0 { // then the line goes through the origin
		return 0, p.xy / p.xx
	}
	return base, perMB
}

// of predicts how long n attempts take, one after the other, for size bytes in
// all.
func (p *pace) of(n int, size int64) time.Duration {
	base, perMB := p.line()
	seconds := base*float64(n) + perMB*float64(size)/1e6
	low, high := shortestJob.Seconds()*float64(n), longestJob.Seconds()*float64(max(n, 1))
	return time.Duration(min(max(seconds, low), high) * float64(time.Second))
}

// left predicts how much longer an attempt takes that has run for the time ran.
// If it should be over by now, it is given another tenth of its time.
func (p *pace) left(size int64, ran time.Duration) time.Duration {
	all := p.of(1, size)
	return max(all-ran, all/10)
}

// began notes an attempt that runs, for an owner's source of size bytes.
func (p *pace) began(ref conversion.AttemptRef, owner string, size int64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underway[ref] = underway{owner, size, at}
}

// owners counts the running attempts of each owner.
func (p *pace) owners(running []launch.Attempt) map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	owners := map[string]int{}
	for _, a := range running {
		owners[p.underway[a.AttemptRef].owner]++
	}
	return owners
}

// over forgets an attempt that no longer runs. If done says that it made an
// MP3, over also learns how long an attempt needs its place, including the
// start and the end of its launch.
func (p *pace) over(ref conversion.AttemptRef, at time.Time, done bool) {
	p.mu.Lock()
	u, known := p.underway[ref]
	delete(p.underway, ref)
	p.mu.Unlock()
	if known && done {
		p.observe(u.size, at.Sub(u.began))
	}
}

// unknown returns those of running that were not noted yet, and forgets noted
// attempts that no longer run.
func (p *pace) unknown(running []launch.Attempt) []conversion.AttemptRef {
	p.mu.Lock()
	defer p.mu.Unlock()
	var refs []conversion.AttemptRef
	known := make(map[conversion.AttemptRef]underway, len(running))
	for _, a := range running {
		if u, ok := p.underway[a.AttemptRef]; ok {
			known[a.AttemptRef] = u
		} else {
			refs = append(refs, a.AttemptRef)
		}
	}
	p.underway = known
	return refs
}

// leftOf predicts how much work is left in the running attempts.
func (p *pace) leftOf(running []launch.Attempt, now time.Time) time.Duration {
	var sum time.Duration
	for _, a := range running {
		p.mu.Lock()
		u := p.underway[a.AttemptRef]
		p.mu.Unlock()
		sum += p.left(u.size, now.Sub(u.began))
	}
	return sum
}
