package kubelaunch_test

// Over 500 lines: each test is short, and all need the cluster and the helpers in this file.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/launch/kubelaunch"
	"tonearm/internal/launch/launchtest"
	"tonearm/internal/waittest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == launchtest.ProgramArg {
		launchtest.Program()
	}
	os.Exit(m.Run())
}

const image = "localhost/tonearm-launchtest:test"

// cluster is the real cluster that test/node runs.
type cluster struct {
	config *rest.Config
	*kubernetes.Clientset
	addr string // of this process, for the pods
}

var giveImage = sync.OnceValue(func() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "launchtest-image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	archive := filepath.Join(dir, "image.tar")
	args := []string{"-tag", image, "-o", archive, "-entrypoint", "/launchtest," + launchtest.ProgramArg, self + "=/launchtest"}
	libraries, _ := exec.Command("ldd", self).Output() // none where it is static
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			args = append(args, word+"="+word)
		}
	}
	if out, err := exec.Command("mkimage", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mkimage: %w: %s", err, out)
	}
	if out, err := exec.Command("../../../test/node/import", archive).CombinedOutput(); err != nil {
		return fmt.Errorf("import: %w: %s", err, out)
	}
	return nil
})

// onCluster needs a node that test/node has started.
func onCluster(t *testing.T) *cluster {
	t.Helper()
	path := os.Getenv("TONEARM_TEST_KUBECONFIG")
	if path == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE_CLUSTER") == "1" {
			t.Fatal("TONEARM_TEST_KUBECONFIG is not set")
		}
		t.Skip("no cluster: TONEARM_TEST_KUBECONFIG is not set; run it with test/node/run")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 100, 200
	c := &cluster{config: config, Clientset: kubernetes.NewForConfigOrDie(config), addr: os.Getenv("TONEARM_TEST_NODE_ADDR")}
	if err := giveImage(); err != nil {
		t.Fatalf("give the test's image to the node: %v", err)
	}
	return c
}

// namespace makes a namespace that enforces Pod Security "restricted", and a
// kubeconfig with exactly the permissions that the package's documentation
// lists.
func (c *cluster) namespace(t *testing.T) (name, kubeconfig string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ns, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "launch-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	must(err)
	name = ns.Name
	t.Cleanup(func() {
		if err := c.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	meta := metav1.ObjectMeta{Name: "dispatcher", Namespace: name}
	_, err = c.CoreV1().ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	must(err)
	_, err = c.RbacV1().Roles(name).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"create", "list", "watch", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}},
	}}, metav1.CreateOptions{})
	must(err)
	_, err = c.RbacV1().RoleBindings(name).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: meta.Name, Namespace: name}},
	}, metav1.CreateOptions{})
	must(err)
	token, err := c.CoreV1().ServiceAccounts(name).CreateToken(ctx, meta.Name, &authv1.TokenRequest{}, metav1.CreateOptions{})
	must(err)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	must(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {
			Server: c.config.Host, CertificateAuthorityData: c.config.CAData, CertificateAuthority: c.config.CAFile, InsecureSkipTLSVerify: c.config.Insecure,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, kubeconfig))
	return name, kubeconfig
}

// options returns the options of a launcher in a namespace of its own.
func (c *cluster) options(t *testing.T, url string) kubelaunch.Options {
	t.Helper()
	class := kubelaunch.Class{Image: image, ImagePullPolicy: corev1.PullNever, Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
	}}
	o := kubelaunch.Options{
		DispatcherURL: url,
		Classes:       map[conversion.Class]kubelaunch.Class{conversion.CPU: class, conversion.GPU: class},
		Log:           slog.New(slog.NewTextHandler(t.Output(), nil)),
		Registerer:    prometheus.NewRegistry(),
	}
	o.Namespace, o.Kubeconfig = c.namespace(t)
	return o
}

func TestLauncher(t *testing.T) {
	c := onCluster(t)
	launchtest.Run(t, launchtest.Harness{
		ListenAddr: c.addr + ":0",
		Open: func(t *testing.T, url string) launch.Launcher {
			l, err := kubelaunch.New(c.options(t, url))
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
	})
}

// trial is a launcher and a test that watches it.
type trial struct {
	*testing.T
	*cluster
	o       kubelaunch.Options
	l       *kubelaunch.Launcher
	console *launchtest.Console
	ends    chan launch.End
}

func try(t *testing.T, change func(*kubelaunch.Options)) *trial {
	c := onCluster(t)
	tr := &trial{T: t, cluster: c, console: launchtest.NewConsole(t, c.addr+":0")}
	tr.o = c.options(t, tr.console.URL())
	if change != nil {
		change(&tr.o)
	}
	tr.open()
	t.Cleanup(func() { tr.l.Close() })
	return tr
}

// open begins a new life of the launcher.
func (tr *trial) open() {
	tr.Helper()
	tr.o.Registerer = prometheus.NewRegistry()
	l, err := kubelaunch.New(tr.o)
	if err != nil {
		tr.Fatal(err)
	}
	ends := make(chan launch.End, 100)
	tr.l, tr.ends = l, ends
	go l.Watch(tr.Context(), func(e launch.End) { ends <- e }) // until Close
}

func (tr *trial) start(change func(*launch.Spec)) conversion.AttemptRef {
	tr.Helper()
	spec := launchtest.NewSpec(launchtest.NewRef())
	if change != nil {
		change(&spec)
	}
	if err := tr.l.Start(tr.Context(), spec); err != nil {
		tr.Fatal(err)
	}
	return spec.AttemptRef
}

func (tr *trial) leader(r conversion.AttemptRef) *launchtest.Process {
	tr.Helper()
	return tr.console.Arrival(tr.T, r, launchtest.Leader, 1)
}

func (tr *trial) stop(r conversion.AttemptRef) {
	tr.Helper()
	ctx, cancel := context.WithTimeout(tr.Context(), time.Minute)
	defer cancel()
	if err := tr.l.Stop(ctx, r); err != nil {
		tr.Error(err)
	}
	if jobs, err := tr.BatchV1().Jobs(tr.o.Namespace).List(tr.Context(), metav1.ListOptions{LabelSelector: kubelaunch.LabelConversion + "=" + r.ConversionID}); err != nil {
		tr.Error(err)
	} else if len(jobs.Items) > 0 && jobs.Items[0].DeletionTimestamp == nil {
		tr.Errorf("the Job of %s is there after Stop", r)
	}
}

func (tr *trial) want(r conversion.AttemptRef, reason launch.Reason, detail string) {
	tr.Helper()
	timeout := time.After(2 * time.Minute) // a kubelet looks at the disk once a minute
	for {
		select {
		case e := <-tr.ends:
			if e.AttemptRef != r {
				continue
			}
			if e.Reason != reason || !strings.Contains(e.Detail, detail) {
				tr.Errorf("got %+v, want %s with %q", e, reason, detail)
			}
			return
		case <-timeout:
			tr.Fatalf("no end of %s", r)
		}
	}
}

func (tr *trial) pod(r conversion.AttemptRef) corev1.Pod {
	tr.Helper()
	pods, err := tr.CoreV1().Pods(tr.o.Namespace).List(tr.Context(), metav1.ListOptions{LabelSelector: kubelaunch.LabelConversion + "=" + r.ConversionID})
	if err != nil || len(pods.Items) != 1 {
		tr.Fatalf("pods of %s: %v, %v", r, pods, err)
	}
	return pods.Items[0]
}

func (tr *trial) until(what string, met func() bool) {
	tr.Helper()
	waittest.Until(tr, time.Minute, what, met)
}

// metric reads a gauge of class cpu.
func (tr *trial) metric(name string) float64 {
	tr.Helper()
	families, err := tr.o.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		tr.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == string(conversion.CPU) {
				return m.GetGauge().GetValue()
			}
		}
	}
	tr.Fatalf("no metric %s", name)
	return 0
}

func TestOutOfMemory(t *testing.T) {
	tr := try(t, nil)
	r := tr.start(nil)
	tr.leader(r).Do(t, launchtest.Command{Do: launchtest.Eat})
	tr.want(r, launch.OutOfMemory, "OOMKilled")
	tr.stop(r)
}

func TestTooMuchDisk(t *testing.T) {
	tr := try(t, func(o *kubelaunch.Options) { o.MaxMP3Bytes = 1 })
	r := tr.start(nil) // it gets 1 MiB for the source and 256 MiB of slack
	tr.leader(r).Do(t, launchtest.Command{Do: launchtest.Write, Text: "mp3", Size: 300 << 20})
	tr.want(r, launch.Killed, "exceeds the limit")
	tr.stop(r)
}

func TestDisrupted(t *testing.T) {
	tr := try(t, nil)
	pods := tr.CoreV1().Pods(tr.o.Namespace)
	for _, tt := range []struct {
		name, detail string
		do           func(corev1.Pod) error
	}{
		{"evicted", "EvictionByEvictionAPI", func(p corev1.Pod) error {
			return pods.EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}})
		}},
		{"pod deleted", "the pod was deleted", func(p corev1.Pod) error {
			return pods.Delete(t.Context(), p.Name, metav1.DeleteOptions{})
		}},
		{"Job deleted", "deleted by somebody else", func(p corev1.Pod) error {
			background := metav1.DeletePropagationBackground
			return tr.BatchV1().Jobs(p.Namespace).Delete(t.Context(), p.Labels[batchv1.JobNameLabel], metav1.DeleteOptions{PropagationPolicy: &background})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := *tr
			tr.T = t
			r := tr.start(nil)
			p := tr.leader(r)
			if err := tt.do(tr.pod(r)); err != nil {
				t.Fatal(err)
			}
			tr.want(r, launch.Disrupted, tt.detail)
			p.WaitGone(t)
			if got := len(tr.console.Arrivals(r, launchtest.Leader)); got != 1 {
				t.Errorf("processes: got %d, want 1", got)
			}
			tr.stop(r)
		})
	}
}

func TestNotStarted(t *testing.T) {
	tr := try(t, func(o *kubelaunch.Options) {
		o.StartTimeout = 3 * time.Second
		class := o.Classes[conversion.CPU]
		class.Image = "localhost/none:none"
		o.Classes[conversion.CPU] = class
	})
	r := tr.start(nil)
	tr.until("it is unstartable", func() bool {
		return tr.metric("tonearm_jobs_unstartable") == 1 && tr.metric("tonearm_jobs_pending") == 1
	})
	tr.want(r, launch.NotStarted, "ErrImageNeverPull")
	tr.stop(r)
	tr.until("nothing is pending", func() bool { return tr.metric("tonearm_jobs_pending") == 0 })
}

// TestWaits: an attempt that no node takes, or that a quota holds back, waits
// for as long as it must, and says for what.
func TestWaits(t *testing.T) {
	for _, tt := range []struct {
		name, metric string
		want         conversion.WaitReason
		pods         string // quota of pods; '' for none
		change       func(*kubelaunch.Class)
	}{
		{"no node", "tonearm_jobs_unschedulable", conversion.WaitNode, "", func(c *kubelaunch.Class) {
			c.NodeSelector = map[string]string{"tonearm/none": "none"}
		}},
		{"no pod", "tonearm_jobs_without_pod", conversion.WaitPod, "0", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := try(t, func(o *kubelaunch.Options) {
				o.StartTimeout = 3 * time.Second
				if tt.change != nil {
					class := o.Classes[conversion.CPU]
					tt.change(&class)
					o.Classes[conversion.CPU] = class
				}
			})
			if tt.pods != "" {
				tr.quota(corev1.ResourcePods, tt.pods)
			}
			r := tr.start(nil)
			tr.until(tt.metric+" is 1", func() bool { return tr.metric(tt.metric) == 1 && tr.metric("tonearm_jobs_pending") == 1 })
			tr.until("it is late, and has not ended", func() bool {
				running, err := tr.l.Running(t.Context())
				return err == nil && len(running) == 1 && running[0].AttemptRef == r && running[0].Waiting == tt.want && running[0].Late
			})
			tr.stop(r)
			tr.until("nothing is pending", func() bool { return tr.metric("tonearm_jobs_pending") == 0 })
		})
	}
}

// quota limits pods or Jobs of the namespace, and waits until one more is refused:
// the API server learns of a quota some time after it is made.
func (tr *trial) quota(name corev1.ResourceName, most string) {
	tr.Helper()
	q := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "q"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{name: resource.MustParse(most)}},
	}
	if _, err := tr.CoreV1().ResourceQuotas(tr.o.Namespace).Create(tr.Context(), q, metav1.CreateOptions{}); err != nil {
		tr.Fatal(err)
	}
	meta := metav1.ObjectMeta{GenerateName: "more-"}
	pod := corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "more", Image: image}}}
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	tr.until("one more is refused", func() bool {
		var err error
		if name == corev1.ResourcePods {
			_, err = tr.CoreV1().Pods(tr.o.Namespace).Create(tr.Context(), &corev1.Pod{ObjectMeta: meta, Spec: pod}, dry)
		} else {
			_, err = tr.BatchV1().Jobs(tr.o.Namespace).Create(tr.Context(), &batchv1.Job{ObjectMeta: meta,
				Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: pod}}}, dry)
		}
		return apierrors.IsForbidden(err)
	})
}

func TestQuota(t *testing.T) {
	tr := try(t, nil)
	first := tr.start(nil)
	tr.quota("count/jobs.batch", "1")
	next := launchtest.NewSpec(launchtest.NewRef())
	if err := tr.l.Start(t.Context(), next); !errors.Is(err, launch.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if running, err := tr.l.Running(t.Context()); err != nil || len(running) != 1 || running[0].AttemptRef != first {
		t.Errorf("Running: got %v, %v, want %v", running, err, first)
	}
	tr.leader(first)
	tr.stop(first)
	tr.until("there is room", func() bool { return tr.l.Start(t.Context(), next) == nil })
	tr.leader(next.AttemptRef)
}

// Attempts outlive their launcher, and the next one tells how they ended.
func TestRestart(t *testing.T) {
	tr := try(t, nil)
	lives, ends, vanishes := tr.start(nil), tr.start(nil), tr.start(nil)
	p := tr.leader(lives)
	if err := tr.l.Close(); err != nil {
		t.Fatal(err)
	}
	tr.leader(ends).Do(t, launchtest.Command{Do: launchtest.Exit, Code: 11})
	tr.leader(vanishes).Do(t, launchtest.Command{Do: launchtest.Exit, Code: 10})
	pod := tr.pod(vanishes)
	tr.until("the Jobs have failed", func() bool {
		jobs, err := tr.BatchV1().Jobs(tr.o.Namespace).List(t.Context(), metav1.ListOptions{})
		return err == nil && len(jobs.Items) == 3 && jobs.Items[0].Status.Failed+jobs.Items[1].Status.Failed+jobs.Items[2].Status.Failed == 2
	})
	// As after the loss of the pod's node.
	if err := tr.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // two lives of the launcher see the ends, since nobody stopped the attempts
		tr.open()
		got := map[conversion.AttemptRef]launch.End{}
		timeout := time.After(time.Minute)
		for len(got) < 2 {
			select {
			case e := <-tr.ends:
				got[e.AttemptRef] = e
			case <-timeout:
				t.Fatalf("ends: got %v", got)
			}
		}
		if e := got[ends]; e.Reason != launch.Exited || e.ExitCode != 11 {
			t.Errorf("end: got %+v, want exit code 11", e)
		}
		if e := got[vanishes]; e.Reason != launch.Exited || e.ExitCode != 10 {
			t.Errorf("end of the one without a pod: got %+v, want exit code 10", e)
		}
		if running, err := tr.l.Running(t.Context()); err != nil || len(running) != 1 || running[0].AttemptRef != lives {
			t.Errorf("Running: got %v, %v, want %v", running, err, lives)
		}
		if err := tr.l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tr.open()
	for _, r := range []conversion.AttemptRef{lives, ends, vanishes} {
		tr.stop(r)
	}
	p.WaitGone(t)
}

// A program that ignores SIGTERM is gone after the grace, and its owner need
// not ask again.
func TestStopIsQuick(t *testing.T) {
	tr := try(t, nil)
	r := tr.start(nil)
	p := tr.leader(r)
	p.Do(t, launchtest.Command{Do: launchtest.IgnoreTerm})
	began := time.Now()
	go tr.l.Stop(t.Context(), r)
	p.WaitGone(t)
	t.Logf("gone after %v", time.Since(began))
	tr.stop(r)
}

// The pod that runs is as requested: the API server changed nothing that
// matters.
func TestPod(t *testing.T) {
	tr := try(t, nil)
	r := tr.start(func(s *launch.Spec) { s.Deadline = 90 * time.Second })
	p := tr.leader(r)
	pod := tr.pod(r)
	if len(pod.Spec.Volumes) != 1 || len(pod.Spec.Containers[0].VolumeMounts) != 1 {
		t.Errorf("volumes: %v", pod.Spec.Volumes)
	}
	if d := pod.Spec.ActiveDeadlineSeconds; d == nil || *d != 90 {
		t.Errorf("deadline of the pod: %v", d)
	}
	if p.WorkDir != "/work/attempt" || p.WorkMode&0o077 != 0 {
		t.Errorf("work directory: %s, mode %o", p.WorkDir, p.WorkMode)
	}
	want := map[string]bool{"TONEARM_DISPATCHER_URL": true, "TONEARM_CONVERSION_ID": true, "TONEARM_ATTEMPT_TOKEN": true,
		"TONEARM_WORK_DIR": true, "TONEARM_MEMORY_LIMIT_BYTES": true, "GOMAXPROCS": true, "PATH": true, "HOME": true, "HOSTNAME": true}
	for _, name := range p.EnvNames {
		if strings.HasPrefix(name, "KUBERNETES_") { // the API server's address, which every pod gets
			continue
		}
		if !want[name] {
			t.Errorf("%s is in its environment", name)
		}
	}
	tr.until("it counts as running", func() bool { return tr.metric("tonearm_jobs_running") == 1 })
	tr.stop(r)
	if spec, err := json.Marshal(pod.Spec); err != nil || strings.Contains(string(spec), "serviceAccountToken") {
		t.Errorf("a token of the service account is in %s, %v", spec, err)
	}
}

// If an attempt has ended by itself, deleting its Job does not wait for the pod
// to go. That costs the cluster less.
func TestStopAfterTheEnd(t *testing.T) {
	tr := try(t, nil)
	r := tr.start(nil)
	tr.leader(r).Do(t, launchtest.Command{Do: launchtest.Exit, Code: 10})
	tr.want(r, launch.Exited, "")
	pod := tr.pod(r)
	finalizers := func(patch string) {
		t.Helper()
		_, err := tr.CoreV1().Pods(pod.Namespace).Patch(context.WithoutCancel(t.Context()), pod.Name, types.StrategicMergePatchType,
			[]byte(`{"metadata": {"`+patch+`": ["tonearm/test"]}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	finalizers("finalizers") // it stays while the test's finalizer is there
	defer finalizers("$deleteFromPrimitiveList/finalizers")
	if err := tr.l.Stop(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.BatchV1().Jobs(pod.Namespace).Get(t.Context(), pod.Labels[batchv1.JobNameLabel], metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("its Job: got %v, want not found", err)
	}
}

// TestGPU checks that a Job of class gpu goes to a node that advertises GPUs,
// and that a second one waits for the first. The node only advertises a GPU;
// nothing here uses one.
func TestGPU(t *testing.T) {
	tr := try(t, func(o *kubelaunch.Options) {
		class := o.Classes[conversion.CPU]
		class.Resources = *class.Resources.DeepCopy()
		class.Resources.Limits["nvidia.com/gpu"] = resource.MustParse("1")
		o.Classes[conversion.GPU] = class
		o.StartTimeout = 10 * time.Second
	})
	advertise := func(count string) {
		t.Helper()
		patch := `[{"op":"add","path":"/status/capacity/nvidia.com~1gpu","value":"` + count + `"},` +
			`{"op":"add","path":"/status/allocatable/nvidia.com~1gpu","value":"` + count + `"}]`
		if _, err := tr.CoreV1().Nodes().Patch(context.WithoutCancel(t.Context()), "node", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	onGPU := func(s *launch.Spec) { s.Class = conversion.GPU }
	advertise("1")
	defer advertise("0")
	first := tr.start(onGPU)
	tr.leader(first)
	if got := tr.pod(first).Spec.Containers[0].Resources.Limits["nvidia.com/gpu"]; got.Value() != 1 {
		t.Errorf("the pod has %s GPUs", got.String())
	}
	second := tr.start(onGPU)
	tr.until("the second one is late", func() bool {
		running, err := tr.l.Running(t.Context())
		return err == nil && slices.ContainsFunc(running, func(a launch.Attempt) bool {
			return a.AttemptRef == second && a.Late && a.Waiting == conversion.WaitNode
		})
	})
	tr.stop(second)
	tr.stop(first)
}
