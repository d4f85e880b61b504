package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"tonearm/bench/stack"
)

// node is the Kubernetes node of test/node, on which this program runs.
type node struct {
	options
	kube    *kubernetes.Clientset
	scratch string // a folder that is removed at the end
}

const (
	namespace = "tonearm-jobs" // of the attempts
	admin     = "127.0.0.1:9090"
)

func openNode(o options) (*node, error) {
	path := os.Getenv("TONEARM_TEST_KUBECONFIG")
	if path == "" {
		return nil, errors.New("TONEARM_TEST_KUBECONFIG is not set: make scale-test")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	config.ContentType = "application/vnd.kubernetes.protobuf"
	kube, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "measure"))
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "tonearm-cluster-bench-")
	if err != nil {
		return nil, err
	}
	return &node{o, kube, scratch}, nil
}

func (n *node) close() error { return os.RemoveAll(n.scratch) }

// start runs Tonearm in one process beside the node. Attempts are Jobs of this
// image. Tonearm begins with empty data, in a folder of that name.
func (n *node) start(ctx context.Context, name, image string, args ...string) (*stack.Up, error) {
	_, err := n.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("make the namespace of Jobs: %w", err)
	}
	addr := os.Getenv("TONEARM_TEST_NODE_ADDR")
	return stack.Start(ctx, filepath.Join(n.scratch, name), append([]string{
		"--listen", addr + ":8080", "--admin-listen", admin, "--events-listen", addr + ":8081", "--s3-listen", addr + ":9000",
		"--launcher", "kubernetes", "--kubeconfig", os.Getenv("TONEARM_TEST_KUBECONFIG"), "--jobs-namespace", namespace,
		"--dispatcher-url", "http://" + addr + ":8081", "--transcoder-image", image,
	}, args...)...)
}
