package kubelaunch

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// Options of a Launcher. Fields without a default are required.
type Options struct {
	// Kubeconfig is the path of a kubeconfig file; '' for the service account
	// of the pod that this process runs in.
	Kubeconfig string
	// Namespace of the Jobs.
	Namespace string
	// DispatcherURL is passed to the attempts.
	DispatcherURL string
	// Classes that may be started.
	Classes map[conversion.Class]Class
	// MaxMP3Bytes is the largest MP3 that an attempt may make; default attempt.DefaultMaxMP3Bytes.
	MaxMP3Bytes int64
	// ServiceAccount of the pods, because of its pull secrets; default is that
	// of the namespace. The pods get no token.
	ServiceAccount string
	// Grace is how long a container has between SIGTERM and SIGKILL; whole
	// seconds, default 3 s.
	Grace time.Duration
	// StartTimeout is how long the container of a pod that has a node may fail
	// to be made, because of its image or its configuration; after that the
	// attempt has ended as NotStarted. An attempt that waits for longer than
	// this for something else, such as a node, is Late. Default
	// launch.DefaultStartTimeout.
	StartTimeout time.Duration
	// NodeTimeout is how long a node may give no answer before its pod is given
	// up; whole seconds, default 1 min.
	NodeTimeout time.Duration
	// KeepFinished is how long a finished Job is kept that nobody stopped;
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

// Defaults of Options.
const (
	defaultGrace        = 3 * time.Second
	defaultNodeTimeout  = time.Minute
	defaultKeepFinished = time.Hour
	defaultQPS          = 50 // calls a second
	defaultBurst        = 100
)

const (
	headroom  = 128 << 20 // bytes of the memory limit that ffmpeg must not use
	minMemory = 256 << 20
)

func (o Options) withDefaults() Options {
	o.MaxMP3Bytes = cmp.Or(o.MaxMP3Bytes, attempt.DefaultMaxMP3Bytes)
	o.Grace = cmp.Or(o.Grace, defaultGrace)
	o.StartTimeout = cmp.Or(o.StartTimeout, launch.DefaultStartTimeout)
	o.NodeTimeout = cmp.Or(o.NodeTimeout, defaultNodeTimeout)
	o.KeepFinished = cmp.Or(o.KeepFinished, defaultKeepFinished)
	o.QPS = cmp.Or(o.QPS, defaultQPS)
	o.Burst = cmp.Or(o.Burst, defaultBurst)
	return o
}

func (o Options) validate() error {
	switch {
	case o.Namespace == "":
		return errors.New("a namespace is required")
	case o.DispatcherURL == "":
		return errors.New("the dispatcher's URL is required")
	case len(o.Classes) == 0:
		return errors.New("at least one class is required")
	case o.Log == nil || o.Registerer == nil:
		return errors.New("log and registerer are required")
	case o.MaxMP3Bytes < 0 || o.Grace < 0 || o.StartTimeout < 0 || o.NodeTimeout < 0 || o.KeepFinished < 0 || o.QPS < 0 || o.Burst < 0:
		return errors.New("limits, times and rates must not be negative")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Classes)) {
		c := o.Classes[name]
		r := c.Resources
		_, requests := r.Requests[corev1.ResourceEphemeralStorage]
		_, limits := r.Limits[corev1.ResourceEphemeralStorage]
		switch {
		case c.Image == "":
			return fmt.Errorf("class %s: an image is required", name)
		case r.Limits.Memory().Value() < minMemory:
			return fmt.Errorf("class %s: the memory limit is below 256Mi", name)
		case requests || limits:
			return fmt.Errorf("class %s: ephemeral storage is derived from the source", name)
		}
	}
	return nil
}

// startTimeout returns the StartTimeout of a class.
func (o Options) startTimeout(class conversion.Class) time.Duration {
	if d := o.Classes[class].StartTimeout.Duration; d > 0 {
		return d
	}
	return o.StartTimeout
}
