package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// TestNodeFaults does to a node what happens to clusters. No file may fail for it,
// and nobody may get two mails. It takes half an hour: make faults-node.
func TestNodeFaults(t *testing.T) {
	k := newCluster(t)
	u := world.NewUser(t, k.server, "faults@example.org")
	video, _ := makeVideo(t, "clip.mp4", 7, 440)
	long := makeLong(t)
	t.Run("quota of 2 pods", func(t *testing.T) { k.testPodQuota(t, u) })
	t.Run("API server away", func(t *testing.T) { k.testNoAPI(t, u, video, long) })
	t.Run("Lease lost", func(t *testing.T) { k.testLeaseLost(t, u, video, long) })
	t.Run("node silent", func(t *testing.T) { k.testNodeSilent(t, u, long) })
	t.Run("full node", func(t *testing.T) { k.testFullNode(t, u, video) })
	t.Run("node removed", func(t *testing.T) { k.testNodeRemoved(t, u, video) })
}

// sendCopies sends a file several times.
func sendCopies(t *testing.T, u *world.User, n int, path string) (ids []string) {
	t.Helper()
	for range n {
		ids = append(ids, send(t, u, path).ID)
	}
	return ids
}

// wantAll checks that all are done, with one mail each, and prints what they took.
func (k *cluster) wantAll(t *testing.T, u *world.User, limit time.Duration, ids ...string) {
	t.Helper()
	most, mails := 0, 0
	began := time.Now()
	for _, id := range ids {
		c := u.Final(id, limit)
		if c.State != conversion.Done {
			t.Errorf("%s after attempt %d: %+v", c.State, c.Attempt, c.Error)
			continue
		}
		most = max(most, c.Attempt)
		waittest.Until(t, limit, "the mail about "+id+" arrives", func() bool { return len(k.letters(t, c, c.MP3.ID)) > 0 })
		if n := len(k.letters(t, c, "")); n != 1 {
			t.Errorf("%d mails about %s", n, id)
		} else {
			mails++
		}
	}
	fmt.Printf("%s: %d files done with %d mails, %s after the fault, up to %d attempts\n", t.Name(), len(ids), mails, time.Since(began).Round(time.Second), most)
	waittest.Until(t, limit, "the Jobs are deleted", func() bool { return len(k.jobs(t)) == 0 })
}

// waits waits until one of the conversions says that it waits for this reason.
func waits(t *testing.T, u *world.User, reason conversion.WaitReason, ids []string) {
	t.Helper()
	waittest.Until(t, 2*time.Minute, "a conversion waits: "+string(reason), func() bool {
		for _, id := range ids {
			var c api.Conversion
			status, _ := u.Do("GET", "/v1/conversions/"+id, nil, &c)
			if status == 200 && c.Waiting != nil && c.Waiting.Reason == reason {
				return true
			}
		}
		return false
	})
}

// testPodQuota lets the namespace have fewer pods than there may be Jobs.
func (k *cluster) testPodQuota(t *testing.T, u *world.User) {
	const files, pods = 20, 2
	video := makeSound(t, 600) // so that attempts take longer than the launch of the next one
	quota := func(ctx context.Context, n string) {
		patch := `{"spec":{"hard":{"pods":"` + n + `"}}}`
		if _, err := k.CoreV1().ResourceQuotas(jobs).Patch(ctx, "attempts", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	quota(t.Context(), strconv.Itoa(pods))
	defer quota(context.WithoutCancel(t.Context()), "50")
	k.mu.Lock()
	k.most = 0
	k.mu.Unlock()
	ids := sendCopies(t, u, files, video)
	waittest.Until(t, 2*time.Minute, "a Job gets no pod", func() bool {
		return strings.Contains(kubectl(t, "-n", jobs, "get", "events", "--field-selector", "reason=FailedCreate"), "exceeded quota")
	})
	k.wantAll(t, u, 10*time.Minute, ids...)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.most > pods {
		t.Errorf("%d pods at a time, the quota is %d", k.most, pods)
	}
}

// testFullNode has a pod take all of the node's CPU for 12 minutes.
func (k *cluster) testFullNode(t *testing.T, u *world.User, video string) {
	const files, full = 20, 12 * time.Minute
	waittest.Until(t, 2*time.Minute, "no attempt runs", func() bool {
		pods, err := k.CoreV1().Pods(jobs).List(t.Context(), metav1.ListOptions{})
		return err == nil && len(pods.Items) == 0
	})
	node, err := k.CoreV1().Nodes().Get(t.Context(), "node", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := k.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	free := node.Status.Allocatable.Cpu().MilliValue()
	for _, p := range list.Items {
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, c := range p.Spec.Containers {
			free -= c.Resources.Requests.Cpu().MilliValue()
		}
	}
	apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: filler, namespace: default}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: filler
    image: localhost/tool:node
    imagePullPolicy: Never
    command: [/bin/sleep, "7200"]
    resources: {requests: {cpu: %dm}}
`, free-50))
	kubectl(t, "-n", "default", "wait", "--for=condition=Ready", "pod/filler", "--timeout=1m")
	over := time.After(full)
	ids := sendCopies(t, u, files, video)
	waits(t, u, conversion.WaitNode, ids)
	select {
	case <-over:
	case <-t.Context().Done():
	}
	for _, id := range ids {
		var c api.Conversion
		if status, body := u.Do("GET", "/v1/conversions/"+id, nil, &c); status != 200 || c.State.Terminal() {
			t.Errorf("while the node was full: %d %s", status, body)
		}
	}
	kubectl(t, "-n", "default", "delete", "pod", "filler", "--grace-period=0", "--force")
	k.wantAll(t, u, 10*time.Minute, ids...)
}

// testNoAPI stops the API server for a minute. Uploads come meanwhile.
func (k *cluster) testNoAPI(t *testing.T, u *world.User, video, long string) {
	ids := []string{send(t, u, long).ID}
	k.running(t, u, ids[0], 1)
	over := time.After(time.Minute)
	signal(t, "kube-apiserver", syscall.SIGSTOP)
	func() {
		defer signal(t, "kube-apiserver", syscall.SIGCONT)
		ids = append(ids, sendCopies(t, u, 5, video)...)
		<-over
	}()
	k.wantAll(t, u, 10*time.Minute, ids...)
	kubectl(t, "-n", services, "rollout", "status", "deploy/dispatcher", "--timeout=5m")
}

// testLeaseLost has somebody else take the dispatchers' Lease, and not renew it.
func (k *cluster) testLeaseLost(t *testing.T, u *world.User, video, long string) {
	leases := k.CoordinationV1().Leases(services)
	ids := []string{send(t, u, long).ID}
	k.running(t, u, ids[0], 1)
	const other = "somebody-else"
	waittest.Until(t, time.Minute, "somebody else has the Lease", func() bool {
		lease, err := leases.Get(t.Context(), "dispatcher", metav1.GetOptions{})
		if err != nil {
			return false
		}
		now := metav1.NowMicro()
		lease.Spec.HolderIdentity, lease.Spec.AcquireTime, lease.Spec.RenewTime = ptr(other), &now, &now
		_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{}) // fails if the holder renews it at the same moment
		return err == nil
	})
	ids = append(ids, sendCopies(t, u, 5, video)...)
	waittest.Until(t, 2*time.Minute, "a dispatcher has the Lease again", func() bool {
		lease, err := leases.Get(t.Context(), "dispatcher", metav1.GetOptions{})
		return err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != other
	})
	k.wantAll(t, u, 10*time.Minute, ids...)
	kubectl(t, "-n", services, "rollout", "status", "deploy/dispatcher", "--timeout=5m")
}

// testNodeSilent kills an attempt while its node does not answer, until the
// cluster has noticed.
func (k *cluster) testNodeSilent(t *testing.T, u *world.User, long string) {
	c := send(t, u, long)
	k.running(t, u, c.ID, 1)
	signal(t, "kubelet", syscall.SIGSTOP)
	func() {
		defer signal(t, "kubelet", syscall.SIGCONT)
		killed := 0
		for _, pid := range processes(t, "environ", []byte("TONEARM_ATTEMPT_TOKEN=")) {
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
		if killed == 0 {
			t.Error("no process of the attempt was found")
		}
		waittest.Until(t, 3*time.Minute, "the node counts as lost", func() bool { return !k.nodeReady(t, "node") })
	}()
	waittest.Until(t, time.Minute, "the node is back", func() bool { return k.nodeReady(t, "node") })
	k.wantAll(t, u, 10*time.Minute, c.ID)
}

// testNodeRemoved has attempts bound to a node that exists only in the API, and
// then removes it, as a cloud does with a machine that is gone.
func (k *cluster) testNodeRemoved(t *testing.T, u *world.User, video string) {
	const ghost = "ghost"
	nodes := k.CoreV1().Nodes()
	room := corev1.ResourceList{}
	node, err := nodes.Get(t.Context(), "node", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range node.Status.Allocatable {
		room[name] = n
	}
	if _, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: ghost}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	gone := func(ctx context.Context) { _ = nodes.Delete(ctx, ghost, metav1.DeleteOptions{}) }
	defer gone(context.WithoutCancel(t.Context()))
	waittest.Until(t, time.Minute, "the node has a status", func() bool {
		n, err := nodes.Get(t.Context(), ghost, metav1.GetOptions{})
		if err != nil {
			return false
		}
		now := metav1.Now()
		n.Status.Capacity, n.Status.Allocatable = room, room
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "Test"}}
		_, err = nodes.UpdateStatus(t.Context(), n, metav1.UpdateOptions{})
		return err == nil
	})
	waittest.Until(t, time.Minute, "pods may go there", func() bool {
		n, err := nodes.Get(t.Context(), ghost, metav1.GetOptions{})
		return err == nil && len(n.Spec.Taints) == 0
	})
	kubectl(t, "cordon", "node")
	ids := sendCopies(t, u, 2, video)
	waittest.Until(t, time.Minute, "the attempts are bound to it", func() bool {
		pods, err := k.CoreV1().Pods(jobs).List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + ghost})
		return err == nil && len(pods.Items) == len(ids)
	})
	kubectl(t, "uncordon", "node")
	gone(t.Context())
	k.wantAll(t, u, 10*time.Minute, ids...)
}

func (k *cluster) nodeReady(t *testing.T, name string) bool {
	t.Helper()
	n, err := k.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return false
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// signal sends a signal to a part of the node.
func signal(t *testing.T, name string, s syscall.Signal) {
	t.Helper()
	pids := processes(t, "cmdline", append([]byte(name), 0))
	if len(pids) == 0 {
		t.Fatalf("%s does not run", name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

// processes returns those whose file in /proc, a list of texts that end with 0,
// has one that begins so; of cmdline only the first counts.
func processes(t *testing.T, file string, begins []byte) (pids []int) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if bytes.HasPrefix(b, begins) || file != "cmdline" && bytes.Contains(b, append([]byte{0}, begins...)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}
