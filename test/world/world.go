// Package world holds what the tests of Tonearm's own programs share: programs
// that run beside a test, a person who talks to a gateway, a mail server, and
// the real servers that test/servers starts.
package world

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/waittest"
)

// Program is a running command whose output is kept.
type Program struct {
	Cmd *exec.Cmd
	Out waittest.Buffer // standard output and standard error
	End chan struct{}   // closed when it has ended
	Err error           // set before End is closed
}

// Start runs a command in a process group of its own and ends it with the test.
func Start(t *testing.T, env []string, name string, args ...string) *Program {
	t.Helper()
	p := &Program{Cmd: exec.Command(name, args...), End: make(chan struct{})}
	p.Cmd.Env = append(os.Environ(), env...)
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Out, &p.Out
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.Err = p.Cmd.Wait(); close(p.End) }()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(name), tail(p.Out.String(), 8000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return s
}

// Ended reports whether the program has ended.
func (p *Program) Ended() bool {
	select {
	case <-p.End:
		return true
	default:
		return false
	}
}

// Stop ends the program as an operator would, and kills it if that takes too
// long.
func (p *Program) Stop() {
	if p.Ended() {
		return
	}
	p.Cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(30*time.Second, func() { p.Cmd.Process.Kill() })
	<-p.End
	force.Stop()
}

// Kill ends the program at once, and waits for its end.
func (p *Program) Kill() {
	p.Cmd.Process.Kill()
	<-p.End
}

// Command is a command with variables added to its environment.
func Command(t *testing.T, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}
