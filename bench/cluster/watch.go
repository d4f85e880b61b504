package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"tonearm/bench/stack"
)

// seen are the objects of one kind that a watch has reported.
type seen struct {
	mu sync.Mutex
	at map[string][]time.Time // when each was first seen, by the value of a label
}

// watchPods notes every new pod of a namespace until ctx ends.
func (n *node) watchPods(ctx context.Context, namespace, label string) (*seen, error) {
	w, err := n.kube.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	return note(w, label), nil
}

// watchJobs notes every new Job of a namespace until ctx ends.
func (n *node) watchJobs(ctx context.Context, namespace, label string) (*seen, error) {
	w, err := n.kube.BatchV1().Jobs(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch Jobs: %w", err)
	}
	return note(w, label), nil
}

func note(w watch.Interface, label string) *seen {
	s := &seen{at: map[string][]time.Time{}}
	go func() { // ends with the watch, which ends with its context
		for e := range w.ResultChan() {
			now := time.Now()
			if e.Type != watch.Added {
				continue
			}
			if o, err := meta.Accessor(e.Object); err == nil {
				s.mu.Lock()
				key := o.GetLabels()[label]
				s.at[key] = append(s.at[key], now)
				s.mu.Unlock()
			}
		}
	}()
	return s
}

// of returns when the objects with that key were seen.
func (s *seen) of(key string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at[key])
}

// next waits until there are more than were objects with that key, and returns
// when the next one was seen.
func (s *seen) next(ctx context.Context, key string, were int) (at time.Time, err error) {
	err = await(ctx, 2*time.Minute, "a pod for "+key, func(context.Context) (bool, error) {
		all := s.of(key)
		if len(all) > were {
			at = all[were]
		}
		return len(all) > were, nil
	})
	return at, err
}

// await waits for a condition.
func await(ctx context.Context, limit time.Duration, what string, holds wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, limit, true, holds); err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}

// idle waits until all Jobs have ended.
func (n *node) idle(ctx context.Context) error {
	return await(ctx, 5*time.Minute, "an idle node", func(ctx context.Context) (bool, error) {
		list, err := n.kube.BatchV1().Jobs("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		return !slices.ContainsFunc(list.Items, func(j batchv1.Job) bool {
			return !slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
				return c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed)
			})
		}), nil
	})
}

// stop ends Tonearm and removes the Jobs that it left.
func (n *node) stop(ctx context.Context, up *stack.Up) error {
	up.Stop()
	return n.remove(ctx, namespace)
}

// remove deletes a namespace and everything in it.
func (n *node) remove(ctx context.Context, namespace string) error {
	ctx = context.WithoutCancel(ctx)
	return await(ctx, 2*time.Minute, "the end of namespace "+namespace, func(ctx context.Context) (bool, error) {
		err := n.kube.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{})
		if err == nil || apierrors.IsConflict(err) {
			return false, nil
		}
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}
