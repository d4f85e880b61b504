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

	"tonearm/bench/results"
)

const (
	kedaVersion   = "v2.21.0"
	kedaNamespace = "keda-work" // of the ScaledJobs and their workers
	listLabel     = "list"      // of a worker's pod: which list it takes from
	fastest       = 1           // seconds between two polls
	byDefault     = 30
)

// keda is KEDA's operator on the node, and the Redis server that it polls.
type keda struct {
	node      *node
	redis     *redis.Client
	processes []*exec.Cmd
}

// startKEDA starts both. scripts/keda builds the operator.
func (n *node) startKEDA(ctx context.Context) (_ *keda, err error) {
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
	return k, until(ctx, time.Minute, "KEDA", func(ctx context.Context) (bool, error) {
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

// certificates makes what the operator wants to have, whom nobody calls here.
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

// run starts a server, its log in the scratch folder.
func (k *keda) run(ctx context.Context, env []string, program string, args ...string) error {
	log, err := os.Create(filepath.Join(k.node.scratch, filepath.Base(program)+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	k.processes = append(k.processes, cmd)
	return nil
}

// stop ends both, after all that they made.
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
	Name     string // of the list too
	Poll     int    // seconds
	Max      int    // Jobs at a time
	Strategy string
	Redis    string // host
}

//go:embed scaledjob.yaml.tmpl
var manifest string

// scale lets KEDA look after a list.
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

// push puts messages into a list and returns when they were there.
func (k *keda) push(ctx context.Context, list string, messages int) (time.Time, error) {
	err := k.redis.LPush(ctx, list, slices.Repeat([]any{"file"}, messages)...).Err()
	return time.Now(), err
}

// kubectl runs the real one.
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

// burstOf is what a burst of files came to.
type burstOf struct {
	jobs, idle, seconds float64 // Jobs made, and how many of them found nothing to do
}

// measureBurst counts the Jobs that a burst of files makes, ours and KEDA's, with
// as many at a time and a second's work for each file.
func measureBurst(ctx context.Context, n *node) (_ map[string]results.Figure, err error) {
	const most = 10
	files := max(100/n.shorten, 10)
	ours, err := n.burst(ctx, files, most)
	if err != nil {
		return nil, err
	}
	k, err := n.startKEDA(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.stop()) }()
	byStrategy := map[string]burstOf{}
	for _, strategy := range []string{"default", "accurate"} {
		if byStrategy[strategy], err = k.burst(ctx, strategy, files, most); err != nil {
			return nil, err
		}
	}
	each := func(b burstOf) float64 { return b.jobs / float64(files) }
	accurate, standard := byStrategy["accurate"], byStrategy["default"]
	f := results.Against(each(ours), each(accurate), "")
	f.More = map[string]float64{"keda_default": each(standard),
		"keda_accurate_found_nothing": accurate.idle, "keda_default_found_nothing": standard.idle,
		"seconds": ours.seconds, "keda_accurate_seconds": accurate.seconds, "keda_default_seconds": standard.seconds}
	f.Note = fmt.Sprintf("Jobs made for each of %d files that come at once, at most %d at a time, a second's work each; KEDA %s polling each second, strategies accurate and default",
		files, most, kedaVersion)
	return map[string]results.Figure{"dispatch.jobs_per_file_burst": f}, nil
}

// burst is Tonearm's.
func (n *node) burst(ctx context.Context, files, most int) (_ burstOf, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := n.start(ctx, "burst", simulatedImage, append([]string{"--max-jobs", fmt.Sprint(most)}, classes...)...)
	if err != nil {
		return burstOf{}, err
	}
	defer func() { err = errors.Join(err, n.stop(ctx, up)) }()
	jobs, err := n.watchJobs(ctx, namespace, "app.kubernetes.io/name")
	if err != nil {
		return burstOf{}, err
	}
	c, err := up.Client(ctx, "burst@example.org")
	if err != nil {
		return burstOf{}, err
	}
	sources := make([][]byte, files)
	for i := range sources {
		sources[i] = make([]byte, perSecond)
	}
	took, err := work(ctx, c, sources)
	if err != nil {
		return burstOf{}, err
	}
	return burstOf{jobs: float64(len(jobs.of("tonearm"))), seconds: took.Seconds()}, n.idle(ctx)
}

// burst is KEDA's.
func (k *keda) burst(ctx context.Context, strategy string, files, most int) (burstOf, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs, err := k.node.watchJobs(ctx, kedaNamespace, "scaledjob.keda.sh/name")
	if err != nil {
		return burstOf{}, err
	}
	if err := k.scale(ctx, scaledJob{Name: strategy, Poll: fastest, Max: most, Strategy: strategy}); err != nil {
		return burstOf{}, err
	}
	pushed, err := k.push(ctx, strategy, files)
	if err != nil {
		return burstOf{}, err
	}
	err = until(ctx, 10*time.Minute, "KEDA's workers", func(ctx context.Context) (bool, error) {
		n, err := k.redis.Get(ctx, strategy+":done").Int()
		if errors.Is(err, redis.Nil) {
			return false, nil
		}
		return n == files, err
	})
	took := time.Since(pushed).Round(100 * time.Millisecond)
	if err == nil {
		err = k.node.idle(ctx)
	}
	if err != nil {
		return burstOf{}, err
	}
	idle, err := k.redis.Get(ctx, strategy+":nothing").Float64()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return burstOf{jobs: float64(len(jobs.of(strategy))), idle: idle, seconds: took.Seconds()}, err
}
