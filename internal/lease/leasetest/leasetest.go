// Package leasetest has what tests of leases need, wherever these are kept.
package leasetest

import (
	"context"
	"testing"
	"time"
)

// patience is how long a replica may take to lead or to end.
const patience = time.Minute

// Replica is one process that wants a lease.
type Replica struct {
	t     *testing.T
	leads chan struct{} // closed once it leads
	ended chan error    // what lead returned
	stop  context.CancelFunc
}

// Start starts a replica that leads until it is stopped or has lost the lease. It
// calls lead, which is to call run while it has the lease.
func Start(t *testing.T, lead func(ctx context.Context, run func(context.Context) error) error) *Replica {
	ctx, cancel := context.WithCancel(t.Context())
	r := &Replica{t: t, leads: make(chan struct{}), ended: make(chan error, 1), stop: cancel}
	go func() {
		r.ended <- lead(ctx, func(ctx context.Context) error {
			close(r.leads)
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(cancel)
	return r
}

// Stop tells it to end.
func (r *Replica) Stop() { r.stop() }

// AwaitLead waits until it leads.
func (r *Replica) AwaitLead() {
	r.t.Helper()
	select {
	case <-r.leads:
	case err := <-r.ended:
		r.t.Fatalf("ended before it led: %v", err)
	case <-time.After(patience):
		r.t.Fatal("does not lead")
	}
}

// AwaitEnd waits until it has ended, and returns its error.
func (r *Replica) AwaitEnd() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatal("does not end")
		return nil
	}
}

// Waits checks that it neither leads nor has ended.
func (r *Replica) Waits() {
	r.t.Helper()
	select {
	case <-r.leads:
		r.t.Error("two lead")
	case err := <-r.ended:
		r.t.Errorf("ended before it led: %v", err)
	default:
	}
}
