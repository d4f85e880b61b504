package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"tonearm/internal/launch/kubelaunch"
)

const (
	kwokNodes = 5
	kwokLabel = "kwok.x-k8s.io/node" // also of an annotation and a taint
)

//go:embed kwok.yaml
var kwokConfig []byte

// kwokClasses send Jobs to KWOK's nodes.
const kwokClasses = `cpu:
  resources: {requests: {cpu: '1', memory: 256Mi}, limits: {memory: 1Gi}}
  nodeSelector: {` + kwokLabel + `: fake}
  tolerations: [{key: ` + kwokLabel + `, operator: Exists}]
`

// startKWOK runs KWOK with its nodes. They accept only pods of Jobs of the
// classes that it returns, a file for --job-classes.
func (n *node) startKWOK(ctx context.Context) (classes string, stop func(), err error) {
	config, classes := filepath.Join(n.scratch, "kwok.yaml"), filepath.Join(n.scratch, "classes.yaml")
	err = errors.Join(os.WriteFile(config, kwokConfig, 0o600), os.WriteFile(classes, []byte(kwokClasses), 0o600))
	if err != nil {
		return "", nil, err
	}
	log, err := os.Create(filepath.Join(n.scratch, "kwok.log"))
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = log.Close() }()
	kwok := exec.CommandContext(ctx, "kwok", "--kubeconfig", os.Getenv("TONEARM_TEST_KUBECONFIG"), "--config", config) //nolint:gosec // the node tells where it is
	kwok.Stdout, kwok.Stderr = log, log
	if err := kwok.Start(); err != nil {
		return "", nil, fmt.Errorf("KWOK (make scale-test builds it): %w", err)
	}
	stop = func() {
		_ = kwok.Process.Signal(syscall.SIGTERM)
		_ = kwok.Wait()
	}
	for i := range kwokNodes {
		if _, err := n.kube.CoreV1().Nodes().Create(ctx, kwokNode(i), metav1.CreateOptions{}); err != nil {
			stop()
			return "", nil, fmt.Errorf("make a node of KWOK: %w", err)
		}
	}
	err = await(ctx, time.Minute, "KWOK's nodes to be ready", func(ctx context.Context) (bool, error) {
		nodes, err := n.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: kwokLabel})
		return err == nil && !slices.ContainsFunc(nodes.Items, func(is corev1.Node) bool { return !ready(is) }), err
	})
	if err != nil {
		stop()
		return "", nil, err
	}
	return classes, stop, nil
}

func kwokNode(i int) *corev1.Node {
	fake := map[string]string{kwokLabel: "fake"}
	holds := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("10Ti"), corev1.ResourcePods: resource.MustParse("1000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "kwok-" + strconv.Itoa(i), Annotations: fake, Labels: fake},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: kwokLabel, Value: "fake", Effect: corev1.TaintEffectNoSchedule}}},
		Status:     corev1.NodeStatus{Allocatable: holds, Capacity: holds},
	}
}

func ready(n corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// kubelet does what KWOK's nodes do not do. It carries out the attempt of each
// running pod with simulated, and ends the pod. It also counts the Jobs.
type kubelet struct {
	n       *node
	stop    func()
	working sync.WaitGroup

	mu     sync.Mutex
	pods   map[types.UID]bool   // that were begun
	jobs   map[types.UID]uint64 // the cluster's version when each was made
	ends   []uint64             // the cluster's version when each pod had ended
	failed error                // of the first attempt that failed
}

func (n *node) startKubelet(ctx context.Context) (*kubelet, error) {
	ctx, cancel := context.WithCancel(ctx)
	k := &kubelet{n: n, pods: map[types.UID]bool{}, jobs: map[types.UID]uint64{}}
	factory := informers.NewSharedInformerFactoryWithOptions(n.kube, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = kubelaunch.Selector }))
	k.stop = func() {
		cancel()
		factory.Shutdown()
		k.working.Wait()
	}
	_, err := factory.Batch().V1().Jobs().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { k.made(o.(*batchv1.Job)) },
	})
	look := func(o any) { k.look(ctx, o.(*corev1.Pod)) }
	_, err2 := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: look, UpdateFunc: func(_, o any) { look(o) },
	})
	if err := errors.Join(err, err2); err != nil {
		k.stop()
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return k, nil
}

func (k *kubelet) made(job *batchv1.Job) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.jobs[job.UID]; !known {
		k.jobs[job.UID] = version(job)
	}
}

// version orders all changes of a cluster; it is the counter of the cluster's
// etcd.
func version(o metav1.Object) uint64 {
	v, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	return v
}

func (k *kubelet) look(ctx context.Context, pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pod.Status.Phase != corev1.PodRunning || k.pods[pod.UID] {
		return
	}
	k.pods[pod.UID] = true
	k.working.Go(func() {
		end, err := k.carryOut(ctx, pod)
		k.mu.Lock()
		defer k.mu.Unlock()
		if err == nil {
			k.ends = append(k.ends, end)
		} else if k.failed == nil {
			k.failed = err
		}
	})
}

// carryOut returns the cluster's version when the pod had ended.
func (k *kubelet) carryOut(ctx context.Context, pod *corev1.Pod) (end uint64, err error) {
	c := pod.Spec.Containers[0]
	s := simulated{environment: map[string]string{}, takes: func(int64) time.Duration { return 0 }}
	for _, v := range c.Env {
		s.environment[v.Name] = v.Value
	}
	if err := s.run(ctx); err != nil {
		return 0, fmt.Errorf("attempt of pod %s: %w", pod.Name, err)
	}
	patch, err := json.Marshal(map[string]corev1.PodStatus{"status": {
		Phase: corev1.PodSucceeded,
		ContainerStatuses: []corev1.ContainerStatus{{Name: c.Name, Image: c.Image, State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", FinishedAt: metav1.Now()},
		}}},
	}})
	if err != nil {
		return 0, err
	}
	ended, err := k.n.kube.CoreV1().Pods(namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return 0, fmt.Errorf("end pod %s: %w", pod.Name, err)
	}
	return version(ended), nil
}

// count returns how many Jobs there were in all, and the most at one time whose
// pods had not ended.
func (k *kubelet) count() (jobs, most int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	made, ends := slices.Sorted(maps.Values(k.jobs)), slices.Sorted(slices.Values(k.ends))
	ended := 0
	for i, v := range made {
		for ended < len(ends) && ends[ended] < v {
			ended++
		}
		most = max(most, i+1-ended)
	}
	return len(made), most, k.failed
}
