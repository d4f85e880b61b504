package check

import (
	"io/fs"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// custom are the kinds whose types only the cluster knows. The dry run with a
// real API server checks them.
var custom = map[string]bool{
	"monitoring.coreos.com/v1 PodMonitor":    true,
	"gateway.networking.k8s.io/v1 HTTPRoute": true,
	"cert-manager.io/v1 Certificate":         true,
}

// overlay holds the objects that one overlay renders.
type overlay struct {
	objects []runtime.Object
	ids     map[string]bool // kind/namespace/name
	pods    []pod
}

// render renders the overlay in dir and decodes each object, refusing unknown
// and duplicate fields.
func render(t *testing.T, dir string) *overlay {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, discoveryv1.AddToScheme,
		networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	o := &overlay{ids: map[string]bool{}}
	for _, r := range resources.Resources() {
		id := r.GetKind() + "/" + r.GetNamespace() + "/" + r.GetName()
		if o.ids[id] {
			t.Errorf("%s: twice", id)
		}
		o.ids[id] = true
		if custom[r.GetApiVersion()+" "+r.GetKind()] {
			continue
		}
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		o.objects = append(o.objects, object)
		o.pods = append(o.pods, pods(object)...)
	}
	return o
}

// of returns the objects of one type.
func of[T runtime.Object](o *overlay) []T {
	var all []T
	for _, object := range o.objects {
		if x, ok := object.(T); ok {
			all = append(all, x)
		}
	}
	return all
}

// some reports whether a pod of the namespace matches the selector and has the
// port; "" means any port.
func (o *overlay) some(namespace string, s labels.Selector, port string) bool {
	for _, p := range o.pods {
		if p.namespace != namespace || !s.Matches(labels.Set(p.template.Labels)) {
			continue
		}
		if port == "" {
			return true
		}
		for _, c := range p.template.Spec.Containers {
			for _, has := range c.Ports {
				if has.Name == port {
					return true
				}
			}
		}
	}
	return false
}

func selector(t *testing.T, s *metav1.LabelSelector) labels.Selector {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// labelsMatch reports whether a controller's selector matches its own pods. A
// Job has no selector.
func labelsMatch(s *metav1.LabelSelector, set map[string]string) bool {
	if s == nil {
		return true
	}
	parsed, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && !parsed.Empty() && parsed.Matches(labels.Set(set))
}

// files returns the files of the kustomizations whose names match the pattern.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, filepath.Base(path)); ok && err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
