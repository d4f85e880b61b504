package kubelaunch

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

// pod makes a pod that is a minute old.
func pod(phase corev1.PodPhase, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", CreationTimestamp: ago(time.Minute)},
		Spec:       corev1.PodSpec{NodeName: "node-7"},
		Status:     corev1.PodStatus{Phase: phase},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func aged(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = ago(d) }
}

// deleted says when the pod was due to be gone.
func deleted(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { t := ago(d); p.DeletionTimestamp = &t }
}

func status(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Reason, p.Status.Message = reason, message }
}

func exited(code int32, reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{
			{Name: "sidecar", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 99}}},
			{Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}},
		}
	}
}

func waiting(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{
			{Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}},
		}
	}
}

func because(t corev1.PodConditionType, s corev1.ConditionStatus, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: t, Status: s, Reason: reason, Message: message})
	}
}

// job makes a Job that is a minute old; t is its terminal condition, if any.
func job(t batchv1.JobConditionType, reason, message string) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: ago(time.Minute)}}
	if t != "" {
		j.Status.Conditions = []batchv1.JobCondition{
			{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue, LastTransitionTime: ago(time.Hour)},
			{Type: t, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: ago(20 * time.Second)},
		}
	}
	return j
}

func TestEndOf(t *testing.T) {
	const alive = launch.Reason("")
	active := job("", "", "")
	old := job("", "", "")
	old.CreationTimestamp = ago(time.Hour)
	justNow := job(batchv1.JobFailed, "BackoffLimitExceeded", "")
	justNow.Status.Conditions[1].LastTransitionTime = ago(time.Second)
	disrupted := because(corev1.DisruptionTarget, corev1.ConditionTrue, "EvictionByEvictionAPI", "Eviction API: evicting")
	tests := []struct {
		name   string
		job    *batchv1.Job
		pods   []*corev1.Pod
		reason launch.Reason
		code   int
		detail string // a part of it
	}{
		{"no pod yet", active, nil, alive, 0, ""},
		{"running", active, []*corev1.Pod{pod(corev1.PodRunning, aged(time.Hour))}, alive, 0, ""},
		{"pending", active, []*corev1.Pod{pod(corev1.PodPending)}, alive, 0, ""},
		{"lost sight of its node for a moment", active, []*corev1.Pod{pod(corev1.PodUnknown)}, alive, 0, ""},
		{"being deleted", active, []*corev1.Pod{pod(corev1.PodRunning, deleted(-2*time.Second))}, alive, 0, ""},
		{"a dead pod and a live one", active, []*corev1.Pod{pod(corev1.PodFailed, exited(1, "Error")), pod(corev1.PodRunning)}, alive, 0, ""},

		{"succeeded", active, []*corev1.Pod{pod(corev1.PodSucceeded, exited(0, "Completed"))}, launch.Exited, 0, ""},
		{"succeeded, then deleted", active, []*corev1.Pod{pod(corev1.PodSucceeded, exited(0, "Completed"), deleted(0))}, launch.Exited, 0, ""},
		{"exited", active, []*corev1.Pod{pod(corev1.PodFailed, exited(10, "Error"))}, launch.Exited, 10, ""},
		{"the newer pod counts", active, []*corev1.Pod{
			pod(corev1.PodFailed, exited(11, "Error")), pod(corev1.PodFailed, exited(12, "Error"), aged(time.Second)),
		}, launch.Exited, 12, ""},
		{"killed", active, []*corev1.Pod{pod(corev1.PodFailed, exited(137, "Error"))}, launch.Killed, 0, "137"},
		{"out of memory", active, []*corev1.Pod{pod(corev1.PodFailed, exited(137, "OOMKilled"))}, launch.OutOfMemory, 0, "OOMKilled"},
		{"ffmpeg out of memory", active, []*corev1.Pod{pod(corev1.PodFailed, exited(11, "OOMKilled"))}, launch.OutOfMemory, 0, ""},
		{"deadline", active, []*corev1.Pod{pod(corev1.PodFailed, exited(143, "Error"),
			status("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"))}, launch.Deadline, 0, "longer than"},
		{"deadline before the container ran", active, []*corev1.Pod{pod(corev1.PodFailed, status("DeadlineExceeded", "m"))}, launch.Deadline, 0, "m"},
		{"too much disk", active, []*corev1.Pod{pod(corev1.PodFailed, exited(137, "Error"),
			status("Evicted", `Usage of EmptyDir volume "work" exceeds the limit "1Gi".`))}, launch.Killed, 0, "exceeds the limit"},

		{"drained", active, []*corev1.Pod{pod(corev1.PodFailed, exited(13, "Error"), disrupted, deleted(0))}, launch.Disrupted, 0, "EvictionByEvictionAPI: Eviction API"},
		{"evicted by its node", active, []*corev1.Pod{pod(corev1.PodFailed, exited(137, "Error"), status("Evicted", "The node was low on resource"),
			because(corev1.DisruptionTarget, corev1.ConditionTrue, "TerminationByKubelet", "low on memory"))}, launch.Disrupted, 0, "low on memory"},
		{"deleted by hand", active, []*corev1.Pod{pod(corev1.PodFailed, exited(143, "Error"), deleted(0))}, launch.Disrupted, 0, "deleted by somebody"},
		{"its node does not answer", active, []*corev1.Pod{pod(corev1.PodRunning, disrupted, deleted(time.Minute))}, launch.Disrupted, 0, "node-7 does not answer"},
		{"its node was restarted", active, []*corev1.Pod{pod(corev1.PodFailed, exited(255, "Unknown"))}, launch.Disrupted, 0, ""},
		{"its node forgot it", active, []*corev1.Pod{pod(corev1.PodFailed, exited(137, "ContainerStatusUnknown"))}, launch.Disrupted, 0, ""},
		{"refused by its node", active, []*corev1.Pod{pod(corev1.PodFailed, status("UnexpectedAdmissionError", "no GPU left"))}, launch.Disrupted, 0, "no GPU left"},

		{"no pod for long", old, nil, alive, 0, ""},
		{"pending for long", old, []*corev1.Pod{pod(corev1.PodPending, aged(time.Hour))}, alive, 0, ""},
		{"unschedulable for long", old, []*corev1.Pod{pod(corev1.PodPending, aged(time.Hour),
			because(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/3 nodes are available"))}, alive, 0, ""},
		{"no image, on its node for a moment", old, []*corev1.Pod{pod(corev1.PodPending, aged(time.Hour), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: ago(time.Minute)}}
		}, waiting("ImagePullBackOff", "not found"))}, alive, 0, ""},
		{"wrong configuration for long", old, []*corev1.Pod{pod(corev1.PodPending, aged(time.Hour),
			waiting("CreateContainerConfigError", "no Secret"))}, launch.NotStarted, 0, "CreateContainerConfigError: no Secret"},
		{"no image for long", old, []*corev1.Pod{pod(corev1.PodPending, aged(time.Hour),
			because(corev1.PodScheduled, corev1.ConditionTrue, "", ""), waiting("ImagePullBackOff", "not found"))}, launch.NotStarted, 0, "ImagePullBackOff: not found"},

		{"the Job was deleted", nil, nil, launch.Disrupted, 0, "deleted by somebody"},
		{"the Job was deleted, its pod ends", nil, []*corev1.Pod{pod(corev1.PodRunning, deleted(-time.Second))}, alive, 0, ""},
		{"complete, pod gone", job(batchv1.JobComplete, "CompletionsReached", ""), nil, launch.Exited, 0, ""},
		{"failed, pod gone", job(batchv1.JobFailed, "PodFailurePolicy",
			"Container transcoder for pod ns/p failed with exit code 11 matching FailJob rule at index 3"), nil, launch.Exited, 11, ""},
		{"disrupted, pod gone", job(batchv1.JobFailed, "PodFailurePolicy",
			"Pod ns/p has condition DisruptionTarget matching FailJob rule at index 0"), nil, launch.Disrupted, 0, "DisruptionTarget"},
		{"failed for what, pod gone", job(batchv1.JobFailed, "BackoffLimitExceeded", "Job has reached the specified backoff limit"), nil, launch.Disrupted, 0, "backoff limit"},
		{"failed just now, pod not seen yet", justNow, nil, alive, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ended := endOf(tt.job, tt.pods, now, 10*time.Minute)
			if ended != (tt.reason != alive) {
				t.Fatalf("got %+v, ended %t", got, ended)
			}
			if ended && (got.Reason != tt.reason || got.ExitCode != tt.code || !strings.Contains(got.Detail, tt.detail)) {
				t.Errorf("got %+v, want %s, code %d, %q", got, tt.reason, tt.code, tt.detail)
			}
		})
	}
}

func TestWaitingFor(t *testing.T) {
	scheduled := because(corev1.PodScheduled, corev1.ConditionTrue, "", "")
	for _, tt := range []struct {
		name string
		pod  *corev1.Pod
		want wait
	}{
		{"running", pod(corev1.PodRunning), forNothing},
		{"ended", pod(corev1.PodFailed), forNothing},
		{"new", pod(corev1.PodPending), forStart},
		{"being made", pod(corev1.PodPending, scheduled, waiting("ContainerCreating", "")), forStart},
		{"gated", pod(corev1.PodPending, because(corev1.PodScheduled, corev1.ConditionFalse, "SchedulingGated", "")), forGate},
		{"its sidecars start first", pod(corev1.PodPending, scheduled, waiting("PodInitializing", "")), forStart},
		{"unschedulable", pod(corev1.PodPending, because(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "")), forNode},
		{"no image", pod(corev1.PodPending, scheduled, waiting("ErrImagePull", "")), forRepair},
		{"wrong configuration", pod(corev1.PodPending, scheduled, waiting("CreateContainerConfigError", "")), forRepair},
	} {
		if got, _ := waitingFor(tt.pod); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestStanding(t *testing.T) {
	suspended := job("", "", "")
	suspended.Spec.Suspend = ptr(true)
	runs := pod(corev1.PodRunning, func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{
			Running: &corev1.ContainerStateRunning{StartedAt: ago(7 * time.Second)},
		}}}
	})
	for _, tt := range []struct {
		name  string
		job   *batchv1.Job
		pods  []*corev1.Pod
		want  conversion.WaitReason
		since time.Time
	}{
		{"not seen yet", nil, nil, conversion.WaitStart, time.Time{}},
		{"no pod", job("", "", ""), nil, conversion.WaitPod, time.Time{}},
		{"suspended", suspended, nil, conversion.WaitSuspended, time.Time{}},
		{"gated", job("", "", ""), []*corev1.Pod{pod(corev1.PodPending, because(corev1.PodScheduled, corev1.ConditionFalse, "SchedulingGated", ""))},
			conversion.WaitSuspended, time.Time{}},
		{"unschedulable", job("", "", ""), []*corev1.Pod{pod(corev1.PodPending, because(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", ""))},
			conversion.WaitNode, time.Time{}},
		{"being made", job("", "", ""), []*corev1.Pod{pod(corev1.PodPending, waiting("ContainerCreating", ""))}, conversion.WaitStart, time.Time{}},
		{"running", job("", "", ""), []*corev1.Pod{runs}, "", now.Add(-7 * time.Second)},
		{"running, the first pod is dead", job("", "", ""), []*corev1.Pod{pod(corev1.PodFailed), runs}, "", now.Add(-7 * time.Second)},
	} {
		if got, since := standing(tt.job, tt.pods, now); got != tt.want || !since.Equal(tt.since) {
			t.Errorf("%s: waits for %q, runs since %v; want %q, %v", tt.name, got, since, tt.want, tt.since)
		}
	}
}

// An end is reported once, and again as long as nobody stops the attempt.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &tracked{Attempt: launch.Attempt{AttemptRef: conversion.AttemptRef{ConversionID: "a", Attempt: 1}}}
		l := &Launcher{attempts: map[string]*tracked{"a": tr}, changed: make(chan struct{})}
		want := func(n int, when string) {
			t.Helper()
			if ends, _ := l.take(); len(ends) != n {
				t.Errorf("%s: got %v, want %d ends", when, ends, n)
			}
		}
		want(0, "running")
		tr.finish(launch.End{Reason: launch.Exited})
		want(1, "ended")
		want(0, "told")
		time.Sleep(repeatEnd + time.Second)
		want(1, "not stopped")
		tr.stopping = true
		time.Sleep(repeatEnd + time.Second)
		want(0, "being stopped")
		l.watchers = 1
		l.forget("a", tr)
		want(0, "gone")
		l.forget("b", &tracked{})
		want(1, "gone without an end")
	})
}

func TestNameOf(t *testing.T) {
	for _, r := range []conversion.AttemptRef{
		{ConversionID: "", Attempt: 1}, {ConversionID: "a/b", Attempt: 1}, {ConversionID: "A", Attempt: 1}, {ConversionID: "a-", Attempt: 1},
		{ConversionID: "a", Attempt: 0}, {ConversionID: strings.Repeat("a", 54), Attempt: 1},
	} {
		if name, err := nameOf(r); err == nil {
			t.Errorf("%v: got %q, want an error", r, name)
		}
	}
	if name, err := nameOf(conversion.AttemptRef{ConversionID: "0193f8a2-5c1e-7b3d-9e4f-6a7b8c9d0e1f", Attempt: 12}); err != nil || name != "tonearm-0193f8a2-5c1e-7b3d-9e4f-6a7b8c9d0e1f-12" {
		t.Errorf("got %q, %v", name, err)
	}
}
