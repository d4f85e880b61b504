package kubelaunch

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tonearm/internal/conversion"
)

// Options of a Launcher. Fields without a default are required.
type Options struct {
	// Kubeconfig is the path of a kubeconfig file; '' for the service account
	// of the pod that this process runs in.
	Kubeconfig string
	// Namespace of the Jobs.
	Namespace string
	// DispatcherURL is told to the attempts.
	DispatcherURL string
	// Classes that may be started.
	Classes map[conversion.Class]Class
	// MaxMP3Bytes is the largest MP3 that an attempt may make; default 2 GiB.
	MaxMP3Bytes int64
	// ServiceAccount of the pods, for its pull secrets; default that of the
	// namespace. They get no token.
	ServiceAccount string
	// Grace is how long a container has between SIGTERM and SIGKILL; whole
	// seconds, default 3 s.
	Grace time.Duration
	// StartTimeout is after which an attempt whose container does not run has
	// ended as NotStarted. It has to be longer than a new node takes to come.
	// Default 10 min.
	StartTimeout time.Duration
	// NodeTimeout is after which a pod whose node does not answer is given up;
	// whole seconds, default 1 min.
	NodeTimeout time.Duration
	// KeepFinished is after which a finished Job goes that nobody stopped;
	// whole seconds, default 1 h.
	KeepFinished time.Duration
	// QPS and Burst bound the calls to the API server; default 50 and 100.
	QPS   float32
	Burst int

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Class is what the attempts of one class run on.
type Class struct {
	Image           string            `json:"image"`
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// Resources of the container: at least a memory limit of 256Mi. Ephemeral
	// storage is derived from the source.
	Resources     corev1.ResourceRequirements `json:"resources"`
	RuntimeClass  string                      `json:"runtimeClass,omitempty"`
	PriorityClass string                      `json:"priorityClass,omitempty"`
	NodeSelector  map[string]string           `json:"nodeSelector,omitempty"`
	Tolerations   []corev1.Toleration         `json:"tolerations,omitempty"`
	// StartTimeout overrides that of the Options.
	StartTimeout metav1.Duration `json:"startTimeout,omitzero"`
}

const (
	headroom  = 128 << 20 // bytes of a memory limit that are not ffmpeg's
	minMemory = 256 << 20
)

func (o Options) withDefaults() Options {
	orDefault(&o.MaxMP3Bytes, 2<<30)
	orDefault(&o.Grace, 3*time.Second)
	orDefault(&o.StartTimeout, 10*time.Minute)
	orDefault(&o.NodeTimeout, time.Minute)
	orDefault(&o.KeepFinished, time.Hour)
	orDefault(&o.QPS, 50)
	orDefault(&o.Burst, 100)
	return o
}

func orDefault[T int | int64 | float32 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

func (o Options) validate() error {
	switch {
	case o.Namespace == "":
		return errors.New("no namespace")
	case o.DispatcherURL == "":
		return errors.New("no dispatcher URL")
	case len(o.Classes) == 0:
		return errors.New("no classes")
	case o.Log == nil || o.Registerer == nil:
		return errors.New("log and registerer are required")
	}
	for name, c := range o.Classes {
		r := c.Resources
		_, requests := r.Requests[corev1.ResourceEphemeralStorage]
		_, limits := r.Limits[corev1.ResourceEphemeralStorage]
		switch {
		case c.Image == "":
			return fmt.Errorf("class %s: no image", name)
		case r.Limits.Memory().Value() < minMemory:
			return fmt.Errorf("class %s: the memory limit is below 256Mi", name)
		case requests || limits:
			return fmt.Errorf("class %s: ephemeral storage is derived from the source", name)
		}
	}
	return nil
}

// startTimeout of a class.
func (o Options) startTimeout(class conversion.Class) time.Duration {
	if d := o.Classes[class].StartTimeout.Duration; d > 0 {
		return d
	}
	return o.StartTimeout
}
