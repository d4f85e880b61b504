package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"tonearm/bench/link"
)

// servers are real servers, started in the same way as for tests.
type servers struct {
	cmd *exec.Cmd
	env map[string]string // their addresses, under the names that tests use
}

// startServers starts some of them in a network, and returns once they answer.
// Whatever must be built for them is built outside, where the internet can be
// reached.
func startServers(ctx context.Context, network *link.Namespace, scratch, only string, args ...string) (*servers, error) {
	program := filepath.Join(scratch, "servers")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./test/servers").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the servers (run this in the repository's root): %w: %s", err, out)
	}
	if network != nil {
		if out, err := exec.CommandContext(ctx, program, "-only", only, "--", "true").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w: %s", only, err, out)
		}
	}
	s := &servers{cmd: exec.CommandContext(context.WithoutCancel(ctx), program, append([]string{"-only", only}, args...)...), env: map[string]string{}}
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that an interrupt reaches only this process
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := network.Do(s.cmd.Start); err != nil { // it stops itself when the thread that started it ends
		return nil, fmt.Errorf("start the servers: %w", err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() { // the output ends once all of them answer
		name, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "export TONEARM_TEST_"), "=")
		s.env[name] = strings.Trim(value, "'")
	}
	if len(s.env) == 0 {
		return nil, errors.Join(fmt.Errorf("%s did not start", only), s.close())
	}
	return s, nil
}

func (s *servers) close() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return nil
}
