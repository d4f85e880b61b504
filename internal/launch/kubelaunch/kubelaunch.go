package kubelaunch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	batchv1client "k8s.io/client-go/kubernetes/typed/batch/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

const (
	repeatEnd  = 30 * time.Second // between two Ends of an attempt that nobody stops
	sweepEvery = 5 * time.Second  // for changes that only time makes
	unseen     = time.Minute      // until a created Job must have turned up in the informer
)

var errClosed = errors.New("kubelaunch: closed")

// Launcher runs attempts as Jobs. It is safe for concurrent use.
type Launcher struct {
	o     Options
	jobs  batchv1client.JobInterface
	cache *cluster
	stop  context.CancelFunc
	done  chan struct{} // closed by Close
	wg    sync.WaitGroup

	mu       sync.Mutex
	attempts map[string]*tracked // by the Job's name
	lost     []launch.End        // of Jobs that are gone, not taken by a watcher yet
	watchers int
	changed  chan struct{} // closed and replaced when an attempt has ended, is gone, or changed while it is being stopped
	closed   bool
}

// tracked is an attempt whose Job or pod exists, or will in a moment.
type tracked struct {
	launch.Attempt
	created  time.Time // when Start created it, until the cache has it; else zero
	stopping bool
	ended    bool
	end      launch.End
	told     time.Time // when a watcher last got the end
}

var _ launch.Launcher = (*Launcher)(nil)

// New returns a launcher. It follows the Jobs in its namespace from now on.
func New(o Options) (*Launcher, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("kubelaunch: %w", err)
	}
	config, err := clientConfig(o)
	if err != nil {
		return nil, fmt.Errorf("kubelaunch: configure the client: %w", err)
	}
	batch, err := batchv1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubelaunch: make the client: %w", err)
	}
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubelaunch: make the client: %w", err)
	}
	l := &Launcher{
		o:        o,
		jobs:     batch.Jobs(o.Namespace),
		done:     make(chan struct{}),
		attempts: map[string]*tracked{},
		changed:  make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background()) // lives until Close
	l.stop = cancel
	if l.cache, err = newCluster(batch.Jobs(o.Namespace), core.Pods(o.Namespace), o.Log, l.look); err != nil {
		cancel()
		return nil, fmt.Errorf("kubelaunch: make the informers: %w", err)
	}
	if err := o.Registerer.Register(collector{l}); err != nil {
		cancel()
		return nil, fmt.Errorf("kubelaunch: register the metrics: %w", err)
	}
	l.wg.Go(func() { l.cache.run(ctx) })
	l.wg.Go(func() { l.sweep(ctx) })
	return l, nil
}

func clientConfig(o Options) (config *rest.Config, err error) {
	if o.Kubeconfig == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	}
	if err != nil {
		return nil, err
	}
	config.UserAgent = "tonearm-dispatcher"
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(o.QPS, o.Burst) // one for both clients
	return config, nil
}

// Start creates the attempt's Job. If the Job exists, it is that attempt,
// running or ended. A refusal because of a quota or of the server's load is
// ErrBusy.
func (l *Launcher) Start(ctx context.Context, s launch.Spec) error {
	name, err := nameOf(s.AttemptRef)
	if err != nil {
		return fmt.Errorf("kubelaunch: start: %w", err)
	}
	if _, ok := l.o.Classes[s.Class]; !ok {
		return fmt.Errorf("kubelaunch: start %s: no class %q", s.AttemptRef, s.Class)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosed
	}
	// It counts before the Job is created, so that there is no moment at which
	// it does not count.
	if l.attempts[name] == nil {
		l.attempts[name] = &tracked{Attempt: launch.Attempt{AttemptRef: s.AttemptRef, Class: s.Class}, created: time.Now()}
	}
	l.mu.Unlock()

	_, err = l.jobs.Create(ctx, Job(l.o, s), metav1.CreateOptions{})
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	l.mu.Lock()
	if t := l.attempts[name]; t != nil && !t.created.IsZero() {
		delete(l.attempts, name)
	}
	l.mu.Unlock()
	if busy(err) {
		return launch.ErrBusy
	}
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) && ctx.Err() == nil { // these two are about this Job
		err = fmt.Errorf("%w: %w", launch.ErrUnwell, err)
	}
	return fmt.Errorf("kubelaunch: start %s: %w", s.AttemptRef, err)
}

// busy says whether the server refused for now: too many requests, a quota that
// is used up, or a quota that too many requests changed at the same time.
func busy(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsConflict(err) ||
		apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
}

// Stop deletes the attempt's Job, and waits until no container of it runs.
func (l *Launcher) Stop(ctx context.Context, r conversion.AttemptRef) error {
	if err := l.stopJob(ctx, r); err != nil {
		return fmt.Errorf("kubelaunch: stop %s: %w", r, err)
	}
	return nil
}

func (l *Launcher) stopJob(ctx context.Context, r conversion.AttemptRef) error {
	name, err := nameOf(r)
	if err != nil {
		return err
	}
	if err := l.await(ctx, l.cache.synced); err != nil {
		return err
	}
	l.mark(name, true)
	propagation := metav1.DeletePropagationForeground // the Job stays until its pod is gone
	if l.exited(name) {
		propagation = metav1.DeletePropagationBackground // nothing runs any more, and it is less work for the cluster
	}
	err = l.jobs.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &propagation})
	if err != nil && !apierrors.IsNotFound(err) {
		l.mark(name, false)
		return err
	}
	for {
		l.mu.Lock()
		t := l.attempts[name]
		if t != nil && !t.created.IsZero() && err != nil { // gone before the cache had it
			l.forget(name, t)
			t = nil
		}
		done := t == nil || t.ended && !l.cache.alive(name, time.Now())
		changed := l.changed
		l.mu.Unlock()
		if done {
			return nil
		}
		if err := l.await(ctx, changed); err != nil {
			return err
		}
	}
}

// mark notes whether an attempt is being stopped.
func (l *Launcher) mark(name string, stopping bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.attempts[name]; t != nil {
		t.stopping = stopping
	}
}

// exited says whether an attempt has ended by itself.
func (l *Launcher) exited(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.attempts[name]
	return t != nil && t.ended && t.end.Reason == launch.Exited
}

// await waits for c.
func (l *Launcher) await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	default:
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return errClosed
	}
}

// Running lists the attempts that have not ended. After Close it still returns
// what was known then.
func (l *Launcher) Running(ctx context.Context) ([]launch.Attempt, error) {
	if err := l.await(ctx, l.cache.synced); err != nil {
		return nil, fmt.Errorf("kubelaunch: read the Jobs: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	running := []launch.Attempt{}
	for name, t := range l.attempts {
		if t.ended {
			continue
		}
		a := t.Attempt
		job, pods := l.cache.get(name)
		a.Waiting, a.Since = standing(job, pods, now)
		a.Late = a.Waiting != "" && job != nil && now.Sub(job.CreationTimestamp.Time) > l.o.startTimeout(t.Class)
		running = append(running, a)
	}
	return running, nil
}

// Watch calls ended for every attempt that ends, and again later if nobody
// stops it. It is meant for one caller at a time.
func (l *Launcher) Watch(ctx context.Context, ended func(launch.End)) error {
	l.mu.Lock()
	l.watchers++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.watchers--
		l.mu.Unlock()
	}()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		ends, changed := l.take()
		for _, e := range ends {
			if err := ctx.Err(); err != nil {
				return err
			}
			ended(e)
		}
		select {
		case <-changed:
		case <-tick.C: // an end may be due to be repeated
		case <-ctx.Done():
			return ctx.Err()
		case <-l.done:
			return errClosed
		}
	}
}

// take returns the ends to report now, and a channel that is closed at the next
// change.
func (l *Launcher) take() ([]launch.End, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := l.lost
	l.lost = nil
	now := time.Now()
	for _, t := range l.attempts {
		if t.ended && (t.told.IsZero() || !t.stopping && now.Sub(t.told) > repeatEnd) {
			t.told = now
			ends = append(ends, t.end)
		}
	}
	return ends, l.changed
}

// look updates what is known of one attempt from the cache.
func (l *Launcher) look(name string) {
	if !l.cache.complete() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	job, pods := l.cache.get(name)
	t := l.attempts[name]
	switch {
	case job == nil && len(pods) == 0:
		if t != nil && (t.created.IsZero() || now.Sub(t.created) > unseen) {
			l.forget(name, t)
		}
		return
	case t == nil:
		a, ok := attemptOf(job, pods)
		if !ok {
			return
		}
		t = &tracked{Attempt: a}
		l.attempts[name] = t
	}
	t.created = time.Time{}
	end, ok := endOf(job, pods, now, l.o.startTimeout(t.Class))
	if ok && !t.ended { // what follows, such as its deletion, does not change how it ended
		t.finish(end)
		l.broadcast()
	} else if t.stopping { // whoever stops it waits for its pods
		l.broadcast()
	}
}

// forget drops an attempt that the cluster no longer knows.
func (l *Launcher) forget(name string, t *tracked) {
	if !t.ended {
		t.finish(launch.End{Reason: launch.Disrupted, Detail: "the Job was deleted by somebody else"})
	}
	if t.told.IsZero() && l.watchers > 0 {
		l.lost = append(l.lost, t.end)
	}
	delete(l.attempts, name)
	l.broadcast()
}

func (t *tracked) finish(e launch.End) {
	if t.stopping {
		e = launch.End{Reason: launch.Stopped}
	}
	e.AttemptRef = t.AttemptRef
	t.ended, t.end = true, e
}

func (l *Launcher) broadcast() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// sweep looks at every attempt now and then, because some end only by time.
func (l *Launcher) sweep(ctx context.Context) {
	every := sweepEvery
	for class := range l.o.Classes {
		every = min(every, max(l.o.startTimeout(class)/4, time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		names := l.cache.names()
		l.mu.Lock()
		for name := range l.attempts {
			names[name] = true
		}
		l.mu.Unlock()
		for name := range names {
			l.look(name)
		}
	}
}

// Close leaves the attempts running.
func (l *Launcher) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.wg.Wait()
	if first {
		l.o.Registerer.Unregister(collector{l})
		close(l.done)
	}
	return nil
}
