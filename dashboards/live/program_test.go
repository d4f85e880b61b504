package live

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// eventually waits until ok returns true; after limit it fails the test.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still not after %s: %s", limit, what)
		}
	}
}

// program is a server that runs as long as the test.
type program struct {
	out output
	end chan struct{} // closed when it has ended
}

// output keeps what a program printed.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{end: make(chan struct{})}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(p.end) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		force := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		<-p.end
		force.Stop()
		if t.Failed() {
			out := p.out.String()
			t.Logf("%s printed:\n%s", filepath.Base(name), out[max(0, len(out)-4000):])
		}
	})
	return p
}

// running fails the test if the program has ended.
func (p *program) running(t *testing.T) {
	t.Helper()
	select {
	case <-p.end:
		t.Fatalf("ended: %s", p.out.String())
	default:
	}
}

// freeAddr returns a loopback address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run runs a command to its end and returns its standard output and exit status.
func run(t *testing.T, dir string, env []string, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
		t.Fatalf("%s: %v\n%s", name, err, errs.String())
	}
	if code := cmd.ProcessState.ExitCode(); code > 1 {
		t.Fatalf("%s %v: exit status %d\n%s", name, args, code, errs.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}
