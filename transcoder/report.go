package transcoder

import (
	"context"
	"errors"
	"sync"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
)

// errStopped is the cause with which work ends that the dispatcher no longer
// wants.
var errStopped = errors.New("stopped by the dispatcher")

// phasePause is the least time between two reports that only say that a new
// phase has begun, and before the first. Each report costs a transaction, and an
// answer to everybody who waits for news. A short clip is done without one.
const phasePause = 500 * time.Millisecond

// reporter reports to the dispatcher how far the work is, and keeps the URLs of
// the latest answer.
type reporter struct {
	client *attempt.Client
	nonce  string
	every  time.Duration
	wake   chan struct{} // asks for a report now
	phase  chan struct{} // asks for a report once phasePause is over

	mu       sync.Mutex
	progress conversion.Progress
	source   attempt.Request
	target   attempt.Request
	answered chan struct{} // closed and replaced by the next answer
}

func newReporter(c *attempt.Client, nonce string, every time.Duration, a attempt.Assignment) *reporter {
	return &reporter{
		client: c, nonce: nonce, every: every, wake: make(chan struct{}, 1), phase: make(chan struct{}, 1),
		source: a.Source, target: a.Target, answered: make(chan struct{}),
	}
}

// run reports until ctx is done. It returns errStopped if the attempt is no
// longer wanted.
func (r *reporter) run(ctx context.Context) error {
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	pause := time.NewTimer(phasePause)
	defer pause.Stop()
	for r.asked(ctx, ticker.C, pause.C) {
		pause.Reset(phasePause)
		select {
		case <-r.phase: // this report says it
		default:
		}
		r.mu.Lock()
		p := attempt.Progress{Nonce: r.nonce, Progress: r.progress}
		r.mu.Unlock()
		answer, err := r.client.Progress(ctx, p)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil || answer.Stop: // errors after which a further try may help are not returned
			return errStopped
		}
		r.mu.Lock()
		r.source, r.target = answer.Source, answer.Target
		close(r.answered)
		r.answered = make(chan struct{})
		r.mu.Unlock()
	}
	return nil
}

// asked waits for the time of the next report. It returns false once ctx is
// done.
func (r *reporter) asked(ctx context.Context, every, paused <-chan time.Time) bool {
	var phase <-chan struct{} // nil until the pause is over
	for {
		select {
		case <-every:
			return true
		case <-r.wake:
			return true
		case <-phase:
			return true
		case <-paused:
			phase = r.phase
		case <-ctx.Done():
			return false
		}
	}
}

// update changes what is reported next. A new phase is reported soon.
func (r *reporter) update(change func(*conversion.Progress)) {
	r.mu.Lock()
	before := r.progress.Phase
	change(&r.progress)
	changed := r.progress.Phase != before
	r.mu.Unlock()
	if changed {
		ask(r.phase)
	}
}

func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // asked already
	}
}

// requests returns the presigned requests of the latest answer.
func (r *reporter) requests() (source, target attempt.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source, r.target
}

// refresh waits for fresh URLs.
func (r *reporter) refresh(ctx context.Context) error {
	r.mu.Lock()
	answered := r.answered
	r.mu.Unlock()
	ask(r.wake)
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
