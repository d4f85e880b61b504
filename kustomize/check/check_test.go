// Package check renders every overlay and checks each object in it. An object
// must decode strictly, pass Pod Security, be complete, and refer only to
// objects that exist.
package check

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

const root = ".."

// external are the objects that a person makes, as the READMEs say.
var external = map[string]bool{"Secret/tonearm": true, "ConfigMap/tonearm-ca": true}

func TestOverlays(t *testing.T) {
	overlays, err := filepath.Glob(filepath.Join(root, "overlays", "*", "kustomization.yaml"))
	if err != nil || len(overlays) == 0 {
		t.Fatalf("no overlays: %v", err)
	}
	for _, file := range overlays {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			o, named := render(t, dir), namedImages(t, dir)
			if len(o.pods) == 0 {
				t.Fatal("no pods")
			}
			for _, p := range o.pods {
				o.checkPod(t, p, named)
			}
			o.checkSecurity(t)
			o.checkReferences(t)
			o.checkPermissions(t)
			o.checkGPU(t)
			o.checkQuota(t)
			o.checkDashboards(t)
		})
	}
}

// checkSecurity: every namespace enforces "restricted", and every pod passes
// it. The rules are those of the admission controller itself.
func (o *overlay) checkSecurity(t *testing.T) {
	for _, ns := range of[*corev1.Namespace](o) {
		if got := ns.Labels[psa.EnforceLevelLabel]; got != string(psa.LevelRestricted) {
			t.Errorf("%s: Pod Security enforces %q", ns.Name, got)
		}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	restricted := psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}
	for _, p := range o.pods {
		results := evaluator.EvaluatePod(restricted, &p.template.ObjectMeta, &p.template.Spec)
		if r := policy.AggregateCheckResults(results); !r.Allowed {
			t.Errorf("%s: %s", p.id, r.ForbiddenDetail())
		}
	}
	if secrets := of[*corev1.Secret](o); len(secrets) > 0 {
		t.Errorf("%d Secrets are rendered: want none", len(secrets))
	}
}

func (o *overlay) checkPod(t *testing.T, p pod, named map[string]bool) {
	spec := p.template.Spec
	if !labelsMatch(p.selector, p.template.Labels) {
		t.Errorf("%s: its selector does not match its pods", p.id)
	}
	if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
		t.Errorf("%s: a Service's name could become a TONEARM_… variable: set enableServiceLinks: false", p.id)
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken && !slices.Contains([]string{"dispatcher", "makesecrets"}, spec.ServiceAccountName) {
		t.Errorf("%s: gets a token of the API server", p.id)
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		images := []string{c.Image}
		for _, e := range c.Env {
			if strings.HasSuffix(e.Name, "_IMAGE") {
				images = append(images, e.Value)
			}
		}
		for _, image := range images {
			if !named[image] {
				t.Errorf("%s: image %s is not what images: name", p.id, image)
			}
		}
		for _, e := range c.Env {
			secret := e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil
			if secret && strings.Contains(strings.Join(slices.Concat(c.Command, c.Args), " "), "$("+e.Name+")") {
				t.Errorf("%s: the secret %s is an argument, which every list of processes shows", p.id, e.Name)
			}
		}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
			if c.Resources.Requests.Name(name, "").IsZero() || c.Resources.Limits.Name(name, "").IsZero() {
				t.Errorf("%s: no request or no limit of %s", p.id, name)
			}
		}
		switch p.kind {
		case "Deployment":
			if c.LivenessProbe == nil || c.ReadinessProbe == nil {
				t.Errorf("%s: want probes of life and readiness", p.id)
			}
		case "StatefulSet":
			if c.StartupProbe == nil || c.ReadinessProbe == nil {
				t.Errorf("%s: want probes of start and readiness", p.id)
			}
		}
	}
}

// checkDashboards: if Tonearm is scraped, there are dashboards, with the label
// that Grafana's sidecar looks for. They need no inputs, because the sidecar
// gives none.
func (o *overlay) checkDashboards(t *testing.T) {
	found := 0
	for _, m := range of[*corev1.ConfigMap](o) {
		if m.Labels["grafana_dashboard"] != "1" {
			continue
		}
		for name, text := range m.Data {
			found++
			var d struct{ UID string }
			if err := json.Unmarshal([]byte(text), &d); err != nil || d.UID == "" || strings.Contains(text, "${DS_") {
				t.Errorf("%s: uid %q, %v", name, d.UID, err)
			}
		}
	}
	if scraped := o.ids["PodMonitor/tonearm/tonearm"]; scraped != (found > 0) {
		t.Errorf("scraped: %t, dashboards: %d", scraped, found)
	}
}

// checkReferences: whatever is referred to by name or by labels exists.
func (o *overlay) checkReferences(t *testing.T) {
	has := func(kind, namespace, name string) bool {
		return o.ids[kind+"/"+namespace+"/"+name] || external[kind+"/"+name]
	}
	for _, p := range o.pods {
		need := func(kind, name string) {
			if !has(kind, p.namespace, name) {
				t.Errorf("%s: there is no %s %s", p.id, kind, name)
			}
		}
		need("ServiceAccount", p.template.Spec.ServiceAccountName)
		for _, v := range p.template.Spec.Volumes {
			if v.ConfigMap != nil {
				need("ConfigMap", v.ConfigMap.Name)
			}
			if v.Secret != nil {
				need("Secret", v.Secret.SecretName)
			}
			if v.PersistentVolumeClaim != nil {
				need("PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName)
			}
		}
		for _, c := range p.template.Spec.Containers {
			for _, e := range c.EnvFrom {
				need("ConfigMap", e.ConfigMapRef.Name)
			}
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					need("Secret", e.ValueFrom.SecretKeyRef.Name)
				}
			}
		}
	}
	for _, s := range of[*corev1.Service](o) {
		if s.Spec.Selector == nil { // then its addresses are set elsewhere
			if !o.ids["EndpointSlice/"+s.Namespace+"/"+s.Name] {
				t.Errorf("Service %s: neither selector nor EndpointSlice", s.Name)
			}
			continue
		}
		for _, port := range s.Spec.Ports {
			if !o.some(s.Namespace, labels.SelectorFromSet(s.Spec.Selector), port.TargetPort.StrVal) {
				t.Errorf("Service %s: no pod with port %s", s.Name, port.TargetPort.String())
			}
		}
	}
	for _, b := range of[*policyv1.PodDisruptionBudget](o) {
		if !o.some(b.Namespace, selector(t, b.Spec.Selector), "") {
			t.Errorf("PodDisruptionBudget %s: no pods", b.Name)
		}
	}
	for _, n := range of[*networkingv1.NetworkPolicy](o) {
		if n.Namespace == "tonearm" && !o.some(n.Namespace, selector(t, &n.Spec.PodSelector), "") {
			t.Errorf("NetworkPolicy %s: no pods", n.Name)
		}
	}
	for _, i := range of[*networkingv1.Ingress](o) {
		for _, rule := range i.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				if name := path.Backend.Service.Name; !has("Service", i.Namespace, name) {
					t.Errorf("Ingress %s: no Service %s", i.Name, name)
				}
			}
		}
	}
	for _, ns := range []string{"tonearm", "tonearm-jobs"} {
		if !o.ids["NetworkPolicy/"+ns+"/default-deny"] {
			t.Errorf("namespace %s: nothing denied by default", ns)
		}
	}
}

// checkPermissions: nobody has a wildcard or a right in the whole cluster.
func (o *overlay) checkPermissions(t *testing.T) {
	for id := range o.ids {
		if strings.HasPrefix(id, "ClusterRole") {
			t.Errorf("%s: a right in the whole cluster", id)
		}
	}
	for _, r := range of[*rbacv1.Role](o) {
		for _, rule := range r.Rules {
			if slices.Contains(slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups), "*") {
				t.Errorf("Role %s/%s: a wildcard", r.Namespace, r.Name)
			}
			for _, name := range rule.ResourceNames {
				if slices.Contains(rule.Resources, "secrets") && !external["Secret/"+name] {
					t.Errorf("Role %s/%s: there is no Secret %s", r.Namespace, r.Name, name)
				}
			}
		}
	}
}

// checkGPU: if class gpu has an image, Jobs of class gpu are allowed, have a
// class and fit into the quota. If it has none, they are not allowed.
func (o *overlay) checkGPU(t *testing.T) {
	var image, limit string
	for _, p := range o.pods {
		for _, c := range p.template.Spec.Containers {
			for _, e := range c.Env {
				if e.Name == "TONEARM_TRANSCODER_GPU_IMAGE" {
					image = e.Value
				}
			}
		}
	}
	class := map[string]any{}
	for _, m := range of[*corev1.ConfigMap](o) {
		limit = cmp.Or(m.Data["TONEARM_MAX_GPU_JOBS"], limit)
		if text, ok := m.Data["job-classes.yaml"]; ok {
			if err := yaml.Unmarshal([]byte(text), &class); err != nil {
				t.Errorf("ConfigMap %s: %v", m.Name, err)
			}
		}
	}
	jobs, _ := strconv.ParseInt(limit, 10, 64) // 0 if it is not set
	if (image != "") != (jobs > 0) {
		t.Errorf("class gpu: image %q, and %d Jobs at a time", image, jobs)
	}
	if image != "" && class["gpu"] == nil {
		t.Error("class gpu: job-classes.yaml does not say what it runs on")
	}
	for _, q := range of[*corev1.ResourceQuota](o) {
		if gpus := q.Spec.Hard["requests.nvidia.com/gpu"]; gpus.Value() < jobs || jobs == 0 && gpus.Value() > 0 {
			t.Errorf("class gpu: a quota of %s for %d Jobs at a time", gpus.String(), jobs)
		}
	}
}

// checkQuota: every Job that the quota allows may have a pod, and so may as many
// Jobs of each class as the dispatcher starts at a time, with what they ask for.
func (o *overlay) checkQuota(t *testing.T) {
	limits := map[string]string{"cpu": "4", "gpu": "0"} // the dispatcher's defaults
	var classes map[string]struct{ Resources corev1.ResourceRequirements }
	for _, m := range of[*corev1.ConfigMap](o) {
		limits["cpu"] = cmp.Or(m.Data["TONEARM_MAX_JOBS"], limits["cpu"])
		limits["gpu"] = cmp.Or(m.Data["TONEARM_MAX_GPU_JOBS"], limits["gpu"])
		if text, ok := m.Data["job-classes.yaml"]; ok {
			if err := yaml.Unmarshal([]byte(text), &classes); err != nil {
				t.Errorf("ConfigMap %s: %v", m.Name, err)
			}
		}
	}
	need := corev1.ResourceList{}
	add := func(name corev1.ResourceName, q resource.Quantity) {
		sum := need[name]
		sum.Add(q)
		need[name] = sum
	}
	for class, limit := range limits {
		jobs, err := strconv.Atoi(limit)
		if err != nil {
			t.Errorf("class %s: %v", class, err)
		}
		for range jobs {
			add("count/jobs.batch", resource.MustParse("1"))
			add(corev1.ResourcePods, resource.MustParse("1"))
			for name, q := range classes[class].Resources.Requests {
				add("requests."+name, q)
			}
			add(corev1.ResourceLimitsMemory, classes[class].Resources.Limits[corev1.ResourceMemory])
		}
	}
	quotas := 0
	for _, q := range of[*corev1.ResourceQuota](o) {
		if q.Namespace != "tonearm-jobs" {
			continue
		}
		quotas++
		hard := q.Spec.Hard
		jobs, pods := hard["count/jobs.batch"], hard[corev1.ResourcePods]
		if jobs.Cmp(pods) > 0 {
			t.Errorf("the quota allows %s Jobs, but only %s pods", jobs.String(), pods.String())
		}
		for name, want := range need {
			if most, ok := hard[name]; ok && most.Cmp(want) < 0 {
				t.Errorf("the quota allows %s of %s, but as many Jobs as the dispatcher starts need %s", most.String(), name, want.String())
			}
		}
	}
	if quotas != 1 {
		t.Errorf("%d quotas for the Jobs", quotas)
	}
}

// namedImages returns the images that `images:` names for an overlay: its own,
// and those of the base and the components that it does not name itself.
func namedImages(t *testing.T, overlay string) map[string]bool {
	var own, others []string
	for _, file := range files(t, "kustomization.yaml") {
		switch {
		case filepath.Dir(file) == overlay:
			own = append(own, file)
		case !strings.HasPrefix(file, filepath.Join(root, "overlays")):
			others = append(others, file)
		}
	}
	byName := map[string]string{}
	for _, file := range append(others, own...) {
		var k struct {
			Images []struct{ Name, NewName, NewTag, Digest string } `json:"images"`
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, &k); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, i := range k.Images {
			image := cmp.Or(i.NewName, i.Name)
			switch {
			case i.Digest != "":
				image += "@" + i.Digest
			case i.NewTag != "" && i.NewTag != "latest":
				image += ":" + i.NewTag
			default:
				t.Errorf("%s: %s has no fixed version", file, i.Name)
			}
			byName[i.Name] = image
		}
	}
	named := map[string]bool{}
	for _, image := range byName {
		named[image] = true
	}
	return named
}

// Every finding that is ignored has its line in the README, and every overlay
// has a README of at most one screen.
func TestDocs(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	ignored := map[string]bool{}
	annotation := regexp.MustCompile(`kube-score/ignore: "?([a-z,-]+)`)
	for _, file := range files(t, "*.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range annotation.FindAllSubmatch(text, -1) {
			for name := range strings.SplitSeq(string(m[1]), ",") {
				ignored[name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ignored)) {
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("README.md does not say why %s is ignored", name)
		}
	}
	overlays, err := filepath.Glob(filepath.Join(root, "overlays", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range overlays {
		text, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil {
			t.Error(err)
		} else if n := len(regexp.MustCompile(`(?m)^.+$`).FindAll(text, -1)); n > 50 {
			t.Errorf("%s: a README of %d lines that are not empty, want a screen at most", dir, n)
		}
	}
}

// pod is one pod template and the kind of object that makes pods from it.
type pod struct {
	kind, namespace, id string
	selector            *metav1.LabelSelector
	template            corev1.PodTemplateSpec
}

func pods(object any) []pod {
	switch x := object.(type) {
	case *appsv1.Deployment:
		return []pod{{"Deployment", x.Namespace, "Deployment " + x.Name, x.Spec.Selector, x.Spec.Template}}
	case *appsv1.StatefulSet:
		return []pod{{"StatefulSet", x.Namespace, "StatefulSet " + x.Name, x.Spec.Selector, x.Spec.Template}}
	case *batchv1.Job:
		return []pod{{"Job", x.Namespace, "Job " + x.Name, nil, x.Spec.Template}}
	}
	return nil
}
