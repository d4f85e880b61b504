package kubelaunch

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

const (
	// overdue is how long after its grace period a pod may still exist before
	// its node counts as lost.
	overdue = 30 * time.Second
	// podsLag is how long the pod of a finished Job may take to become visible.
	podsLag = 10 * time.Second
)

// endOf says whether and how an attempt has ended. job is nil if it is gone.
// pods has at most one element, unless the cluster made a mistake. The End has
// no Ref.
func endOf(job *batchv1.Job, pods []*corev1.Pod, now time.Time, startTimeout time.Duration) (launch.End, bool) {
	var last *corev1.Pod
	for _, p := range pods {
		if alive(p, now) {
			if w, detail := waitingFor(p); w == forRepair && p.DeletionTimestamp == nil && now.Sub(placed(p)) > startTimeout {
				return launch.End{Reason: launch.NotStarted, Detail: detail}, true
			}
			return launch.End{}, false
		}
		if last == nil || last.CreationTimestamp.Before(&p.CreationTimestamp) {
			last = p
		}
	}
	switch {
	case last != nil:
		return reasonOfPod(last), true
	case job == nil:
		return launch.End{Reason: launch.Disrupted, Detail: "the Job was deleted by somebody else"}, true
	}
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return reasonOfJob(c), now.Sub(c.LastTransitionTime.Time) > podsLag
		}
	}
	return launch.End{}, false // without a pod it waits: for a quota, or for a controller that suspended it
}

// placed is when a pod got its node, or was made if it has none.
func placed(p *corev1.Pod) time.Time {
	if c := condition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionTrue && c.LastTransitionTime.After(p.CreationTimestamp.Time) {
		return c.LastTransitionTime.Time
	}
	return p.CreationTimestamp.Time
}

// standing says what an attempt that has not ended waits for, or since when its
// container runs. A new Job, which the cache does not have yet, is starting.
func standing(job *batchv1.Job, pods []*corev1.Pod, now time.Time) (reason conversion.WaitReason, since time.Time) {
	for _, p := range pods {
		if !alive(p, now) {
			continue
		}
		switch w, _ := waitingFor(p); w {
		case forNothing:
			return "", running(p)
		case forNode:
			return conversion.WaitNode, time.Time{}
		case forGate:
			return conversion.WaitSuspended, time.Time{}
		}
		return conversion.WaitStart, time.Time{}
	}
	switch {
	case job == nil || len(pods) > 0:
		return conversion.WaitStart, time.Time{}
	case job.Spec.Suspend != nil && *job.Spec.Suspend:
		return conversion.WaitSuspended, time.Time{}
	}
	return conversion.WaitPod, time.Time{}
}

// running is when a pod's container began to run; zero if nobody says.
func running(p *corev1.Pod) time.Time {
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == container && c.State.Running != nil {
			return c.State.Running.StartedAt.Time
		}
	}
	return time.Time{}
}

// alive says whether processes of the pod may run, now or later.
func alive(p *corev1.Pod, now time.Time) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	return p.DeletionTimestamp == nil || now.Before(p.DeletionTimestamp.Add(overdue))
}

// reasonOfPod says how a pod that is not alive ended.
func reasonOfPod(p *corev1.Pod) launch.End {
	s := p.Status
	var ended *corev1.ContainerStateTerminated
	for _, c := range s.ContainerStatuses {
		if c.Name == container {
			ended = c.State.Terminated
		}
	}
	disruption := condition(p, corev1.DisruptionTarget)
	switch {
	case s.Phase == corev1.PodSucceeded:
		return launch.End{Reason: launch.Exited}
	case s.Phase != corev1.PodFailed:
		return launch.End{Reason: launch.Disrupted, Detail: "the node " + p.Spec.NodeName + " does not answer"}
	case s.Reason == "DeadlineExceeded":
		return launch.End{Reason: launch.Deadline, Detail: s.Message}
	case disruption != nil && disruption.Status == corev1.ConditionTrue:
		return launch.End{Reason: launch.Disrupted, Detail: join(disruption.Reason, disruption.Message)}
	case s.Reason == "Evicted": // not because of the node: it used more disk than it may
		return launch.End{Reason: launch.Killed, Detail: s.Message}
	case p.DeletionTimestamp != nil:
		return launch.End{Reason: launch.Disrupted, Detail: "the pod was deleted by somebody else"}
	case ended == nil: // the node refused it, or knows nothing of it after a restart
		return launch.End{Reason: launch.Disrupted, Detail: join(s.Reason, s.Message)}
	case ended.Reason == "ContainerStatusUnknown" || ended.Reason == "Unknown": // the node was restarted
		return launch.End{Reason: launch.Disrupted, Detail: join(ended.Reason, ended.Message)}
	case ended.Reason == "OOMKilled":
		return launch.End{Reason: launch.OutOfMemory, Detail: join(ended.Reason, ended.Message)}
	case ended.Signal > 0 || ended.ExitCode > 128: // the runtime reports a signal like this
		return launch.End{Reason: launch.Killed, Detail: "exit code " + strconv.Itoa(int(ended.ExitCode))}
	}
	return launch.End{Reason: launch.Exited, ExitCode: int(ended.ExitCode), Detail: ended.Message}
}

var exitCode = regexp.MustCompile(`failed with exit code (\d+)`)

// reasonOfJob says how a Job ended whose pod is gone. A pod goes when its node
// is lost.
func reasonOfJob(c batchv1.JobCondition) launch.End {
	if c.Type == batchv1.JobComplete {
		return launch.End{Reason: launch.Exited}
	}
	if m := exitCode.FindStringSubmatch(c.Message); m != nil && c.Reason == batchv1.JobReasonPodFailurePolicy {
		if code, err := strconv.Atoi(m[1]); err == nil {
			return launch.End{Reason: launch.Exited, ExitCode: code, Detail: c.Message}
		}
	}
	return launch.End{Reason: launch.Disrupted, Detail: join(c.Reason, c.Message)}
}

// wait is what a pod waits for.
type wait int

const (
	forNothing wait = iota // it runs, or has ended
	forStart               // its turn
	forGate                // a controller that holds it back
	forNode                // a node that takes it
	forRepair              // of its image's name, its configuration or the like
)

// waitingFor says what a pod waits for, with a detail for the operator.
func waitingFor(p *corev1.Pod) (w wait, detail string) {
	if p.Status.Phase != corev1.PodPending {
		return forNothing, ""
	}
	if c := condition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
		if c.Reason == corev1.PodReasonUnschedulable {
			return forNode, join(c.Reason, c.Message)
		}
		if c.Reason == corev1.PodReasonSchedulingGated {
			return forGate, join(c.Reason, c.Message)
		}
		return forStart, join(c.Reason, c.Message)
	}
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return forRepair, join(w.Reason, w.Message)
		}
	}
	return forStart, "its container is being made"
}

func condition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i, c := range p.Status.Conditions {
		if c.Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func join(reason, message string) string {
	return strings.TrimSuffix(strings.TrimPrefix(reason+": "+message, ": "), ": ")
}
