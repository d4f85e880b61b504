package dispatcher_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// finished waits until all conversions are done or failed.
func (w *world) finished(ids []string) (done int) {
	w.Helper()
	for _, id := range ids {
		w.until(id+" is over", func() bool { return w.read(id).State.Terminal() })
		if w.read(id).State == conversion.Done {
			done++
		}
	}
	return done
}

// wantOrder checks that no attempt was started twice, that attempt numbers only
// grew, and that no GPU was requested after a conversion had fallen back to a
// CPU.
func (w *world) wantOrder() {
	w.Helper()
	w.launcher.mu.Lock()
	defer w.launcher.mu.Unlock()
	last := map[string]launch.Attempt{}
	for _, a := range w.launcher.order {
		before, again := last[a.ConversionID]
		if a.Attempt <= before.Attempt {
			w.Errorf("attempt %s was started after attempt %d", a, before.Attempt)
		}
		if again && before.Class == conversion.CPU && a.Class == conversion.GPU {
			w.Errorf("attempt %s was started on a GPU after one on a CPU", a)
		}
		last[a.ConversionID] = a
	}
}

func (w *world) upload(n int) (ids []string) {
	w.Helper()
	for i := range n {
		ids = append(ids, w.uploaded(fmt.Sprint("owner-", i%3)).ID)
	}
	return ids
}

// The queue loses everything, twice, while fifty conversions are on their way.
func TestQueueWiped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var launched atomic.Int64
	wiped := make(chan struct{})
	w.launcher.set(func(l *launcher) {
		l.script = func(a *agent) launch.End {
			if launched.Add(1) > 20 {
				<-wiped
			}
			return finish(a)
		}
	})
	ids := w.upload(30)
	w.run()
	w.until("the work is half done", func() bool { return launched.Load() > 20 })
	ids = append(ids, w.upload(10)...)
	w.redis.FlushAll()
	ids = append(ids, w.upload(10)...)
	w.redis.FlushAll()
	close(wiped)
	if done := w.finished(ids); done != 50 {
		t.Errorf("%d done", done)
	}
	w.wantOrder()
	for _, id := range ids {
		w.wantMP3(w.read(id))
		w.wantStarts(id, 1)
	}
}

// The records are away for a while, in the middle of everything.
func TestRecordsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shortLease)
	claimed := make(chan struct{}, 100)
	down := make(chan struct{})
	w.launcher.set(func(l *launcher) {
		l.script = func(a *agent) launch.End {
			as, err := a.Claim(a.ctx, a.nonce)
			if err != nil {
				return a.ended(err)
			}
			claimed <- struct{}{}
			<-down
			return a.deliver(as)
		}
	})
	ids := w.upload(12)
	w.run()
	for range 4 {
		<-claimed
	}
	late := w.create("owner", int64(len(source)))
	w.put(late.Object.Key, source)
	w.records.before.always()
	close(down) // four attempts try to report
	if got := w.event(late.Object.Key); got != 503 {
		t.Errorf("event answered %d", got)
	}
	w.until("everybody has tried in vain", func() bool { return w.records.before.failed.Load() > 20 })
	w.records.before.never()
	w.tell(late.Object.Key)
	ids = append(ids, late.ID)
	if done := w.finished(ids); done != len(ids) {
		t.Errorf("%d done", done)
	}
	w.wantOrder()
	for _, id := range ids {
		c := w.read(id)
		w.wantMP3(c)
		if c.Failures != 0 {
			t.Errorf("%d failures counted", c.Failures)
		}
	}
}

const allPatience = 3 * patience // for all files of a test that runs beside other tests

// chance is a source of randomness for several goroutines.
type chance struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (c *chance) of(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(n)
}

// Anything may go wrong, and still every upload ends as it should, with one
// MP3. Each of several owners has launches of their own; with a single owner
// launches go on with further files.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	t.Run("four owners", func(t *testing.T) { testRandomFaults(t, 4, 30) })
	t.Run("one owner", func(t *testing.T) { testRandomFaults(t, 1, 15) })
}

func testRandomFaults(t *testing.T, owners, files int) { //nolint:funlen // one run: its faults share dice, clock and what is counted at the end
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TONEARM_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("TestRandomFaults: TONEARM_TEST_SEED=%d\n", seed)
	dice := &chance{r: rand.New(rand.NewPCG(seed, 0))}
	w := newWorld(t, shortLease, withGPU, func(o *dispatcher.Options) { o.Policy.MaxLaunches, o.MaxFilesPerJob = 100, 4 })
	z := &zombies{w: w}
	silent := sync.Map{} // ids of the conversions without sound
	counted := sync.Map{}
	uploaded := make(chan struct{}) // closed when all files are there that launches may go on with
	if owners > 1 {
		close(uploaded)
	}
	w.launcher.set(func(l *launcher) {
		l.refuse = func(s launch.Spec) error {
			if s.Class == conversion.GPU && dice.of(4) == 0 {
				return launch.ErrBusy
			}
			return nil
		}
		l.script = func(a *agent) launch.End {
			select {
			case <-uploaded:
			case <-a.ctx.Done():
			}
			if a.Class == conversion.GPU && dice.of(6) == 0 {
				return launch.End{Reason: launch.NotStarted}
			}
			if _, ok := silent.Load(a.ConversionID); ok && dice.of(2) == 0 {
				return fail(true)(a)
			}
			n, _ := counted.LoadOrStore(a.ConversionID, new(atomic.Int64))
			failures := n.(*atomic.Int64)
			if a.Attempt > 10 {
				return finish(a)
			}
			roll := dice.of(100)
			if roll < 20 && failures.Add(1) >= int64(policy.MaxAttempts) {
				return finish(a)
			}
			switch {
			case roll < 8:
				return crash(a)
			case roll < 14:
				return fail(false)(a)
			case roll < 20:
				return launch.End{Reason: launch.OutOfMemory} // before it claims
			case roll < 28:
				return vanish(a)
			case roll < 32:
				return launch.End{Reason: vanished} // before it claims
			case roll < 48:
				return z.late(a)
			case roll < 55:
				return twice(a)
			}
			return finish(a)
		}
		l.carried = func(a *agent, as attempt.Assignment) launch.End {
			roll := dice.of(100)
			if a.Attempt > 10 {
				roll = 100
			}
			_, mute := silent.Load(a.ConversionID)
			switch {
			case mute && roll < 50:
				return a.fail(true)
			case roll < 8:
				return launch.End{Reason: launch.Killed}
			case roll < 16:
				return launch.End{Reason: vanished}
			case roll < 26:
				return z.after(a, as)
			case roll < 35:
				return a.again(as)
			}
			return a.deliver(as)
		}
	})
	w.run()
	var all []conversion.Conversion
	send := func(i int) {
		at := w.clock.Now()
		lost := dice.of(4) == 0
		if lost { // awaited for so long that the sweep looks at once
			at = at.Add(-31 * time.Second)
		}
		options := conversion.Options{}
		if i%2 == 0 {
			options.Cover = conversion.CoverPoster
		}
		c, err := conversion.New(conversion.Params{
			OwnerID: fmt.Sprint("owner-", i%owners), OwnerEmail: "owner@example.org", Filename: "video.mp4",
			Size: int64(len(source)), UploadWindow: time.Hour, Options: options,
		}, at)
		w.must(err)
		if i%6 == 5 {
			silent.Store(c.ID, true)
		}
		all = append(all, c)
		w.must(w.records.Store.Create(t.Context(), c))
		w.put(c.Object.Key, source)
		for !lost && w.event(c.Object.Key) != 200 { // the store sends it again
		}
	}
	for i := range files {
		send(i)
		w.mischief(dice, all)
	}
	if owners == 1 {
		close(uploaded)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(allPatience)
	for open, rounds := true, 0; open; rounds++ {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("not all are over")
		}
		if rounds < 200 {
			w.mischief(dice, all)
		} else {
			w.records.before.never()
			w.records.after.never()
		}
		open = false
		for _, c := range all {
			open = open || !w.read(c.ID).State.Terminal()
		}
		// On a slow machine each launch may have ended before the next file was
		// there.
		if !open && owners == 1 && len(w.launcher.carriedBy()) == 0 {
			for range files {
				send(len(all))
			}
			open = true
		}
	}
	w.records.before.never()
	w.records.after.never()
	z.wg.Wait() // late results are refused
	w.wantOrder()
	if carried := len(w.launcher.carriedBy()); owners == 1 && carried == 0 {
		t.Error("no launch went on")
	}
	w.clock.advance(policy.URLExpiry + time.Second) // nothing can be stored any more
	for _, c := range all {
		w.until(c.ID+" is clean", func() bool { return w.read(c.ID).CleanAt.IsZero() })
	}
	for _, c := range all {
		c = w.read(c.ID)
		_, mute := silent.Load(c.ID)
		switch {
		case c.State == conversion.Done && !mute:
			w.wantMP3(c)
		case c.State == conversion.Done, c.State == conversion.Failed && mute && c.Error.Code == conversion.CodeNoAudio:
		default:
			t.Errorf("%s is %s after %d attempts, %d failures, %v", c.ID, c.State, c.Attempt, c.Failures, c.Error)
		}
		if got := len(w.keys(c.MP3Folder())); c.State == conversion.Failed && got != 0 {
			t.Errorf("%s failed and has %d MP3s", c.ID, got)
		}
	}
}

// mischief does something bad, sometimes.
func (w *world) mischief(dice *chance, all []conversion.Conversion) {
	w.Helper()
	switch roll := dice.of(300); {
	case roll < 30:
		w.event(all[dice.of(len(all))].Object.Key) // again
	case roll < 36:
		w.redis.FlushAll()
	case roll < 42:
		w.launcher.set(func(l *launcher) { l.mortal = dice.of(2) == 0 })
		w.options.MaxJobs = map[conversion.Class]int{conversion.CPU: 4, conversion.GPU: dice.of(3)}
		w.restart()
	case roll < 48:
		w.tire(all[dice.of(len(all))].ID)
	case roll < 66:
		var left atomic.Int64
		left.Store(int64(dice.of(15)))
		fails := func() bool { return left.Add(-1) >= 0 }
		if roll%2 == 0 {
			w.records.before.fails.Store(&fails)
		} else {
			w.records.after.fails.Store(&fails)
		}
	}
}

// tire makes a conversion that waits for a GPU look as if it has waited long
// enough. (The clock does not move, because Redis has its own.)
func (w *world) tire(id string) {
	w.Helper()
	_, err := w.records.Store.Update(w.Context(), id, func(c *conversion.Conversion) error {
		if c.State != conversion.Queued || c.Class != conversion.GPU {
			return conversion.ErrUnchanged
		}
		c.QueuedAt, c.WakeAt = c.QueuedAt.Add(-gpuWait), c.CreatedAt
		return nil
	})
	w.must(err)
}

// twice reports its result twice.
func twice(a *agent) launch.End {
	as, err := a.Claim(a.ctx, a.nonce)
	if err != nil {
		return a.ended(err)
	}
	return a.again(as)
}

// again reports its result once before it does what a transcoder does, and
// ignores the answer.
func (a *agent) again(as attempt.Assignment) launch.End {
	r := a.result()
	r.NextNonce = a.nextNonce()
	if err := store(a.ctx, as.Target, a.mp3()); err != nil {
		return exited(attempt.ExitFailed)
	}
	if _, err := a.Result(a.ctx, r); err != nil {
		return a.ended(err)
	}
	return a.report(a.result(), attempt.ExitDone)
}

// zombies are attempts that go on although their launcher lost them.
type zombies struct {
	w  *world
	wg sync.WaitGroup
}

// late claims, is reported lost, and delivers once another attempt has begun
// or the conversion is over.
func (z *zombies) late(a *agent) launch.End {
	as, err := a.Claim(a.ctx, a.nonce)
	if err != nil {
		return a.ended(err)
	}
	return z.after(a, as)
}

// after does what late does, for an attempt that is claimed.
func (z *zombies) after(a *agent, as attempt.Assignment) launch.End {
	z.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*allPatience)
		defer cancel()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			c, err := z.w.records.Store.ByID(ctx, a.ConversionID)
			if err != nil || c.State.Terminal() || c.Attempt > a.Attempt {
				break
			}
			<-tick.C
		}
		if err := store(ctx, as.Target, a.mp3()); err != nil {
			z.w.Errorf("late PUT: %v", err)
			return
		}
		if _, err := a.Result(ctx, a.result()); err == nil {
			z.w.Errorf("the late result of %s was taken", a.Spec)
		}
	})
	return launch.End{Reason: launch.Disrupted}
}
