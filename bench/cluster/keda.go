package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"text/template"
	"time"

	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	kedaVersion   = "v2.21.0"
	kedaNamespace = "keda-work" // of the ScaledJobs and their workers
	listLabel     = "list"      // label of a worker's pod: the list that it takes from
	fastest       = 1           // seconds between two polls
	byDefault     = 30
)

// keda is KEDA's operator on the node, and the Redis server that it polls.
type keda struct {
	node      *node
	redis     *redis.Client
	processes []*exec.Cmd
}

// startKEDA starts the Redis server and the operator, which scripts/keda
// builds.
func (n *node) startKEDA(ctx context.Context) (_ *keda, err error) {
	if n.keda == "" {
		return nil, errors.New("-keda is not set: make scale-test")
	}
	addr := net.JoinHostPort(os.Getenv("TONEARM_TEST_NODE_ADDR"), "6379")
	k := &keda{node: n, redis: redis.NewClient(&redis.Options{Addr: addr})}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.stop())
		}
	}()
	for _, name := range []string{"keda", kedaNamespace} {
		if _, err := n.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			return k, fmt.Errorf("make namespace %s: %w", name, err)
		}
	}
	if err := kubectl(ctx, nil, "apply", "--server-side", "-f", filepath.Join(n.keda, "crd")); err != nil {
		return k, err
	}
	if err := kubectl(ctx, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"); err != nil {
		return k, err
	}
	certs, err := n.certificates(ctx)
	if err != nil {
		return k, err
	}
	if err := k.run(ctx, nil, "redis-server", "--bind", os.Getenv("TONEARM_TEST_NODE_ADDR"), "--protected-mode", "no", "--save", "", "--appendonly", "no"); err != nil {
		return k, err
	}
	err = k.run(ctx, []string{"POD_NAMESPACE=keda", "POD_NAME=keda", "WATCH_NAMESPACE=", "KEDA_CLUSTER_OBJECT_NAMESPACE=keda", "OPERATOR_NAME=keda-operator"},
		filepath.Join(n.keda, "keda-operator"), "--kubeconfig", os.Getenv("TONEARM_TEST_KUBECONFIG"), "--cert-dir", certs, "--leader-elect=false",
		"--enable-apiservice-patching=false", "--enable-webhook-patching=false", "--metrics-bind-address", "127.0.0.1:18080",
		"--health-probe-bind-address", "127.0.0.1:18081", "--metrics-service-bind-address", "127.0.0.1:19666")
	if err != nil {
		return k, err
	}
	return k, await(ctx, time.Minute, "KEDA", func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:18081/readyz", nil)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
}

// certificates makes the certificates that the operator requires; nobody uses
// them here.
func (n *node) certificates(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp(n.scratch, "keda-")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "sh", "-c", `cd "$1" && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=keda-operator \
		-addext subjectAltName=DNS:keda-operator.keda.svc -keyout tls.key -out tls.crt && cp tls.crt ca.crt && cp tls.key ca.key`, "sh", dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make KEDA's certificates: %w\n%s", err, out)
	}
	return dir, nil
}

// run starts a server, with its log in the scratch folder. It lives until stop,
// because KEDA has to help remove what it made.
func (k *keda) run(ctx context.Context, env []string, program string, args ...string) error {
	log, err := os.Create(filepath.Join(k.node.scratch, filepath.Base(program)+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...) //nolint:gosec // both programs are named here
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	k.processes = append(k.processes, cmd)
	return nil
}

// stop removes everything that KEDA made, then ends both servers.
func (k *keda) stop() error {
	ctx := context.Background()
	err := errors.Join(k.node.remove(ctx, kedaNamespace), k.node.remove(ctx, "keda"), k.redis.Close())
	for _, cmd := range k.processes {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	return err
}

// scaledJob is a list of messages for which KEDA makes Jobs.
type scaledJob struct {
	Name     string // also of the list
	Poll     int    // seconds
	Max      int    // Jobs at a time
	Strategy string
	Redis    string // host of Redis
}

//go:embed scaledjob.yaml.tmpl
var manifest string

// scale makes KEDA create Jobs for a list.
func (k *keda) scale(ctx context.Context, s scaledJob) error {
	s.Redis = os.Getenv("TONEARM_TEST_NODE_ADDR")
	t, err := template.New("ScaledJob").Parse(manifest)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return err
	}
	if err := kubectl(ctx, &b, "-n", kedaNamespace, "apply", "-f", "-"); err != nil {
		return err
	}
	return kubectl(ctx, nil, "-n", kedaNamespace, "wait", "--for=condition=Ready", "scaledjob/"+s.Name, "--timeout=1m")
}

// push puts messages into a list, and returns the time when they were there.
func (k *keda) push(ctx context.Context, list string, messages int) (time.Time, error) {
	err := k.redis.LPush(ctx, list, slices.Repeat([]any{"file"}, messages)...).Err()
	return time.Now(), err
}

// kubectl runs the real kubectl.
func kubectl(ctx context.Context, in *bytes.Buffer, args ...string) error {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	if in != nil {
		cmd.Stdin = in
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %v: %w\n%s", args, err, out)
	}
	return nil
}
