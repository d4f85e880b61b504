package kubelaunch

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// Labels of a Job and its pod, besides app.kubernetes.io/name, component,
// part-of and managed-by.
const (
	LabelConversion = "tonearm/conversion"
	LabelAttempt    = "tonearm/attempt"
	LabelClass      = "tonearm/class"
)

// Selector finds the Jobs and pods of attempts.
const Selector = "app.kubernetes.io/name=tonearm,app.kubernetes.io/component=transcoder"

const (
	container = "transcoder"
	workMount = "/work"
	user      = 65532 // the same as in the images

	diskSlack = 256 << 20 // bytes beside source and MP3: audio between decoder and encoders
	mp3Copies = 3         // as encoded, with an information frame, and behind its tag
	logSpace  = 64 << 20  // for what the container prints, which counts as ephemeral storage too
	leastMP3  = 128 << 20 // space to ask for even if the source is small
)

var validID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// nameOf returns the name of an attempt's Job.
func nameOf(r conversion.AttemptRef) (string, error) {
	name := jobName(r)
	if !validID.MatchString(r.ConversionID) || r.Attempt < 1 || len(name) > 63 {
		return "", fmt.Errorf("%q: not a name for a Job", r)
	}
	return name, nil
}

func jobName(r conversion.AttemptRef) string {
	return fmt.Sprintf("tonearm-%s-%d", r.ConversionID, r.Attempt)
}

// attemptOf reads the labels that [Job] wrote, on the Job or, if job is nil, on
// its pods.
func attemptOf(job *batchv1.Job, pods []*corev1.Pod) (a launch.Attempt, ok bool) {
	var labels map[string]string
	if job != nil {
		labels = job.Labels
	} else {
		labels = pods[0].Labels
	}
	n, err := strconv.Atoi(labels[LabelAttempt])
	if err != nil {
		return a, false
	}
	a.ConversionID, a.Attempt, a.Class = labels[LabelConversion], n, conversion.Class(labels[LabelClass])
	return a, true
}

// Job returns the Job for one attempt. o must have the attempt's class.
func Job(o Options, s launch.Spec) *batchv1.Job {
	o = o.withDefaults()
	class := o.Classes[s.Class]
	labels := map[string]string{
		"app.kubernetes.io/name":       "tonearm",
		"app.kubernetes.io/component":  "transcoder",
		"app.kubernetes.io/part-of":    "tonearm",
		"app.kubernetes.io/managed-by": "tonearm-dispatcher",
		LabelConversion:                s.ConversionID,
		LabelAttempt:                   strconv.Itoa(s.Attempt),
		LabelClass:                     string(s.Class),
	}
	volume := s.SourceSize + mp3Copies*o.MaxMP3Bytes + diskSlack
	likely := s.SourceSize + min(o.MaxMP3Bytes, max(s.SourceSize, leastMP3)) + diskSlack
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: jobName(s.AttemptRef), Namespace: o.Namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			Completions:             ptr(int32(1)),
			Parallelism:             ptr(int32(1)),
			BackoffLimit:            ptr(int32(0)),
			PodReplacementPolicy:    ptr(batchv1.Failed),
			PodFailurePolicy:        &batchv1.PodFailurePolicy{Rules: failureRules()},
			TTLSecondsAfterFinished: ptr(int32(seconds(o.KeepFinished))),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels: labels,
					Annotations: map[string]string{ // an attempt that is moved begins again from the start
						"cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
						"karpenter.sh/do-not-disrupt":                    "true",
					},
				},
				Spec: corev1.PodSpec{
					RestartPolicy:                 corev1.RestartPolicyNever,
					TerminationGracePeriodSeconds: ptr(seconds(o.Grace)),
					ActiveDeadlineSeconds:         deadline(s.Deadline),
					ServiceAccountName:            o.ServiceAccount,
					AutomountServiceAccountToken:  ptr(false),
					EnableServiceLinks:            ptr(false),
					RuntimeClassName:              optional(class.RuntimeClass),
					PriorityClassName:             class.PriorityClass,
					NodeSelector:                  class.NodeSelector,
					Tolerations:                   append(nodeLost(o.NodeTimeout), class.Tolerations...),
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot:   ptr(true),
						RunAsUser:      ptr(int64(user)),
						RunAsGroup:     ptr(int64(user)),
						FSGroup:        ptr(int64(user)),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name:            container,
						Image:           class.Image,
						ImagePullPolicy: class.ImagePullPolicy,
						Env: []corev1.EnvVar{
							{Name: "TONEARM_DISPATCHER_URL", Value: o.DispatcherURL},
							{Name: "TONEARM_CONVERSION_ID", Value: s.ConversionID},
							{Name: "TONEARM_ATTEMPT_TOKEN", Value: s.Token},
							// Below the mount, because the mount itself belongs to root.
							{Name: "TONEARM_WORK_DIR", Value: workMount + "/attempt"},
							{Name: "GOMAXPROCS", Value: cpus(class.Resources)},
							{Name: "TONEARM_MEMORY_LIMIT_BYTES", Value: strconv.FormatInt(class.Resources.Limits.Memory().Value()-headroom, 10)},
						},
						Resources: corev1.ResourceRequirements{
							Requests: with(class.Resources.Requests, corev1.ResourceEphemeralStorage, likely+logSpace),
							Limits:   with(class.Resources.Limits, corev1.ResourceEphemeralStorage, volume+logSpace),
						},
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: ptr(false),
							ReadOnlyRootFilesystem:   ptr(true),
							Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
						VolumeMounts: []corev1.VolumeMount{{Name: "work", MountPath: workMount}},
					}},
					Volumes: []corev1.Volume{{Name: "work", VolumeSource: corev1.VolumeSource{
						EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(volume, resource.BinarySI)},
					}}},
				},
			},
		},
	}
}

// cpus is how many cores an attempt may count on, at least one.
func cpus(r corev1.ResourceRequirements) string {
	q, ok := r.Limits[corev1.ResourceCPU]
	if !ok {
		q = r.Requests[corev1.ResourceCPU]
	}
	return strconv.FormatInt(max(1, q.Value()), 10) // rounded up
}

// failureRules make the Job's own condition say how its pod ended; reasonOfJob
// reads it where the pod is gone.
func failureRules() []batchv1.PodFailurePolicyRule {
	rules := []batchv1.PodFailurePolicyRule{{
		Action:          batchv1.PodFailurePolicyActionFailJob,
		OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
	}}
	for _, code := range []int32{attempt.ExitUsage, attempt.ExitBadInput, attempt.ExitFailed, attempt.ExitStopped, attempt.ExitNoReport, attempt.ExitFault} {
		rules = append(rules, batchv1.PodFailurePolicyRule{
			Action: batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
				ContainerName: ptr(container), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{code},
			},
		})
	}
	return rules
}

// nodeLost limits how long a pod stays bound to a node that does not answer;
// the default of a cluster is 5 min.
func nodeLost(after time.Duration) []corev1.Toleration {
	var ts []corev1.Toleration
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		ts = append(ts, corev1.Toleration{
			Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
			TolerationSeconds: ptr(seconds(after)),
		})
	}
	return slices.Clip(ts)
}

func with(list corev1.ResourceList, name corev1.ResourceName, bytes int64) corev1.ResourceList {
	all := maps.Clone(list)
	if all == nil {
		all = corev1.ResourceList{}
	}
	all[name] = *resource.NewQuantity(bytes, resource.BinarySI)
	return all
}

func deadline(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	return ptr(seconds(d))
}

// seconds rounds up, to at least 1.
func seconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func ptr[T any](v T) *T { return &v }
