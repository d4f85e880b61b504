// Package lease lets one of several processes lead: the one that has a lease in
// the records. Those on Kubernetes share a Lease there, see package kubelaunch.
package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tonearm/internal/service"
)

// ErrLost means that another process may lead by now.
var ErrLost = errors.New("lease lost")

// DefaultDuration is how long a lease lasts that is not renewed.
const DefaultDuration = 15 * time.Second

// Records keep leases; see conversion.Store.
type Records interface {
	Lease(ctx context.Context, name, holder string, d time.Duration) (string, error)
	Release(ctx context.Context, name, holder string) error
}

// Options of Lead. All but Duration are required.
type Options struct {
	Records  Records
	Name     string        // of the lease
	Identity string        // of this process; no other one may have it
	Duration time.Duration // default DefaultDuration
	Log      *slog.Logger
}

// Lead waits for the lease and calls run while this process has it. It returns
// what run returned. The context of run ends when the lease was not renewed for
// two thirds of its duration; the error is then joined with ErrLost. If ctx ended
// before, Lead returns nil. Once run has returned, Lead gives up the lease, so
// that another process need not wait for its end.
func Lead(ctx context.Context, o Options, run func(context.Context) error) error {
	o.Duration = cmp.Or(o.Duration, DefaultDuration)
	l := &lease{Options: o, outage: service.Sparse(o.Log)}
	always := context.WithoutCancel(ctx)
	defer func() { // also where the answer that it was taken has not come
		releasing, cancel := context.WithTimeout(always, l.pause())
		defer cancel()
		if err := o.Records.Release(releasing, o.Name, o.Identity); err != nil {
			o.Log.Warn("could not give up the lease; it ends by itself", "lease", o.Name, "error", err)
		}
	}()
	for !l.ask(ctx) {
		if ctx.Err() != nil {
			return nil
		}
		service.Wait(ctx, l.pause())
	}
	running, stop := context.WithCancelCause(ctx)
	renewing, ended := context.WithCancel(always)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.keep(renewing, func() { stop(ErrLost) })
	}()
	err := run(running)
	ended()
	<-done
	if errors.Is(context.Cause(running), ErrLost) {
		err = errors.Join(fmt.Errorf("%w: %s", ErrLost, o.Name), err)
	}
	stop(nil)
	return err
}

// lease is what one process knows of the lease.
type lease struct {
	Options
	outage  *slog.Logger
	holder  string
	renewed time.Time // when the last call began that got it
}

// pause is the time between two calls, and the longest that one may take.
func (l *lease) pause() time.Duration { return l.Duration / 6 }

// ask takes or renews the lease, and reports whether this process has it.
func (l *lease) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, l.pause())
	defer cancel()
	began := time.Now()
	holder, err := l.Records.Lease(ctx, l.Name, l.Identity, l.Duration)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			l.outage.Warn("the lease could not be asked for", "lease", l.Name, "error", err)
		}
		return false
	}
	if holder != "" && holder != l.holder {
		l.Log.Info("lease taken", "lease", l.Name, "by", holder)
		l.holder = holder
	}
	if holder != l.Identity {
		return false
	}
	l.renewed = began
	return true
}

// keep renews the lease until ctx ends. It calls lost when that has failed for so
// long that another process may have it soon.
func (l *lease) keep(ctx context.Context, lost func()) {
	patience := func() time.Duration { return l.Duration*2/3 - time.Since(l.renewed) }
	late := time.AfterFunc(patience(), lost)
	defer late.Stop()
	for {
		service.Wait(ctx, l.pause())
		if ctx.Err() != nil {
			return
		}
		if l.ask(ctx) {
			late.Reset(patience())
		}
	}
}
