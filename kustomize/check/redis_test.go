package check

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRedisPassword starts a real Redis with the arguments of the component redis. It
// takes its password from the file that the Secret gives, and shows it in no list of
// processes.
func TestRedisPassword(t *testing.T) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip(err)
	}
	o := render(t, filepath.Join(root, "overlays", "local"))
	i := slices.IndexFunc(o.pods, func(p pod) bool { return strings.HasSuffix(p.id, "redis") })
	if i < 0 {
		t.Fatal("no pod of Redis")
	}
	spec := o.pods[i].template.Spec
	dir := t.TempDir()
	template, err := os.ReadFile(filepath.Join(root, "overlays", "local", "secrets.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range spec.Volumes {
		for _, item := range v.Secret.Items {
			_, value, found := strings.Cut(string(template), "\n"+item.Key+"=")
			value, _, _ = strings.Cut(value, "\n")
			value = strings.ReplaceAll(value, "$(redis-password)", "canary")
			if !found || os.WriteFile(filepath.Join(dir, item.Path), []byte(value), 0o600) != nil {
				t.Fatalf("the template has no %s", item.Key)
			}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	args := slices.Clone(spec.Containers[0].Args[1:])
	for i, arg := range args {
		args[i] = strings.Replace(strings.Replace(arg, "/etc/redis", dir, 1), "/data", dir, 1)
	}
	cmd := exec.Command(program, append(args, "--bind", "127.0.0.1", "--port", port)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var conn net.Conn
	for deadline := time.Now().Add(30 * time.Second); ; {
		if conn, err = net.Dial("tcp", addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for _, call := range [][2]string{{"PING", "-NOAUTH"}, {"AUTH wrong", "-WRONGPASS"}, {"AUTH canary", "+OK"}, {"PING", "+PONG"}} {
		fmt.Fprintf(conn, "%s\r\n", call[0])
		if got, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(got, call[1]) {
			t.Errorf("%s: got %q, %v, want %s", call[0], got, err, call[1])
		}
	}
	shown, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
	if err != nil || bytes.Contains(shown, []byte("canary")) {
		t.Errorf("its arguments are %q, %v", shown, err)
	}
}
