//go:build !nokubernetes

package launcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"

	"tonearm/dispatcher"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/launch/kubelaunch"
)

func (fl *Flags) openKubernetes(o dispatcher.Options, log *slog.Logger, r prometheus.Registerer) (launch.Launcher, Leading, error) {
	klog.SetSlogLogger(log) // the client library's own
	classes, err := fl.readClasses(o)
	if err != nil {
		return nil, nil, err
	}
	l, err := kubelaunch.New(kubelaunch.Options{
		Kubeconfig: fl.kubeconfig, Namespace: fl.namespace, DispatcherURL: fl.URL, Classes: classes,
		MaxMP3Bytes: o.Limits.MaxMP3Bytes, StartTimeout: fl.startTimeout, Log: log, Registerer: r,
	})
	if err != nil {
		return nil, nil, err
	}
	if fl.lease != "" {
		return l, fl.leading(log), nil
	}
	return l, atOnce, nil
}

// leading makes a part of a process run only while this replica holds the
// Lease. A replica that loses it ends, and starts over as one that waits.
func (fl *Flags) leading(log *slog.Logger) Leading {
	return func(run func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			namespace, name, _ := strings.Cut(fl.lease, "/")
			if namespace == "" || name == "" {
				return fmt.Errorf("--lease: %q is not of the form namespace/name", fl.lease)
			}
			identity, err := identity()
			if err != nil {
				return err
			}
			return kubelaunch.Lead(ctx, kubelaunch.LeaseOptions{
				Kubeconfig: fl.kubeconfig, Namespace: namespace, Name: name, Identity: identity, Log: log,
			}, run)
		}
	}
}

// readClasses reads --job-classes and adds the images. If the file does not say
// otherwise, a Job of class gpu may take as long to start as a conversion waits
// for a GPU.
func (fl *Flags) readClasses(o dispatcher.Options) (map[conversion.Class]kubelaunch.Class, error) {
	classes := map[conversion.Class]kubelaunch.Class{}
	if fl.classes != "" {
		b, err := os.ReadFile(filepath.Clean(fl.classes))
		if err != nil {
			return nil, fmt.Errorf("--job-classes: %w", err)
		}
		if err := yaml.UnmarshalStrict(b, &classes); err != nil {
			return nil, fmt.Errorf("--job-classes: %s: %w", fl.classes, err)
		}
	}
	if o.MaxJobs[conversion.GPU] > 0 && fl.gpu == "" {
		return nil, errors.New("--max-gpu-jobs is above 0, but there is no image for these Jobs; set --transcoder-gpu-image, or --max-gpu-jobs 0")
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
		if class == conversion.GPU && c.StartTimeout.Duration == 0 {
			c.StartTimeout.Duration = o.GPUWait
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
