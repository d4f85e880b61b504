package kubelaunch_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/launch/kubelaunch"
)

var update = flag.Bool("update", false, "write the golden files")

var options = kubelaunch.Options{
	Namespace:     "tonearm-jobs",
	DispatcherURL: "http://dispatcher.tonearm.svc:9000",
	Classes: map[conversion.Class]kubelaunch.Class{
		conversion.CPU: {
			Image: "registry.example/transcoder:1",
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("512Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi")},
			},
		},
		conversion.GPU: {
			Image:           "registry.example/transcoder-gpu:1",
			ImagePullPolicy: corev1.PullIfNotPresent,
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("2Gi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi"), "nvidia.com/gpu": resource.MustParse("1")},
			},
			RuntimeClass:  "nvidia",
			PriorityClass: "tonearm-attempts",
			NodeSelector:  map[string]string{"accelerator": "nvidia"},
			Tolerations:   []corev1.Toleration{{Key: "nvidia.com/gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
		},
	},
}

func TestJob(t *testing.T) {
	const id = "0193f8a2-5c1e-7b3d-9e4f-6a7b8c9d0e1f"
	more := options
	more.ServiceAccount, more.Grace, more.NodeTimeout, more.KeepFinished = "transcoder", 1500*time.Millisecond, 2*time.Minute, time.Minute
	more.MaxMP3Bytes = 64 << 20
	for _, tt := range []struct {
		name    string
		options kubelaunch.Options
		spec    launch.Spec
	}{
		{"cpu", options, launch.Spec{AttemptRef: conversion.AttemptRef{ConversionID: id, Attempt: 1}, Class: conversion.CPU,
			Token: "1.token", SourceSize: 3 << 30, Deadline: 27*time.Minute + 300*time.Millisecond}},
		{"gpu", more, launch.Spec{AttemptRef: conversion.AttemptRef{ConversionID: id, Attempt: 12}, Class: conversion.GPU,
			Token: "12.token", SourceSize: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.MarshalIndent(kubelaunch.Job(tt.options, tt.spec), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden := filepath.Join("testdata", tt.name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s (-update writes it):\n%s", golden, got)
			}
		})
	}
}

// Job does not change what Jobs share.
func TestJobLeavesOptionsAlone(t *testing.T) {
	before, _ := json.Marshal(options.Classes)
	kubelaunch.Job(options, launch.Spec{AttemptRef: conversion.AttemptRef{ConversionID: "a", Attempt: 1}, Class: conversion.GPU, SourceSize: 1 << 40})
	if after, _ := json.Marshal(options.Classes); !bytes.Equal(before, after) {
		t.Errorf("classes became %s", after)
	}
}
