package kubelaunch_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tonearm/internal/launch/kubelaunch"
)

// replica is one process that wants the Lease.
type replica struct {
	leads chan struct{} // closed once it leads
	ended chan error    // what Lead returned
	stop  context.CancelFunc
}

func newReplica(t *testing.T, o kubelaunch.LeaseOptions, identity string) *replica {
	o.Identity = identity
	ctx, cancel := context.WithCancel(t.Context())
	r := &replica{leads: make(chan struct{}), ended: make(chan error, 1), stop: cancel}
	go func() {
		r.ended <- kubelaunch.Lead(ctx, o, func(ctx context.Context) error {
			close(r.leads)
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(cancel)
	return r
}

func (r *replica) awaitLead(t *testing.T) {
	t.Helper()
	select {
	case <-r.leads:
	case err := <-r.ended:
		t.Fatalf("ended before it led: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("does not lead")
	}
}

func (r *replica) awaitEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("does not end")
		return nil
	}
}

func TestLead(t *testing.T) {
	c := onCluster(t)
	o := kubelaunch.LeaseOptions{Kubeconfig: os.Getenv("TONEARM_TEST_KUBECONFIG"),
		Namespace: "default", Name: "test-lead", Log: slog.New(slog.DiscardHandler)}
	leases := c.CoordinationV1().Leases(o.Namespace)

	first := newReplica(t, o, "first")
	first.awaitLead(t)
	second, third := newReplica(t, o, "second"), newReplica(t, o, "third")
	third.stop() // it is still waiting
	if err := third.awaitEnd(t); err != nil {
		t.Errorf("a replica that never led: %v", err)
	}
	select {
	case <-second.leads:
		t.Error("two lead")
	default:
	}
	first.stop()
	if err := first.awaitEnd(t); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	second.awaitLead(t) // it need not wait for the Lease to run out, which was given up

	// Somebody else holds it now, as after a pause of this process.
	lease, err := leases.Get(t.Context(), o.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	thief, now := "thief", metav1.NowMicro()
	lease.Spec.HolderIdentity, lease.Spec.RenewTime = &thief, &now
	for {
		if _, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err == nil {
			break
		}
		if lease, err = leases.Get(t.Context(), o.Name, metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		lease.Spec.HolderIdentity, lease.Spec.RenewTime = &thief, &now
	}
	if err := second.awaitEnd(t); !errors.Is(err, kubelaunch.ErrLeaseLost) {
		t.Errorf("got %v, want ErrLeaseLost", err)
	}
}
