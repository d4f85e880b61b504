package e2e

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"tonearm/internal/launch/kubelaunch"
)

// watchPods notes every pod of an attempt, until the test ends. A watch that the
// server ends begins anew.
func (k *cluster) watchPods(t *testing.T) {
	begin := func() (watch.Interface, error) {
		return k.CoreV1().Pods(jobs).Watch(t.Context(), metav1.ListOptions{LabelSelector: kubelaunch.Selector})
	}
	w, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for t.Context().Err() == nil {
			if err == nil {
				k.notePods(w.ResultChan())
				w.Stop()
			} else {
				time.Sleep(100 * time.Millisecond) // the server is away
			}
			w, err = begin()
		}
		if err == nil {
			w.Stop()
		}
	}()
	t.Cleanup(func() { <-ended })
}

// notePods notes what a watch of pods reports.
func (k *cluster) notePods(events <-chan watch.Event) {
	living := map[string]bool{}
	for e := range events {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		k.mu.Lock()
		id := p.Labels[kubelaunch.LabelConversion] + "/" + p.Labels[kubelaunch.LabelAttempt]
		if _, seen := k.pods[id]; !seen {
			k.pods[id] = seenPod{p.Name, time.Now()}
		}
		living[p.Name] = e.Type != watch.Deleted && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
		n := 0
		for _, alive := range living {
			if alive {
				n++
			}
		}
		k.most = max(k.most, n)
		k.mu.Unlock()
	}
}

func (k *cluster) pod(id string, attempt int) (seenPod, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.pods[fmt.Sprintf("%s/%d", id, attempt)]
	return p, ok
}
