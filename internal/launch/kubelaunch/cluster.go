package kubelaunch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

const byJob = "job"

// cluster is a local copy of the attempts' Jobs and pods, kept up to date.
type cluster struct {
	log    *slog.Logger
	look   func(job string)
	jobs   cache.SharedIndexInformer
	pods   cache.SharedIndexInformer // by the name of their Job
	synced chan struct{}             // closed once everything was read and looked at
}

// source lists and watches one kind.
type source[List runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (List, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// newCluster returns a copy that calls look for each Job that changed or whose
// pods changed.
func newCluster(jobs source[*batchv1.JobList], pods source[*corev1.PodList], log *slog.Logger, look func(job string)) (*cluster, error) {
	c := &cluster{log: log, look: look, synced: make(chan struct{})}
	var err error
	if c.jobs, err = c.informer(listWatch(jobs), &batchv1.Job{}); err != nil {
		return nil, err
	}
	c.pods, err = c.informer(listWatch(pods), &corev1.Pod{})
	return c, err
}

func listWatch[L runtime.Object](s source[L]) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = Selector
			return s.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = Selector
			return s.Watch(ctx, o)
		},
	}
}

// jobOf returns the name of the Job that an object is or belongs to.
func jobOf(o metav1.Object) string {
	if _, ok := o.(*corev1.Pod); ok {
		return o.GetLabels()[batchv1.JobNameLabel]
	}
	return o.GetName()
}

func (c *cluster) informer(lw cache.ListerWatcher, kind runtime.Object) (cache.SharedIndexInformer, error) {
	i := cache.NewSharedIndexInformer(lw, kind, 0, cache.Indexers{byJob: func(o any) ([]string, error) {
		return []string{jobOf(o.(metav1.Object))}, nil
	}})
	changed := func(o any) {
		if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if object, ok := o.(metav1.Object); ok {
			c.look(jobOf(object))
		}
	}
	_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    changed,
		UpdateFunc: func(_, o any) { changed(o) },
		DeleteFunc: changed,
	})
	return i, errors.Join(err,
		i.SetTransform(func(o any) (any, error) { // nobody reads them here
			if object, ok := o.(metav1.Object); ok {
				object.SetManagedFields(nil)
			}
			return o, nil
		}),
		i.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			if !errors.Is(err, io.EOF) && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) { // these are ordinary ends of a watch
				c.log.Warn("could not follow the Jobs, trying again", "error", err)
			}
		}))
}

// run follows the cluster until ctx is done.
func (c *cluster) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.jobs.RunWithContext(ctx) })
	wg.Go(func() { c.pods.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), c.complete) {
		for name := range c.names() { // look was called too early for these
			c.look(name)
		}
		close(c.synced)
	}
	wg.Wait()
}

// complete says whether both kinds were read. Before that, Jobs may seem to
// have no pods.
func (c *cluster) complete() bool { return c.jobs.HasSynced() && c.pods.HasSynced() }

// get returns a Job, or nil if there is none, and its pods.
func (c *cluster) get(name string) (job *batchv1.Job, pods []*corev1.Pod) {
	// ByIndex cannot fail, because the index exists.
	jobs, _ := c.jobs.GetIndexer().ByIndex(byJob, name)
	if len(jobs) > 0 {
		job = jobs[0].(*batchv1.Job)
	}
	found, _ := c.pods.GetIndexer().ByIndex(byJob, name)
	for _, p := range found {
		pods = append(pods, p.(*corev1.Pod))
	}
	return job, pods
}

// alive says whether processes of a Job may run.
func (c *cluster) alive(name string, now time.Time) bool {
	_, pods := c.get(name)
	for _, p := range pods {
		if alive(p, now) {
			return true
		}
	}
	return false
}

// names lists the names of all Jobs, and of Jobs that are gone but whose pods
// are left.
func (c *cluster) names() map[string]bool {
	names := map[string]bool{}
	for _, i := range []cache.SharedIndexInformer{c.jobs, c.pods} {
		for _, name := range i.GetIndexer().ListIndexFuncValues(byJob) {
			names[name] = true
		}
	}
	return names
}
