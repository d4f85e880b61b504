package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/launch/kubelaunch"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

const (
	services = "tonearm"      // namespace of the services
	jobs     = "tonearm-jobs" // namespace of the attempts
	maxJobs  = 3              // the same as in the overlay test
)

// cluster is Tonearm on a real node, with the real servers beside it.
type cluster struct {
	*kubernetes.Clientset
	server string
	mails  string // folder of the mails that the mail server accepted

	mu   sync.Mutex
	pods map[string]seenPod // all pods that were ever made, by conversion/attempt
	most int                // most pods that lived at the same time
}

type seenPod struct {
	name    string
	created time.Time // when the watch reported it
}

// kubectl runs the real one and returns what it prints.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "kubectl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// apply creates or changes the objects in the manifest.
func apply(t *testing.T, manifest string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kubectl", "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
}

// connect returns the cluster without changing it.
func connect(t *testing.T) *cluster {
	t.Helper()
	path := os.Getenv("TONEARM_TEST_KUBECONFIG")
	if path == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE_CLUSTER") != "" {
			t.Fatal("TONEARM_TEST_KUBECONFIG is not set")
		}
		t.Skip("TONEARM_TEST_KUBECONFIG is not set: make cluster-test")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Clientset: client, mails: os.Getenv("TONEARM_TEST_MAILS"), pods: map[string]seenPod{},
		server: "http://" + os.Getenv("TONEARM_TEST_NODE_ADDR") + ":30080"}
}

// logOnFailure shows the cluster's state, and the logs of these deployments,
// after a failure.
func logOnFailure(t *testing.T, deployments ...string) {
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("sh", "-c", "kubectl get pods,jobs -A -o wide; kubectl get events -A --sort-by=.lastTimestamp | tail -n 25; "+
				"for d in "+strings.Join(deployments, " ")+"; do kubectl -n tonearm logs deploy/$d --tail=15; done").CombinedOutput()
			t.Logf("%s", out)
		}
	})
}

// newCluster applies the overlay test and waits until everything is ready.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	k := connect(t)
	db, err := sql.Open("mysql", os.Getenv("TONEARM_TEST_MYSQL"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE IF NOT EXISTS tonearm"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	logOnFailure(t, "gateway", "dispatcher", "notifier")
	follow(t, "../..", "test")
	for _, url := range []string{k.server + "/openapi.json", strings.Replace(k.server, ":30080", ":30081", 1)} {
		waittest.Until(t, time.Minute, "the node port of "+url+" answers", func() bool {
			resp, err := http.Get(url)
			if err == nil {
				resp.Body.Close()
			}
			return err == nil
		})
	}
	fmt.Printf("applied and ready in %s\n", time.Since(began).Round(100*time.Millisecond))
	k.watchPods(t)
	return k
}

// running waits until an attempt converts, and returns the name of its pod.
func (k *cluster) running(t *testing.T, u *world.User, id string, attempt int) string {
	t.Helper()
	waittest.Until(t, 2*time.Minute, fmt.Sprintf("attempt %d of %s converts", attempt, id), func() bool {
		var c api.Conversion
		status, body := u.Do("GET", "/v1/conversions/"+id, nil, &c)
		if status == http.StatusOK && c.State.Terminal() {
			t.Fatalf("it ended before it was met: %s", body)
		}
		return status == http.StatusOK && c.Attempt == attempt && c.Progress != nil && c.Progress.Phase == conversion.PhaseEncoding
	})
	p, ok := k.pod(id, attempt)
	if !ok {
		t.Fatalf("no pod of attempt %d of %s was seen", attempt, id)
	}
	return p.name
}

// letters returns the mails about a conversion.
func (k *cluster) letters(t *testing.T, c api.Conversion, word string) []world.Letter {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(k.mails, "*.eml"))
	var found []world.Letter
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if l := world.ReadLetter(t, string(b)); strings.Contains(l.Text, word) && strings.Contains(l.MessageID, c.ID) {
			found = append(found, l)
		}
	}
	return found
}

// send creates a conversion and uploads its file.
func send(t *testing.T, u *world.User, path string) api.Conversion {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	c := u.Create(filepath.Base(path), info.Size())
	if err := world.Put(t.Context(), c.Upload, path); err != nil {
		t.Fatal(err)
	}
	return c
}

// makeLong makes a source that takes an encoder some 20 s.
func makeLong(t *testing.T) string {
	t.Helper()
	return makeSound(t, 2400)
}

func makeSound(t *testing.T, seconds int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "long.mkv")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-ac", "2", "-t", fmt.Sprint(seconds), "-c:a", "flac", "-compression_level", "0", path).CombinedOutput()
	if err != nil {
		t.Fatalf("make long source: %v %s", err, out)
	}
	return path
}

// TestCluster installs Tonearm with kubectl and sends files through it.
func TestCluster(t *testing.T) { //nolint:funlen // subtests in a row on one installation
	k := newCluster(t)
	u := world.NewUser(t, k.server, "cluster@example.org")
	video, _ := makeVideo(t, "clip.mp4", 7, 440)
	long := makeLong(t)

	t.Run("upload to download", func(t *testing.T) {
		c := u.Final(send(t, u, video).ID, 2*time.Minute)
		if c.State != conversion.Done || c.Attempt != 1 {
			t.Fatalf("%s after attempt %d: %+v", c.State, c.Attempt, c.Error)
		}
		waittest.Until(t, time.Minute, "the mail arrives", func() bool { return len(k.letters(t, c, c.MP3.ID)) > 0 })
		path := filepath.Join(t.TempDir(), "got.mp3")
		download(t, k.letters(t, c, c.MP3.ID)[0].Link(), path)
		if heard := listen(t, path); heard.seconds < 6.95 || heard.seconds > 7.05 || heard.hz < 435 || heard.hz > 445 {
			t.Errorf("%.3f s of %.0f Hz", heard.seconds, heard.hz)
		}
		waittest.Until(t, time.Minute, "the Job is deleted", func() bool { return len(k.jobs(t)) == 0 })
	})

	t.Run("20 files under a limit of 3", func(t *testing.T) {
		var ids []string
		for range 20 {
			ids = append(ids, send(t, u, video).ID)
		}
		for _, id := range ids {
			if c := u.Final(id, 5*time.Minute); c.State != conversion.Done || c.Attempt != 1 {
				t.Errorf("%s after attempt %d: %+v", c.State, c.Attempt, c.Error)
			}
		}
		k.mu.Lock()
		most := k.most
		k.mu.Unlock()
		fmt.Printf("20 files: at most %d pods at a time\n", most)
		if most > maxJobs {
			t.Errorf("%d pods at a time, %d are allowed", most, maxJobs)
		}
	})

	disruption := func(name string, disrupt func(t *testing.T, pod string)) {
		t.Run(name, func(t *testing.T) {
			c := send(t, u, long)
			disrupt(t, k.running(t, u, c.ID, 1))
			c = u.Final(c.ID, 5*time.Minute)
			if c.State != conversion.Done || c.Attempt != 2 {
				t.Errorf("%s after attempt %d: %+v", c.State, c.Attempt, c.Error)
			}
		})
	}
	disruption("pod deleted", func(t *testing.T, pod string) { kubectl(t, "-n", jobs, "delete", "pod", pod, "--wait=false") })
	disruption("node drained", func(t *testing.T, pod string) {
		kubectl(t, "drain", "node", "--pod-selector="+kubelaunch.Selector, "--disable-eviction=false", "--force",
			"--delete-emptydir-data", "--timeout=60s")
		kubectl(t, "uncordon", "node")
	})

	t.Run("cancel", func(t *testing.T) {
		c := send(t, u, long)
		pod := k.running(t, u, c.ID, 1)
		began := time.Now()
		if status, body := u.Do("POST", "/v1/conversions/"+c.ID+"/cancel", nil, nil); status != http.StatusOK {
			t.Fatalf("cancel: %d %s", status, body)
		}
		waittest.Until(t, 30*time.Second, "its pod is gone", func() bool {
			_, err := k.CoreV1().Pods(jobs).Get(t.Context(), pod, metav1.GetOptions{})
			return err != nil
		})
		fmt.Printf("canceled: pod gone after %s\n", time.Since(began).Round(10*time.Millisecond))
		if got := u.Final(c.ID, time.Minute); got.State != conversion.Canceled {
			t.Errorf("state %s", got.State)
		}
	})

	t.Run("poison", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "poison.mp4")
		if err := os.WriteFile(path, []byte(strings.Repeat("no video at all\n", 5000)), 0o600); err != nil {
			t.Fatal(err)
		}
		c := u.Final(send(t, u, path).ID, 2*time.Minute)
		if c.State != conversion.Failed || c.Error.Code != conversion.CodeNotMedia || c.Attempt != 1 {
			t.Errorf("%s after attempt %d: %+v", c.State, c.Attempt, c.Error)
		}
		waittest.Until(t, time.Minute, "the mail arrives", func() bool { return len(k.letters(t, c, string(conversion.CodeNotMedia))) == 1 })
	})

	t.Run("dispatchers killed", func(t *testing.T) {
		c := send(t, u, long)
		k.running(t, u, c.ID, 1)
		kubectl(t, "-n", services, "delete", "pod", "-l", "app.kubernetes.io/name=dispatcher", "--grace-period=0", "--force")
		other := send(t, u, video)
		for _, id := range []string{c.ID, other.ID} {
			got := u.Final(id, 5*time.Minute)
			if got.State != conversion.Done || got.Attempt != 1 {
				t.Errorf("%s after attempt %d: %+v", got.State, got.Attempt, got.Error)
			}
		}
		kubectl(t, "-n", services, "rollout", "status", "deploy/dispatcher", "--timeout=2m")
	})

	t.Run("no GPU", func(t *testing.T) { k.testNoGPU(t, u, video) })
	t.Run("GPU", func(t *testing.T) { k.testGPU(t, u, video) })
	t.Run("network", k.testNetwork)
	t.Run("latency", func(t *testing.T) { k.testLatency(t, u, video) })
}

func (k *cluster) jobs(t *testing.T) []batchv1.Job {
	t.Helper()
	list, err := k.BatchV1().Jobs(jobs).List(t.Context(), metav1.ListOptions{LabelSelector: kubelaunch.Selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// testNetwork checks what TCP reaches, from a pod beside the attempts and from
// a pod in a namespace without policies.
func (k *cluster) testNetwork(t *testing.T) {
	addr := os.Getenv("TONEARM_TEST_NODE_ADDR")
	allowed := []string{addr + ":9000", "dispatcher.tonearm.svc:8081"}
	forbidden := []string{addr + ":6379", addr + ":3306", addr + ":27017", addr + ":1025", "kubernetes.default.svc:443",
		addr + ":16443", "gateway.tonearm.svc:8080"}
	kubectl(t, "create", "namespace", "free")
	from := func(namespace string) string {
		pod := map[string]any{
			"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "probe", "namespace": namespace},
			"spec": map[string]any{
				"restartPolicy": "Never", "automountServiceAccountToken": false,
				"securityContext": map[string]any{"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
				"containers": []any{map[string]any{
					"name": "probe", "image": "localhost/tool:node", "imagePullPolicy": "Never",
					"command": append([]string{"/bin/tool", "dial"}, slices.Concat(allowed, forbidden)...),
					"securityContext": map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
						"capabilities": map[string]any{"drop": []string{"ALL"}}},
				}},
			},
		}
		b, _ := json.Marshal(pod)
		apply(t, string(b))
		waittest.Until(t, 2*time.Minute, "the probe in "+namespace+" has ended", func() bool {
			p, err := k.CoreV1().Pods(namespace).Get(t.Context(), "probe", metav1.GetOptions{})
			return err == nil && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed)
		})
		return kubectl(t, "-n", namespace, "logs", "probe")
	}
	reached := func(out, addr string) bool {
		for line := range strings.Lines(out) {
			if strings.Contains(line, addr) {
				return strings.Contains(line, "reached") && !strings.Contains(line, "not reached")
			}
		}
		t.Fatalf("the probe said nothing of %s:\n%s", addr, out)
		return false
	}
	fromJobs, fromFree := from(jobs), from("free")
	fmt.Printf("from %s:\n%sfrom a namespace without policies:\n%s", jobs, fromJobs, fromFree)
	for _, a := range allowed {
		if !reached(fromJobs, a) {
			t.Errorf("an attempt does not reach %s", a)
		}
	}
	for _, a := range forbidden {
		if reached(fromJobs, a) {
			t.Errorf("an attempt reaches %s", a)
		}
	}
	free := 0
	for _, a := range forbidden {
		if reached(fromFree, a) {
			free++
		}
	}
	if free < len(forbidden)-2 { // the own policies of the dispatcher and the gateway keep others out
		t.Errorf("without policies only %d of %d are reached: the probe proves nothing", free, len(forbidden))
	}
}

// testLatency measures, on the idle node, the time from the end of an upload to
// its pod and to its MP3, and for comparison the time of a Job that does
// nothing.
func (k *cluster) testLatency(t *testing.T, u *world.User, video string) {
	const files = 50
	var pod, mp3, trivial []time.Duration
	info, err := os.Stat(video)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		c := u.Create("clip.mp4", info.Size())
		if err := world.Put(t.Context(), c.Upload, video); err != nil {
			t.Fatal(err)
		}
		uploaded := time.Now()
		if c = u.Final(c.ID, 2*time.Minute); c.State != conversion.Done {
			t.Fatalf("%s: %+v", c.State, c.Error)
		}
		mp3 = append(mp3, time.Since(uploaded))
		seen, ok := k.pod(c.ID, 1)
		if !ok {
			t.Fatalf("no pod of %s was seen", c.ID)
		}
		pod = append(pod, seen.created.Sub(uploaded))
		waittest.Until(t, time.Minute, "the node is idle", func() bool { return len(k.jobs(t)) == 0 })
		if i%10 == 0 {
			trivial = append(trivial, k.trivialJob(t, i))
		}
	}
	at := func(d []time.Duration, q float64) time.Duration {
		slices.Sort(d)
		return d[min(int(q*float64(len(d))), len(d)-1)].Round(time.Millisecond)
	}
	fmt.Printf("upload finished to pod created, %d files: p50 %s, p99 %s\n", files, at(pod, .5), at(pod, .99))
	fmt.Printf("upload finished to MP3 ready, %d files: p50 %s, p99 %s; a trivial Job: p50 %s\n", files, at(mp3, .5), at(mp3, .99), at(trivial, .5))
}

// trivialJob runs a Job that does nothing, and returns how long that took.
func (k *cluster) trivialJob(t *testing.T, n int) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	yes := true
	name := fmt.Sprintf("trivial-%d", n)
	w, err := k.BatchV1().Jobs("free").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	began := time.Now()
	_, err = k.BatchV1().Jobs("free").Create(ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: batchv1.JobSpec{BackoffLimit: ptr(int32(0)), Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(bool),
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: ptr(int64(65532))},
			Containers: []corev1.Container{{Name: "trivial", Image: "localhost/tool:node", ImagePullPolicy: corev1.PullNever,
				Command: []string{"/bin/true"}}},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for e := range w.ResultChan() {
		j, ok := e.Object.(*batchv1.Job)
		switch {
		case ok && j.Status.Succeeded > 0:
			return time.Since(began)
		case ok && j.Status.Failed > 0:
			t.Fatal("the trivial Job failed")
		}
	}
	t.Fatal("the trivial Job did not end")
	return 0
}

func ptr[T any](v T) *T { return &v }
