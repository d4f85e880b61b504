package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"tonearm/internal/client"
	"tonearm/test/faults/proxy"
)

// run is one cell under way.
type run struct {
	*world
	cell  cell
	tones map[string]*tone
	rnd   *rand.Rand
	dice  sync.Mutex // of rnd

	uploads  []*upload
	uploaded sync.WaitGroup
	stop     context.CancelFunc // ends the uploads

	seen   *seen
	before map[string]state
	struck int
	began  time.Time
	ended  time.Time      // of the fault
	red    []string       // what a fault's own flow complains about
	keep   map[string]any // of a fault's steps
	second string         // host:port of another dispatcher
}

const (
	settlePatience = 2 * time.Minute
	strikePatience = time.Minute
	look           = 300 * time.Millisecond // pause between two looks at the servers
)

// do runs a cell from its world's start to its verdict.
func do(ctx context.Context, c cell, p *programs, tones map[string]*tone, logs string) (v verdict, err error) {
	if reason := c.skip(); reason != "" {
		return verdict{}, skipped(reason)
	}
	if c.whole != nil {
		return c.whole(ctx, c, p, tones, logs)
	}
	w, err := openWorld(ctx, p, c.flags, c.skew)
	if err != nil {
		return verdict{}, fmt.Errorf("open a world: %w", err)
	}
	defer w.close()
	defer func() {
		err = errors.Join(err, keepLogs(w.Dir(), logs, c))
	}()
	r := &run{world: w, cell: c, tones: tones, rnd: rand.New(rand.NewPCG(c.seed, 17)), before: map[string]state{}, keep: map[string]any{}}
	defer func() {
		if r.stop != nil {
			r.stop()
			r.uploaded.Wait()
		}
	}()
	if err := r.warm(ctx); err != nil {
		return verdict{}, err
	}
	flow := c.flow
	if flow == nil {
		flow = strike
	}
	r.began = time.Now()
	if err := flow(ctx, r); err != nil {
		return verdict{}, err
	}
	if r.ended.IsZero() {
		r.ended = time.Now()
	}
	r.patient(ctx, c.patience, c.watch)
	return r.verdict(ctx)
}

// skipped is the reason why a cell cannot run here.
type skipped string

func (s skipped) Error() string { return string(s) }

// unfit says how Tonearm does not work before a fault. That is its failure, and
// not one of the servers beside it.
type unfit string

func (u unfit) Error() string { return "Tonearm does not work before the fault: " + string(u) }

// warm converts one file, so that all connections stand and every script of the
// queue has been sent once.
func (r *run) warm(ctx context.Context) error {
	r.add(r.client, "low.mp4", false)
	r.start(ctx)
	r.patient(ctx, settlePatience, 0)
	r.stop()
	if left := r.unsettled(); left != "" {
		return unfit(left)
	}
	for _, name := range names {
		st, err := stateOf(ctx, r.services[name])
		if err != nil {
			return err
		}
		r.before[name] = st
	}
	return nil
}

// begin starts the uploads of a cell.
func (r *run) begin(ctx context.Context) {
	r.seeLimit += seeLimit * time.Duration(r.cell.files/100)
	for i := range r.cell.files {
		r.add(r.client, mix[i%len(mix)], r.cell.parts)
	}
	r.start(ctx)
}

func (r *run) add(c *client.Client, tone string, parts bool) *upload {
	u := &upload{tone: r.tones[tone], key: fmt.Sprintf("file-%d", len(r.uploads)), client: c, parts: parts}
	r.uploads = append(r.uploads, u)
	return u
}

// uploaders is how many clients upload at a time.
const uploaders = 3

// start sends what has not been sent.
func (r *run) start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(ctx)
	work := make(chan *upload, len(r.uploads))
	for _, u := range r.uploads {
		if _, _, _, ended := u.state(); !ended {
			work <- u
		}
	}
	close(work)
	for range max(uploaders, r.cell.uploaders) {
		r.uploaded.Go(func() {
			for u := range work {
				u.send(ctx)
				pause(ctx, r.cell.gap)
			}
		})
	}
}

// strike is the usual flow: the fault begins at its cut while files are under
// way, lasts, and ends.
func strike(ctx context.Context, r *run) error {
	c, ok := findCut(r.cell.cut)
	if !ok {
		return fmt.Errorf("no cut %q", r.cell.cut)
	}
	if r.cell.prepare != nil {
		if err := r.cell.prepare(ctx, r); err != nil {
			return err
		}
	}
	rule := &proxy.Rule{Match: c.match(r.world), Skip: int(r.cell.seed % 3), Times: 1, Do: proxy.Watch}
	if r.cell.rule != nil {
		rule.Do, rule.Times, rule.Text, rule.Delay, rule.Bytes = r.cell.rule.Do, r.cell.rule.Times, r.cell.rule.Text, r.cell.rule.Delay, r.cell.rule.Bytes
	} else if r.cell.after || r.cell.seed%2 == 0 {
		rule.Do = proxy.HoldAnswer // the server has had the request, and nobody its answer
	}
	struck := make(chan error, 1)
	var once sync.Once
	rule.Strike = func([]byte) {
		once.Do(func() {
			var err error
			if r.cell.begin != nil {
				err = r.cell.begin(ctx, r)
			}
			struck <- err
		})
	}
	remove := r.gate[c.gate].Add(rule)
	defer remove()
	r.begin(ctx)
	select {
	case err := <-struck:
		if err != nil {
			return fmt.Errorf("begin the fault: %w", err)
		}
	case <-time.After(strikePatience):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	r.last(ctx, rule)
	remove()
	r.struck = rule.Struck()
	if r.cell.heal != nil {
		if err := r.cell.heal(ctx, r); err != nil {
			return fmt.Errorf("end the fault: %w", err)
		}
	}
	r.ended = time.Now()
	return nil
}

// last waits while the fault lasts: its time, or until it has struck as often as
// it may.
func (r *run) last(ctx context.Context, rule *proxy.Rule) {
	over := time.After(r.cell.hold)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			if r.cell.rule == nil || r.cell.begin != nil || rule.Struck() < rule.Times {
				continue
			}
			if do := rule.Do; do != proxy.Hang && do != proxy.HoldAnswer { // those last
				return
			}
		}
	}
}

// patient waits until nothing is left to do, for at least the time watch.
func (r *run) patient(ctx context.Context, patience, watch time.Duration) {
	from := time.Now()
	rest := look * time.Duration(1+len(r.uploads)/50) // a look takes longer with more files
	for time.Since(from) < patience && ctx.Err() == nil {
		var earlier map[string]string
		if r.seen != nil {
			earlier = r.seen.sums
		}
		if s, err := r.see(ctx, false, earlier); err == nil {
			r.seen = s
			if r.unsettled() == "" && time.Since(from) >= watch {
				return
			}
		}
		pause(ctx, rest)
	}
}

// unsettled says what is not finished; "" if nothing.
func (r *run) unsettled() string {
	if r.seen == nil {
		return "the servers cannot be read"
	}
	for _, u := range r.uploads {
		_, acked, _, ended := u.state()
		if !ended {
			return "uploads are under way"
		}
		if acked.IsZero() {
			continue
		}
		d, ok := r.seen.document(u.key)
		if !ok || !d.State.Terminal() || d.State == "expired" {
			return "an acknowledged upload is not finished"
		}
		if d.Notice.State == "" {
			return "a notice is missing"
		}
	}
	if left := r.seen.left(r.cell.unknownMails); left != "" {
		return left
	}
	if orphans := r.seen.orphans(r.cell.late); len(orphans) > 0 {
		return "orphans: " + strings.Join(orphans, " ")
	}
	return ""
}

// verdict looks at everything once more and judges.
func (r *run) verdict(ctx context.Context) (verdict, error) {
	for _, u := range r.uploads {
		u.mu.Lock()
		if !u.ended && u.refused == nil {
			u.refused = errors.New("it was still trying")
		}
		u.mu.Unlock()
	}
	if r.cell.check != nil {
		if err := r.cell.check(ctx, r); err != nil {
			return verdict{}, err
		}
	}
	if r.cell.spoil != nil {
		if err := r.cell.spoil(ctx, r); err != nil {
			return verdict{}, err
		}
	}
	s, err := r.see(ctx, true, nil)
	if err != nil {
		return verdict{}, err
	}
	e := evidence{
		seen: s, services: map[string]change{}, ended: r.ended, observed: time.Since(r.began), struck: r.struck,
		secondMails: r.cell.secondMails, unknownMails: r.cell.unknownMails, mayRefuse: r.cell.mayRefuse, late: r.cell.late,
		recovery: r.cell.recovery, lines: r.cell.lines, skew: r.cell.skew, mp3sGo: r.cell.mp3sGo,
	}
	for _, u := range r.uploads {
		e.files = append(e.files, u.file())
	}
	var states []string
	for _, name := range names {
		after, err := stateOf(ctx, r.services[name])
		if err != nil {
			states = append(states, fmt.Sprintf("down: %s does not answer: %v", name, err))
			continue
		}
		e.services[name] = change{r.before[name], after}
		if line := torn(r.services[name].Log); line != "" {
			e.torn = append(e.torn, name+" wrote "+line)
		}
	}
	v := judge(e)
	v.Red = append(append(v.Red, states...), r.red...)
	return v, nil
}
