package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/launch/kubelaunch"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// sendPoster creates a conversion of class gpu and uploads its file.
func sendPoster(t *testing.T, u *world.User, path string) api.Conversion {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var c api.Conversion
	status, body := u.Do("POST", "/v1/conversions", api.NewConversion{
		Filename: filepath.Base(path), Size: info.Size(), Options: &conversion.Options{Cover: conversion.CoverPoster},
	}, &c)
	if status != http.StatusCreated || c.Class != conversion.GPU {
		t.Fatalf("create: %d %s", status, body)
	}
	if err := world.Put(t.Context(), c.Upload, path); err != nil {
		t.Fatal(err)
	}
	return c
}

// gpuPod waits for the pod of a conversion's attempt of class gpu and checks
// what the pod asks for. If bound is set, it waits until the pod is bound to a
// node.
func (k *cluster) gpuPod(t *testing.T, pods <-chan *corev1.Pod, id string, bound bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case p := <-pods:
			if p.Labels[kubelaunch.LabelConversion] != id || bound && p.Spec.NodeName == "" {
				continue
			}
			c := p.Spec.Containers[0]
			if gpus := c.Resources.Limits["nvidia.com/gpu"]; gpus.Value() != 1 || c.Image != "tonearm/transcoder-gpu:dev" {
				t.Errorf("its pod has %s GPUs and image %s", gpus.String(), c.Image)
			}
			return
		case <-limit:
			t.Errorf("no pod of class gpu was seen (bound to a node: %t)", bound)
			return
		}
	}
}

// watchGPU returns the pods of class gpu, each time one is made or changes.
func (k *cluster) watchGPU(t *testing.T) <-chan *corev1.Pod {
	t.Helper()
	w, err := k.CoreV1().Pods(jobs).Watch(t.Context(), metav1.ListOptions{LabelSelector: kubelaunch.LabelClass + "=gpu"})
	if err != nil {
		t.Fatal(err)
	}
	pods := make(chan *corev1.Pod, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok {
				select {
				case pods <- p:
				default: // nobody listens any more
				}
			}
		}
	}()
	t.Cleanup(func() { w.Stop(); <-ended })
	return pods
}

// testNoGPU sends a file that a GPU would help with, while no node offers one.
func (k *cluster) testNoGPU(t *testing.T, u *world.User, video string) {
	pods := k.watchGPU(t)
	c := u.Final(sendPoster(t, u, video).ID, 3*time.Minute)
	if c.State != conversion.Done || c.Attempt != 2 || c.Class != conversion.CPU {
		t.Errorf("%s after attempt %d in class %s: %+v", c.State, c.Attempt, c.Class, c.Error)
	}
	if c.Fallback == nil || c.Fallback.From != conversion.GPU || c.Fallback.Reason != conversion.FallbackWaited {
		t.Errorf("fell back: %+v", c.Fallback)
	}
	k.gpuPod(t, pods, c.ID, false)
	waittest.Until(t, time.Minute, "its Jobs are deleted", func() bool { return len(k.jobs(t)) == 0 })
}

// testGPU makes the node advertise a GPU: the attempt of class gpu runs there.
// There is no driver, so ffmpeg decodes on the CPU all the same.
func (k *cluster) testGPU(t *testing.T, u *world.User, video string) {
	advertise := func(ctx context.Context, count string) {
		t.Helper()
		patch := `[{"op":"add","path":"/status/capacity/nvidia.com~1gpu","value":"` + count + `"},` +
			`{"op":"add","path":"/status/allocatable/nvidia.com~1gpu","value":"` + count + `"}]`
		if _, err := k.CoreV1().Nodes().Patch(ctx, "node", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	advertise(t.Context(), "1")
	defer advertise(context.WithoutCancel(t.Context()), "0")
	pods := k.watchGPU(t)
	c := u.Final(sendPoster(t, u, video).ID, 3*time.Minute)
	if c.State != conversion.Done || c.Attempt != 1 || c.Class != conversion.GPU || c.Fallback != nil {
		t.Errorf("%s after attempt %d in class %s: %+v, fell back: %+v", c.State, c.Attempt, c.Class, c.Error, c.Fallback)
	}
	k.gpuPod(t, pods, c.ID, true)
}
