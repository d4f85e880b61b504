package dispatcher

import (
	"math/rand/v2"
	"testing"
	"time"

	"tonearm/internal/conversion"
)

func TestJobs(t *testing.T) {
	const target = 10 * time.Minute
	for _, test := range []struct {
		name  string
		b     backlog
		limit int
		want  int
	}{
		{"nothing", backlog{}, 8, 1},
		{"a little", backlog{queued: time.Second}, 8, 1},
		{"exactly one", backlog{queued: target}, 8, 1},
		{"a bit more than one", backlog{queued: target + time.Second}, 8, 2},
		{"what runs counts", backlog{queued: time.Second, left: 3 * target}, 8, 4},
		{"half of the time is over", backlog{queued: 2 * target, age: target / 2}, 8, 4},
		{"all of the time is over", backlog{queued: target / 10, age: target}, 8, 1},
		{"long over", backlog{queued: target / 2, age: 5 * target}, 8, 5},
		{"more than there may be", backlog{queued: 100 * target}, 8, 8},
		{"absurdly much", backlog{queued: 1<<63 - 1}, 8, 8},
		{"off", backlog{}, 0, 0},
	} {
		if got := jobs(test.b, target, test.limit); got != test.want {
			t.Errorf("%s: %d jobs, want %d", test.name, got, test.want)
		}
	}
	if got := jobs(backlog{}, 0, 7); got != 7 {
		t.Errorf("without a target: %d jobs, want all 7", got)
	}
}

func TestPace(t *testing.T) {
	p := newPace()
	if got := p.of(1, 100e6); got < 5*time.Second || got > 12*time.Second {
		t.Errorf("before anything was seen: %s for 100 MB", got)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		mb := 1 + 99*random.Float64()
		took := (1.5 + 0.25*mb) * (0.9 + 0.2*random.Float64())
		p.observe(int64(mb*1e6), time.Duration(took*float64(time.Second)))
	}
	for mb, want := range map[float64]float64{0: 1.5, 50: 14, 100: 26.5} {
		got := p.of(1, int64(mb*1e6)).Seconds()
		if got < 0.9*want-0.5 || got > 1.1*want+0.5 {
			t.Errorf("%v MB: %.2f s, want about %.2f", mb, got, want)
		}
	}
	if got, want := p.of(10, 500e6), 10*p.of(1, 50e6); (got - want).Abs() > time.Millisecond {
		t.Errorf("ten files: %s, one by one: %s", got, want)
	}
	for range 500 { // all of one size, and quicker than before
		p.observe(40e6, 2*time.Second)
	}
	if got := p.of(1, 40e6); got < 1900*time.Millisecond || got > 2100*time.Millisecond {
		t.Errorf("after 500 files of 40 MB in 2 s each: %s", got)
	}
	for _, size := range []int64{0, 1, 1 << 50} {
		if got := p.of(1, size); got < shortestJob || got > longestJob {
			t.Errorf("%d bytes: %s", size, got)
		}
	}
	if got := p.left(40e6, time.Hour); got <= 0 || got > time.Second {
		t.Errorf("left of a file of 2 s after an hour: %s", got)
	}
}

// TestScaling plays bursts on a clock of its own. As many attempts run as jobs
// says, each for as long as its file needs, and the predictions are learnt on
// the way.
func TestScaling(t *testing.T) {
	const target = 20 * time.Minute
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		size := func() int64 { return int64(1e6 * (1 + 99*random.Float64()*random.Float64())) } // the largest is 100 times the smallest
		took := func(size int64) time.Duration {                                                // at most a twelfth of the target
			return time.Duration(float64(target/12) * (0.05 + 0.95*float64(size)/100e6) * (0.8 + 0.2*random.Float64()))
		}
		type file struct {
			size  int64
			start time.Duration
			end   time.Duration
		}
		var queue, running []file
		var bytes int64
		for range 200 {
			f := file{size: size()}
			queue, bytes = append(queue, f), bytes+f.size
		}
		p, most := newPace(), 0
		now := time.Duration(0)
		for ; len(queue)+len(running) > 0; now += 250 * time.Millisecond {
			still := running[:0]
			for _, f := range running {
				if now < f.end {
					still = append(still, f)
				} else {
					p.observe(f.size, f.end-f.start)
				}
			}
			running = still
			for len(queue) > 0 {
				b := backlog{queued: p.of(len(queue), bytes), age: now}
				for _, f := range running {
					b.left += p.left(f.size, now-f.start)
				}
				if len(running) >= jobs(b, target, 200) {
					break
				}
				f := queue[0]
				queue, bytes = queue[1:], bytes-f.size
				f.start, f.end = now, now+took(f.size)
				running = append(running, f)
				most = max(most, len(running))
			}
		}
		if now > target*5/4 {
			t.Errorf("seed %d: drained after %s, %.2f of the target", seed, now, now.Seconds()/target.Seconds())
		}
		if most > 60 {
			t.Errorf("seed %d: %d at a time", seed, most)
		}
		t.Logf("seed %d: drained after %.2f of the target, at most %d at a time", seed, now.Seconds()/target.Seconds(), most)
	}
}

// TestPaceOver: an attempt counts for the prediction once, when it ends, and
// only if it made an MP3.
func TestPaceOver(t *testing.T) {
	began := time.Now()
	p, ref := newPace(), conversion.AttemptRef{ConversionID: "c", Attempt: 1}
	learnt := func(done bool) bool {
		before := p.n
		p.over(ref, began.Add(time.Hour), done)
		return p.n != before
	}
	if learnt(true) {
		t.Error("learnt from an attempt that nobody knew")
	}
	p.began(ref, "u", 1e6, began)
	if learnt(false) {
		t.Error("learnt from a failure")
	}
	p.began(ref, "u", 1e6, began)
	if !learnt(true) || p.of(1, 1e6) < time.Minute {
		t.Errorf("not learnt: %s", p.of(1, 1e6))
	}
	if learnt(true) || len(p.underway) != 0 {
		t.Error("not forgotten")
	}
}
