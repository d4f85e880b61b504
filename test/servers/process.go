package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const loopback = "127.0.0.1"

// scratch is the folder with the servers' files, and the servers.
type scratch struct {
	host                  string // the address that they listen on
	webhook, webhookToken string // where MinIO sends its notifications; "" means the relay

	dir     string
	running []*process
	ended   chan *process // gets each process that has ended; buffered, since nobody may wait for it
	closers []func()      // close the servers that run inside this process
}

// open makes the folder in a place that any user can reach, because MariaDB
// runs as a user of its own.
func (s *scratch) open() error {
	parent := os.TempDir()
	if os.Getuid() == 0 && !reachable(parent) {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "tonearm-servers-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		return err
	}
	s.dir, s.ended = dir, make(chan *process, 16)
	return nil
}

func reachable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// close ends the servers, the last one first, and removes the folder. The
// servers' content is thrown away, so they get no chance to save it.
func (s *scratch) close() {
	for i := len(s.running) - 1; i >= 0; i-- {
		p := s.running[i]
		p.kill()
		<-p.done
	}
	for _, c := range s.closers {
		c()
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, "servers: remove scratch folder:", err)
	}
}

// folder makes a folder for a server's files.
func (s *scratch) folder(name string) (string, error) {
	dir := filepath.Join(s.dir, name)
	return dir, os.Mkdir(dir, 0o755) //nolint:gosec // see open
}

// lasting returns the command of a server. An interrupt does not end it before
// the programs that use it; close does.
func lasting(ctx context.Context, path string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.WithoutCancel(ctx), path, args...)
}

// process is a server in a process of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed once it has ended
}

// start runs a server in a process group of its own, so that an interrupt at
// the terminal does not end it before the command. Of this process's
// environment it gets only PATH.
func (s *scratch) start(name string, cmd *exec.Cmd, env ...string) (*process, error) {
	p := &process{name: name, cmd: cmd, log: filepath.Join(s.dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Dir = s.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir}, env...)
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Stderr = log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	isolate(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.running = append(s.running, p)
	go func() {
		_ = cmd.Wait()
		close(p.done)
		s.ended <- p
	}()
	return p, nil
}

func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// failure says what happened to the server, with the end of its log.
func (p *process) failure(what string) error {
	const tail = 4 << 10
	log, err := os.ReadFile(p.log)
	if err != nil {
		log = []byte(err.Error())
	}
	return fmt.Errorf("%s %s; its log ends with:\n%s", p.name, what, log[max(0, len(log)-tail):])
}

// answers waits until the server answers.
func (p *process) answers(ctx context.Context, ask func(context.Context) error) error {
	const patience = time.Minute
	late := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := ask(one)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.failure("ended at start")
		case <-late:
			return p.failure(fmt.Sprintf("did not answer within %v: %v", patience, err))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// command runs the command that the servers are for. Then it ends the command's
// process group.
func (s *scratch) command(ctx context.Context, args, env []string) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = isolate(&syscall.SysProcAttr{})
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	result := make(chan error, 1)
	go func() { result <- cmd.Wait() }()
	var err error
	select {
	case err = <-result:
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // processes that it left running
	case p := <-s.ended:
		cancel()
		<-result //nolint:errcheck // it was ended
		return 0, p.failure("ended while in use")
	}
	exit := (*exec.ExitError)(nil)
	switch {
	case ctx.Err() != nil:
		return 0, errors.New("interrupted")
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case err != nil:
		return 0, fmt.Errorf("%s: %w", args[0], err)
	}
	return 0, nil
}

// program finds an installed program, also in folders that only root's PATH
// has.
func program(name, debian, homebrew string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/opt/homebrew/bin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	if err != nil {
		return "", fmt.Errorf("%s is not installed; it is in the package %s of Debian and Ubuntu, %s of Homebrew",
			name, debian, homebrew)
	}
	return path, nil
}

// port returns the port for a server to listen on. On loopback it is one that
// is free now, elsewhere the usual one, because others must know it.
func (s *scratch) port(ctx context.Context, usual string) (string, error) {
	if s.host != loopback {
		return usual, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
