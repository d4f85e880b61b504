package execlaunch_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/launch/execlaunch"
	"tonearm/internal/launch/launchtest"
	"tonearm/internal/waittest"
)

// hostArg makes the test binary run a launcher. In the tests of recovery it is
// the earlier life. The arguments after it are the directory, the dispatcher's
// URL and the conversion to start.
const hostArg = "host-launcher"

const hostLaunch = "launch-of-the-earlier-life"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case launchtest.ProgramArg:
			launchtest.Program()
		case hostArg:
			host(os.Args[2], os.Args[3], os.Args[4])
		}
	}
	os.Exit(m.Run())
}

func host(dir, url, conversionID string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := execlaunch.New(options(dir, url))
	if err == nil {
		spec := launchtest.NewSpec(conversion.AttemptRef{ConversionID: conversionID, Attempt: 1})
		spec.Launch = hostLaunch
		err = l.Start(ctx, spec)
	}
	if err != nil {
		slog.Error("host", "error", err)
		os.Exit(1)
	}
	<-ctx.Done()
	l.Close()
	os.Exit(0)
}

func options(dir, url string) execlaunch.Options {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return execlaunch.Options{
		Command:       []string{self, launchtest.ProgramArg},
		Dir:           dir,
		DispatcherURL: url,
		MaxRunning:    3,
		Grace:         100 * time.Millisecond,
		Log:           slog.New(slog.DiscardHandler),
	}
}

func open(t *testing.T, o execlaunch.Options) *execlaunch.Launcher {
	t.Helper()
	l, err := execlaunch.New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSuite(t *testing.T) {
	launchtest.Run(t, launchtest.Harness{
		Capacity: 3,
		Open: func(t *testing.T, url string) launch.Launcher {
			dir := t.TempDir()
			t.Cleanup(func() { wantEmpty(t, dir) }) // after the suite has closed the launcher
			return open(t, options(dir, url))
		},
	})
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("left behind in %s: %v", dir, entries)
	}
}

func TestNewRefuses(t *testing.T) {
	good := options(t.TempDir(), "http://127.0.0.1:1")
	for name, spoil := range map[string]func(*execlaunch.Options){
		"no command":      func(o *execlaunch.Options) { o.Command = nil },
		"missing command": func(o *execlaunch.Options) { o.Command = []string{"/nonexistent/transcoder"} },
		"no directory":    func(o *execlaunch.Options) { o.Dir = "" },
		"no dispatcher":   func(o *execlaunch.Options) { o.DispatcherURL = "" },
		"no logger":       func(o *execlaunch.Options) { o.Log = nil },
		"negative bound":  func(o *execlaunch.Options) { o.MaxRunning = -1 },
	} {
		o := good
		spoil(&o)
		if _, err := execlaunch.New(o); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}

func TestStartRefusesNamesThatLeaveTheDirectory(t *testing.T) {
	l := open(t, options(t.TempDir(), "http://127.0.0.1:1"))
	for _, r := range []conversion.AttemptRef{{}, {ConversionID: "../x", Attempt: 1}, {ConversionID: "a/b", Attempt: 1}, {ConversionID: "a", Attempt: 0}} {
		if err := l.Start(t.Context(), launchtest.NewSpec(r)); err == nil {
			t.Errorf("Start took %q", r)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("TONEARM_SECRET_OF_THE_PARENT", "x")
	c := launchtest.NewConsole(t, "127.0.0.1:0")
	l := open(t, options(t.TempDir(), c.URL()))
	r := launchtest.NewRef()
	if err := l.Start(t.Context(), launchtest.NewSpec(r)); err != nil {
		t.Fatal(err)
	}
	p := c.Arrival(t, r, launchtest.Leader, 1)
	want := []string{"HOME", "PATH", "TONEARM_ATTEMPT_TOKEN_FD", "TONEARM_CONVERSION_ID", "TONEARM_DISPATCHER_URL",
		"TONEARM_LAUNCH_ID", "TONEARM_LIFELINE", "TONEARM_LOCK_FD", "TONEARM_WORK_DIR"}
	got := slices.DeleteFunc(p.EnvNames, func(n string) bool { return n == "PWD" }) // set by os/exec to the working directory
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("environment: got %v, want %v", got, want)
	}
	if p.WorkMode != 0o700 {
		t.Errorf("work directory: got mode %o, want 700", p.WorkMode)
	}
	st, err := os.Stat(filepath.Dir(p.WorkDir))
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("attempt's directory: got %v, %v, want mode 700", st.Mode(), err)
	}
}

// TestEndsAreKept ends an attempt while nobody watches.
func TestEndsAreKept(t *testing.T) {
	c := launchtest.NewConsole(t, "127.0.0.1:0")
	dir := t.TempDir()
	l := open(t, options(dir, c.URL()))
	r := launchtest.NewRef()
	if err := l.Start(t.Context(), launchtest.NewSpec(r)); err != nil {
		t.Fatal(err)
	}
	c.Arrival(t, r, launchtest.Leader, 1).Do(t, launchtest.Command{Do: launchtest.Exit, Code: 7})
	if err := l.Stop(t.Context(), conversion.AttemptRef{ConversionID: "another", Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // returns once the end is known
		t.Fatal(err)
	}
	var got []launch.End
	if err := l.Watch(t.Context(), func(e launch.End) { got = append(got, e) }); err == nil || t.Context().Err() != nil {
		t.Errorf("Watch of a closed launcher: got %v", err)
	}
	// Close may have found the process still exiting.
	if len(got) != 1 || got[0].AttemptRef != r || got[0].Reason != launch.Exited && got[0].Reason != launch.Stopped {
		t.Errorf("ends: got %+v, want the one of %s", got, r)
	}
	if err := l.Start(t.Context(), launchtest.NewSpec(launchtest.NewRef())); err == nil {
		t.Error("Start after Close: got no error")
	}
	wantEmpty(t, dir)
}

func TestOutputIsLogged(t *testing.T) {
	var buf waittest.Buffer
	c := launchtest.NewConsole(t, "127.0.0.1:0")
	o := options(t.TempDir(), c.URL())
	o.Log = slog.New(slog.NewTextHandler(&buf, nil))
	l := open(t, o)
	r := launchtest.NewRef()
	if err := l.Start(t.Context(), launchtest.NewSpec(r)); err != nil {
		t.Fatal(err)
	}
	p := c.Arrival(t, r, launchtest.Leader, 1)
	p.Do(t, launchtest.Command{Do: launchtest.Print, Text: strings.Repeat("long", 10_000)})
	p.Do(t, launchtest.Command{Do: launchtest.Print, Text: "last words"})
	if err := l.Stop(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(buf.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("log: got %d lines, want 2", len(lines))
	}
	if len(lines[0]) > 5000 {
		t.Errorf("an overlong line was logged with %d bytes", len(lines[0]))
	}
	for _, want := range []string{`line="last words"`, "conversion_id=" + r.ConversionID, "attempt=1"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("log: got %s, want %s in it", lines[1], want)
		}
	}
}

// TestRecovery kills the launcher, alone and with its process group, while an
// attempt and its grandchild run that take no notice.
func TestRecovery(t *testing.T) {
	for name, kill := range map[string]func(pid int) error{
		"alone": func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"group": func(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			c := launchtest.NewConsole(t, "127.0.0.1:0")
			dir := t.TempDir()
			h, r := startHost(t, c, dir)
			p := c.Arrival(t, r, launchtest.Leader, 1)
			p.Do(t, launchtest.Command{Do: launchtest.IgnoreTerm})
			p.Do(t, launchtest.Command{Do: launchtest.Spawn})
			g := c.Arrival(t, r, launchtest.Grandchild, 1)

			if err := kill(h.Process.Pid); err != nil {
				t.Fatal(err)
			}
			if err := h.Wait(); err == nil {
				t.Fatal("the host ended by itself")
			}
			if err := syscall.Kill(p.PID, 0); err != nil {
				t.Fatalf("the attempt did not outlive its launcher, so nothing is tested: %v", err)
			}
			foreign := filepath.Join(dir, "not-an-attempt")
			if err := os.WriteFile(foreign, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			l := open(t, options(dir, c.URL()))
			p.WaitGone(t)
			g.WaitGone(t)
			if running, err := l.Running(t.Context()); err != nil || len(running) > 0 {
				t.Errorf("Running after recovery: got %v, %v", running, err)
			}
			if err := os.Remove(foreign); err != nil {
				t.Errorf("a file that is no attempt's was touched: %v", err)
			}
			wantEmpty(t, dir)
			wantLost(t, l, r)

			// The same attempt can be started again.
			if err := l.Start(t.Context(), launchtest.NewSpec(r)); err != nil {
				t.Fatalf("Start after recovery: %v", err)
			}
			c.Arrival(t, r, launchtest.Leader, 2)
		})
	}
}

// wantLost checks that the launcher reports the end of the earlier life's
// attempt, and nothing else.
func wantLost(t *testing.T, l *execlaunch.Launcher, r conversion.AttemptRef) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var got []launch.End
	err := l.Watch(ctx, func(e launch.End) {
		got = append(got, e)
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
	if len(got) != 1 || got[0].AttemptRef != r || got[0].Launch != hostLaunch || got[0].Reason != launch.Disrupted {
		t.Errorf("ends of the earlier life: got %+v, want that of %s, disrupted", got, r)
	}
}

// TestInUse: a launcher refuses a directory that another process uses, and
// leaves its attempts alone.
func TestInUse(t *testing.T) {
	c := launchtest.NewConsole(t, "127.0.0.1:0")
	dir := t.TempDir()
	h, r := startHost(t, c, dir)
	p := c.Arrival(t, r, launchtest.Leader, 1)
	if l, err := execlaunch.New(options(dir, c.URL())); !errors.Is(err, execlaunch.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second launcher: %v, %v", l, err)
	}
	p.Do(t, launchtest.Command{Do: launchtest.Print, Text: "still here"})
	if err := h.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, options(dir, c.URL()))
}

// TestUnwell: an error that every attempt would meet is told apart.
func TestUnwell(t *testing.T) {
	o := options(t.TempDir(), "http://127.0.0.1:1")
	program := filepath.Join(t.TempDir(), "transcoder")
	if err := os.WriteFile(program, []byte("#!/nonexistent/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o.Command = []string{program}
	l := open(t, o)
	if err := l.Start(t.Context(), launchtest.NewSpec(launchtest.NewRef())); !errors.Is(err, launch.ErrUnwell) {
		t.Errorf("a program that cannot be started: %v", err)
	}
	if err := l.Start(t.Context(), launchtest.NewSpec(conversion.AttemptRef{})); err == nil || errors.Is(err, launch.ErrUnwell) {
		t.Errorf("a name that is none: %v", err)
	}
	wantEmpty(t, o.Dir)
}

// TestRecoveryOfAnOrphan leaves only a grandchild behind.
func TestRecoveryOfAnOrphan(t *testing.T) {
	c := launchtest.NewConsole(t, "127.0.0.1:0")
	dir := t.TempDir()
	h, r := startHost(t, c, dir)
	p := c.Arrival(t, r, launchtest.Leader, 1)
	p.Do(t, launchtest.Command{Do: launchtest.Spawn})
	g := c.Arrival(t, r, launchtest.Grandchild, 1)
	if err := h.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.Wait()
	p.Do(t, launchtest.Command{Do: launchtest.Exit})
	p.WaitGone(t)
	open(t, options(dir, c.URL()))
	g.WaitGone(t)
	wantEmpty(t, dir)
}

// TestLifeline checks that an attempt ends by itself when the launcher is
// killed.
func TestLifeline(t *testing.T) {
	c := launchtest.NewConsole(t, "127.0.0.1:0")
	h, r := startHost(t, c, t.TempDir())
	p := c.Arrival(t, r, launchtest.Leader, 1)
	p.Do(t, launchtest.Command{Do: launchtest.Lifeline})
	if err := h.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.Wait()
	p.WaitGone(t)
}

// startHost starts a process that hosts a launcher with one attempt.
func startHost(t *testing.T, c *launchtest.Console, dir string) (*exec.Cmd, conversion.AttemptRef) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := launchtest.NewRef()
	h := exec.Command(self, hostArg, dir, c.URL(), r.ConversionID)
	h.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // if the test failed half-way
		if h.ProcessState == nil {
			_ = h.Process.Kill()
			_ = h.Wait()
		}
	})
	return h, r
}

func TestStopHonoursItsContext(t *testing.T) {
	c := launchtest.NewConsole(t, "127.0.0.1:0")
	o := options(t.TempDir(), c.URL())
	o.Grace = time.Hour
	o.MaxRunning = 0
	l, err := execlaunch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := launchtest.NewRef()
	if err := l.Start(t.Context(), launchtest.NewSpec(r)); err != nil {
		t.Fatal(err)
	}
	p := c.Arrival(t, r, launchtest.Leader, 1)
	p.Do(t, launchtest.Command{Do: launchtest.IgnoreTerm})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Stop(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop: got %v, want DeadlineExceeded", err)
	}
	p.Do(t, launchtest.Command{Do: launchtest.Exit})
	if err := l.Stop(t.Context(), r); err != nil {
		t.Errorf("Stop again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
