package kubelaunch_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tonearm/internal/launch/kubelaunch"
	"tonearm/internal/lease/leasetest"
)

func newReplica(t *testing.T, o kubelaunch.LeaseOptions, identity string) *leasetest.Replica {
	o.Identity = identity
	return leasetest.Start(t, func(ctx context.Context, run func(context.Context) error) error { return kubelaunch.Lead(ctx, o, run) })
}

func TestLead(t *testing.T) {
	c := onCluster(t)
	o := kubelaunch.LeaseOptions{Kubeconfig: os.Getenv("TONEARM_TEST_KUBECONFIG"),
		Namespace: "default", Name: "test-lead", Log: slog.New(slog.DiscardHandler)}
	leases := c.CoordinationV1().Leases(o.Namespace)

	first := newReplica(t, o, "first")
	first.AwaitLead()
	second, third := newReplica(t, o, "second"), newReplica(t, o, "third")
	third.Stop() // it is still waiting
	if err := third.AwaitEnd(); err != nil {
		t.Errorf("a replica that never led: %v", err)
	}
	second.Waits()
	first.Stop()
	if err := first.AwaitEnd(); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	second.AwaitLead() // it need not wait for the Lease to run out, which was given up

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
	if err := second.AwaitEnd(); !errors.Is(err, kubelaunch.ErrLeaseLost) {
		t.Errorf("got %v, want ErrLeaseLost", err)
	}
}
