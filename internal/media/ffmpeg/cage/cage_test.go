package cage_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/media/ffmpeg/cage"
)

var plenty = cage.Cage{CPU: time.Hour, File: 1 << 40}

// wide lets a shell run programs that write files.
var wide = []cage.Measure{cage.Files, cage.OtherUser, cage.SystemCalls}

// run runs a shell command within limits and returns its output and how it ended.
func run(t *testing.T, l cage.Cage, script string) (string, error) {
	t.Helper()
	l.Without = wide
	cmd, err := l.Command(t.Context(), nil, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Dir = t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// TestSeen: the program finds just the limits that were asked for, however often
// it is started.
func TestSeen(t *testing.T) {
	l := cage.Cage{Memory: 32 << 20, CPU: 77 * time.Second, File: 8 << 20}
	for range 200 {
		got, err := run(t, l, "ulimit -c; ulimit -t; ulimit -f; ulimit -n; ulimit -d")
		if want := "0\n77\n16384\n1024\n32768"; err != nil || got != want {
			t.Fatalf("limits %q, error %v; want %q", got, err, want)
		}
	}
	if got, err := run(t, plenty, "ulimit -d"); err != nil || got != "unlimited" {
		t.Errorf("without one, the limit on memory is %q, error %v", got, err)
	}
}

// TestMemory: more memory is not to be had.
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux limits memory")
	}
	l := plenty
	l.Memory = 64 << 20
	if out, err := run(t, l, "exec dd if=/dev/zero of=/dev/null bs=32M count=1"); err != nil {
		t.Errorf("32 of 64 MiB: %v, %s", err, out)
	}
	if out, err := run(t, l, "exec dd if=/dev/zero of=/dev/null bs=80M count=1"); err == nil || !strings.Contains(out, "memory exhausted") {
		t.Errorf("80 of 64 MiB: %v, %s", err, out)
	}
}

// TestEnforced: what goes beyond a limit is ended by the signal of the cage.
func TestEnforced(t *testing.T) {
	for name, c := range map[string]struct {
		limits cage.Cage
		script string
		want   syscall.Signal
	}{
		"CPU":             {cage.Cage{CPU: time.Second, File: 1 << 20}, "while :; do :; done", syscall.SIGXCPU},
		"CPU, held off":   {cage.Cage{CPU: time.Second, File: 1 << 20}, "trap '' XCPU; while :; do :; done", syscall.SIGKILL},
		"size of a file":  {cage.Cage{CPU: time.Hour, File: 1 << 20}, "exec dd if=/dev/zero of=large bs=65536 count=17", syscall.SIGXFSZ},
		"within the size": {cage.Cage{CPU: time.Hour, File: 1 << 20}, "exec dd if=/dev/zero of=large bs=65536 count=16", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, c.limits, c.script)
			var exit *exec.ExitError
			var got syscall.Signal
			if errors.As(err, &exit) {
				got = exit.Sys().(syscall.WaitStatus).Signal()
			}
			if (c.want == 0) != (err == nil) || err != nil && got != c.want {
				t.Errorf("ended with %v (%s), want %v", err, out, c.want)
			}
		})
	}
}

// TestCannotStart: a program that is not there, or is none, is told apart from
// one that fails.
func TestCannotStart(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(none, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{none: cage.CannotRun, none + "-at-all": cage.NotFound} {
		var exit *exec.ExitError
		cmd, err := plenty.Command(t.Context(), nil, path)
		if want == cage.NotFound {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v; want that it does not exist", path, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if !errors.As(err, &exit) || exit.ExitCode() != want || !strings.Contains(string(out), path) {
			t.Errorf("%s: %v, %s; want exit status %d", path, err, out, want)
		}
	}
}

// TestDied: the death of what sets the limits is not taken for one of the
// program. Here the runtime is refused the memory that it needs.
func TestDied(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a limit on address space")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	limited, err := plenty.Command(t.Context(), nil, "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `ulimit -v 60000; exec -a "$0" "$PROGRAM" "$@"`}, limited.Args...)...)
	if bash, err := exec.LookPath("bash"); err == nil {
		cmd.Path = bash // exec -a is not in every shell
	} else {
		t.Skip("no bash")
	}
	cmd.Env = append(os.Environ(), "PROGRAM="+self)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case strings.Contains(stderr.String(), "ThreadSanitizer"): // the race detector needs more than that, and says so in its own words
	case !errors.As(err, &exit) || !cage.Died(exit.ExitCode(), stderr.String()):
		t.Errorf("without memory: %v, %.300s", err, stderr.String())
	}
	for _, tt := range []struct {
		status int
		stderr string
		want   bool
	}{
		{cage.CannotRun, "", true}, {cage.NotFound, "", true},
		{2, "runtime: failed to create new OS thread (have 2 already; errno=11)\nfatal error: newosproc", true},
		{2, "ffmpeg version 7.1.5\nfatal error: something", false},
		{1, "fatal error: something", false}, {2, "", false},
	} {
		if got := cage.Died(tt.status, tt.stderr); got != tt.want {
			t.Errorf("status %d, %q: got %t", tt.status, tt.stderr, got)
		}
	}
}

// TestBatch: the program is run as one that computes.
func TestBatch(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	const policy = 41 // field of stat, see proc_pid_stat(5)
	out, err := run(t, plenty, "cat /proc/self/stat")
	if fields := strings.Fields(out); err != nil || len(fields) < policy || fields[policy-1] != "3" {
		t.Errorf("scheduling policy of %q, error %v; want 3, SCHED_BATCH", out, err)
	}
}
