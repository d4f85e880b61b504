package kubelaunch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrLeaseLost means that another replica may hold the Lease by now.
var ErrLeaseLost = errors.New("kubelaunch: lease lost")

// LeaseOptions of Lead. All but Kubeconfig are required.
type LeaseOptions struct {
	Kubeconfig string // as in Options
	Namespace  string // of the Lease, not of the Jobs
	Name       string
	Identity   string // of this replica, such as its pod's name
	Log        *slog.Logger
}

// Lead waits for the Lease and calls run while this replica holds it. It
// returns what run returned. If run was ended because the Lease was lost, the
// error is joined with ErrLeaseLost. If ctx ended before, Lead returns nil.
// Once run has returned, Lead gives up the Lease, so that another replica need
// not wait until its 15 s have passed. Lead needs the right to get, create and
// update leases in coordination.k8s.io.
func Lead(ctx context.Context, o LeaseOptions, run func(context.Context) error) error {
	config, err := clientConfig(Options{Kubeconfig: o.Kubeconfig}.withDefaults())
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", o.Namespace, o.Name, err)
	}
	held := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: o.Name,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { held <- leading },
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				o.Log.Info("lease taken", "lease", o.Name, "by", identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", o.Namespace, o.Name, err)
	}
	electing, release := context.WithCancel(context.WithoutCancel(ctx))
	released := make(chan struct{})
	go func() {
		defer close(released)
		elector.Run(electing)
	}()
	defer func() { release(); <-released }()
	select {
	case leading := <-held:
		running, stop := context.WithCancel(leading)
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		err := run(running)
		if leading.Err() != nil {
			err = errors.Join(ErrLeaseLost, err)
		}
		return err
	case <-ctx.Done():
		return nil
	}
}
