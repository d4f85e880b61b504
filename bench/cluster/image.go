package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"tonearm/bench/results"
)

const transcoderImage = "docker.io/tonearm/transcoder:dev"

// measureImage measures the size of the transcoder's image, and how long a node
// that does not have it takes from the beginning of its import to the end of a
// first pod, whose program only prints its version. TONEARM_TEST_IMAGE is the
// image's archive.
func measureImage(ctx context.Context, n *node) (map[string]results.Figure, error) {
	archive := os.Getenv("TONEARM_TEST_IMAGE")
	if archive == "" {
		return nil, errors.New("TONEARM_TEST_IMAGE is not set: make scale-test")
	}
	var first, next []float64
	for range max(5/n.shorten, 1) {
		if err := n.containerd(ctx, "images", "rm", "--sync", transcoderImage); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := n.containerd(ctx, "images", "import", "--all-platforms=false", archive); err != nil {
			return nil, err
		}
		if err := n.printVersion(ctx); err != nil {
			return nil, err
		}
		first = append(first, time.Since(began).Seconds())
		began = time.Now()
		if err := n.printVersion(ctx); err != nil {
			return nil, err
		}
		next = append(next, time.Since(began).Seconds())
	}
	size, err := os.Stat(archive) //nolint:gosec // of the one who measures
	if err != nil {
		return nil, err
	}
	f := results.Plain(median(first), "s")
	f.Spread = map[string]results.Range{"ours": results.NewRange(slices.Min(first), slices.Max(first))}
	f.More = map[string]float64{"next_pod": median(next)}
	f.Note = fmt.Sprintf("median of %d: the image is removed and imported, and a pod starts, prints its version and ends", len(first))
	mb := results.Plain(float64(size.Size())/1e6, "MB")
	mb.Note = "unpacked"
	return map[string]results.Figure{"image.transcoder_mb": mb, "image.first_pod_s": f}, nil
}

// containerd runs ctr on the node's containerd.
func (n *node) containerd(ctx context.Context, args ...string) error {
	socket := filepath.Join(os.Getenv("TONEARM_NODE"), "containerd.sock")
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"-a", socket, "-n", "k8s.io"}, args...)...).CombinedOutput() //nolint:gosec // of the one who measures
	if err != nil {
		return fmt.Errorf("ctr %q: %w\n%s", args, err, out)
	}
	return nil
}

// printVersion runs a pod of the transcoder's image to its end and deletes it.
func (n *node) printVersion(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pods, no, now := n.kube.CoreV1().Pods(metav1.NamespaceDefault), false, int64(0)
	made, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "version-"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "version", Image: transcoderImage, ImagePullPolicy: corev1.PullNever, Args: []string{"--version"}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make a pod: %w", err)
	}
	w, err := pods.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", made.Name).String(), ResourceVersion: made.ResourceVersion,
	})
	if err != nil {
		return fmt.Errorf("watch pod %s: %w", made.Name, err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok || e.Type == watch.Deleted || pod.Status.Phase == corev1.PodFailed {
			return fmt.Errorf("pod %s: %s %+v", made.Name, e.Type, e.Object)
		}
		if pod.Status.Phase == corev1.PodSucceeded {
			return pods.Delete(ctx, made.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		}
	}
	return fmt.Errorf("pod %s has not ended: %w", made.Name, context.Cause(ctx))
}

// median returns the middle one of the values.
func median(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }
