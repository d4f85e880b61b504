// Package launcher holds the flags that say where attempts run, and opens the
// launcher they ask for.
package launcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"

	"tonearm/cmd/internal/config"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/launch/execlaunch"
	"tonearm/internal/launch/kubelaunch"
)

// Flags say where attempts run.
type Flags struct {
	URL          string // of the dispatcher, as transcoders reach it
	Kind         string // process or kubernetes
	transcoder   string
	workDir      string
	kubeconfig   string
	namespace    string
	lease        string
	classes      string
	image, gpu   string
	startTimeout time.Duration
}

// Bind adds the flags.
func Bind(f *pflag.FlagSet) *Flags {
	fl := &Flags{}
	f.StringVar(&fl.URL, "dispatcher-url", "", "URL at which transcoders reach the dispatcher")
	f.StringVar(&fl.Kind, "launcher", "process", "where attempts run: process (children of this one) or kubernetes (a Job each)")
	f.StringVar(&fl.transcoder, "transcoder", "", "transcoder program (default: the one beside this program)")
	f.StringVar(&fl.workDir, "work-dir", "", "directory of the attempts that are child processes (default: a folder of the system's temporary one)")
	f.StringVar(&fl.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	f.StringVar(&fl.namespace, "jobs-namespace", "tonearm-jobs", "namespace of the Jobs; it belongs to one dispatcher")
	f.StringVar(&fl.lease, "lease", "", "namespace/name of the Lease that replicas share; '' for a single replica")
	f.StringVar(&fl.classes, "job-classes", "", "YAML file: resources, nodeSelector, tolerations, runtimeClass, priorityClass of the Jobs of class cpu and gpu")
	f.StringVar(&fl.image, "transcoder-image", "", "image of the Jobs of class cpu")
	f.StringVar(&fl.gpu, "transcoder-gpu-image", "", "image of the Jobs of class gpu; '' where there are none")
	f.DurationVar(&fl.startTimeout, "job-start-timeout", 10*time.Minute, "a Job whose container does not run by then has failed")
	return fl
}

// Local is what child processes are started with where no flag says otherwise.
type Local struct {
	Command []string
	Dir     string
}

// Open returns the launcher, and what runs the dispatcher's own work: at once,
// or while this replica holds the Lease.
func (fl *Flags) Open(local Local, maxMP3Bytes int64, log *slog.Logger, r prometheus.Registerer) (launch.Launcher, func(run func(context.Context) error) func(context.Context) error, error) {
	if fl.URL == "" {
		return nil, nil, errors.New("--dispatcher-url is required (or TONEARM_DISPATCHER_URL)")
	}
	at := func(run func(context.Context) error) func(context.Context) error { return run }
	switch fl.Kind {
	case "process":
		l, err := fl.openProcess(local, log)
		return l, at, err
	case "kubernetes":
		klog.SetSlogLogger(log) // the client library's own
		classes, err := fl.readClasses()
		if err != nil {
			return nil, nil, err
		}
		l, err := kubelaunch.New(kubelaunch.Options{
			Kubeconfig: fl.kubeconfig, Namespace: fl.namespace, DispatcherURL: fl.URL, Classes: classes,
			MaxMP3Bytes: maxMP3Bytes, StartTimeout: fl.startTimeout, Log: log, Registerer: r,
		})
		if err != nil {
			return nil, nil, err
		}
		if fl.lease != "" {
			at = fl.leading(log)
		}
		return l, at, nil
	}
	return nil, nil, fmt.Errorf("--launcher is %q; it can be process or kubernetes", fl.Kind)
}

func (fl *Flags) openProcess(local Local, log *slog.Logger) (launch.Launcher, error) {
	if fl.transcoder != "" {
		local.Command = []string{fl.transcoder}
	}
	if len(local.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		local.Command = []string{filepath.Join(filepath.Dir(self), "transcoder")}
	}
	if fl.workDir != "" {
		local.Dir = fl.workDir
	}
	if local.Dir == "" {
		local.Dir = filepath.Join(os.TempDir(), "tonearm-attempts")
	}
	return execlaunch.New(execlaunch.Options{
		Command: local.Command, Dir: local.Dir, DispatcherURL: fl.URL, Env: config.TranscoderEnv(), Log: log,
	})
}

// leading makes a part of a process run only while this replica holds the
// Lease. A replica that loses it ends, and starts over as one that waits.
func (fl *Flags) leading(log *slog.Logger) func(func(context.Context) error) func(context.Context) error {
	return func(run func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			namespace, name, ok := cut(fl.lease)
			if !ok {
				return fmt.Errorf("--lease is %q; it has the form namespace/name", fl.lease)
			}
			host, err := os.Hostname()
			if err != nil {
				return err
			}
			return kubelaunch.Lead(ctx, kubelaunch.LeaseOptions{
				Kubeconfig: fl.kubeconfig, Namespace: namespace, Name: name,
				Identity: fmt.Sprintf("%s-%d", host, os.Getpid()), Log: log,
			}, run)
		}
	}
}

func cut(lease string) (namespace, name string, ok bool) {
	namespace, name = filepath.Split(lease)
	if len(namespace) < 2 || name == "" {
		return "", "", false
	}
	return namespace[:len(namespace)-1], name, true
}

// readClasses reads --job-classes and puts the images into it.
func (fl *Flags) readClasses() (map[conversion.Class]kubelaunch.Class, error) {
	classes := map[conversion.Class]kubelaunch.Class{}
	if fl.classes != "" {
		b, err := os.ReadFile(filepath.Clean(fl.classes))
		if err != nil {
			return nil, fmt.Errorf("read job classes: %w", err)
		}
		if err := yaml.UnmarshalStrict(b, &classes); err != nil {
			return nil, fmt.Errorf("job classes in %s: %w", fl.classes, err)
		}
	}
	for class, image := range map[conversion.Class]string{conversion.CPU: fl.image, conversion.GPU: fl.gpu} {
		c, ok := classes[class]
		if image == "" {
			if class == conversion.GPU {
				delete(classes, class)
			}
			continue
		}
		c.Image = image
		if !ok {
			c.Resources = defaultResources(class)
		}
		classes[class] = c
	}
	return classes, nil
}

// defaultResources are what a Job gets where no file says otherwise: one CPU,
// as an encoder uses no more, and memory for ffmpeg's worst formats.
func defaultResources(class conversion.Class) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("256Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
	if class == conversion.GPU {
		r.Limits["nvidia.com/gpu"] = resource.MustParse("1")
	}
	return r
}
