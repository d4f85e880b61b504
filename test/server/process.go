package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Loopback is the address of servers that only this machine uses.
const Loopback = "127.0.0.1"

// Scratch is a folder with files of servers, and the servers.
type Scratch struct {
	Host                  string // the address that they listen on
	Webhook, WebhookToken string // where MinIO sends its notifications; "" means a relay

	dir     string
	ended   chan *Process // gets processes that have ended; buffered, since nobody may wait for it
	mu      sync.Mutex
	running []*Process
	closers []func() // close the servers that run inside this process
}

// Open makes the folder in a place that any user can reach, because MariaDB
// runs as a user of its own.
func (s *Scratch) Open() error {
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
	s.dir, s.ended = dir, make(chan *Process, 16)
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

// Dir is the folder.
func (s *Scratch) Dir() string { return s.dir }

// Ended gets processes that have ended.
func (s *Scratch) Ended() <-chan *Process { return s.ended }

// Close ends the servers, the last one first, and removes the folder. The
// servers' content is thrown away, so they get no chance to save it.
func (s *Scratch) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.running) - 1; i >= 0; i-- {
		s.running[i].Kill()
	}
	for _, c := range s.closers {
		c()
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, "servers: remove scratch folder:", err)
	}
}

// Folder makes a folder for somebody's files.
func (s *Scratch) Folder(name string) (string, error) {
	dir := filepath.Join(s.dir, name)
	return dir, os.Mkdir(dir, 0o755) //nolint:gosec // see Open
}

// lasting returns the command of a server. An interrupt does not end it before
// the programs that use it; Close does.
func lasting(ctx context.Context, path string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.WithoutCancel(ctx), path, args...)
}

// Process is a program in a process of its own. It can be started again after
// its end.
type Process struct {
	Name string
	Log  string // file of its output

	scratch *Scratch
	command func() (*exec.Cmd, error)
	env     []string
	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{} // closed once it has ended
}

// Run starts a program, whose output goes to NAME.log in the folder. Of this
// process's environment it gets only PATH.
func (s *Scratch) Run(ctx context.Context, name, path string, args []string, env ...string) (*Process, error) {
	return s.start(name, func() (*exec.Cmd, error) { return lasting(ctx, path, args...), nil }, env...)
}

// start runs what command returns in a process group of its own, so that an
// interrupt at the terminal does not end it before the programs that use it.
func (s *Scratch) start(name string, command func() (*exec.Cmd, error), env ...string) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(s.dir, name+".log"), scratch: s, command: command, env: env}
	if err := p.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, p)
	return p, nil
}

// Start starts the program again after its end.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd, err := p.command()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s := p.scratch
	cmd.Dir = s.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir}, p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	isolate(cmd.SysProcAttr)
	if err := start(cmd); err != nil {
		return err
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		_ = cmd.Wait()
		close(done)
		select {
		case s.ended <- p:
		default:
		}
	}()
	return nil
}

// starter runs functions on a thread that lives as long as this process:
// children die with the thread that started them, see isolate.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func start(cmd *exec.Cmd) (err error) {
	done := make(chan struct{})
	starter() <- func() {
		defer close(done)
		err = cmd.Start()
	}
	<-done
	return err
}

func (p *Process) current() (pid int, done <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid, p.done
}

// PID is the id of the process, and of its group.
func (p *Process) PID() int {
	pid, _ := p.current()
	return pid
}

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} {
	_, done := p.current()
	return done
}

// Kill ends the process and its group at once, and waits for its end.
func (p *Process) Kill() {
	pid, done := p.current()
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	<-done
}

// Signal sends a signal to the process and its group.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(-p.PID(), s) }

// Failure says what happened to the server, with the end of its log.
func (p *Process) Failure(what string) error {
	const tail = 4 << 10
	log, err := os.ReadFile(p.Log)
	if err != nil {
		log = []byte(err.Error())
	}
	return fmt.Errorf("%s %s; its log ends with:\n%s", p.Name, what, log[max(0, len(log)-tail):])
}

// Answers waits until ask succeeds, which asks the process something.
func (p *Process) Answers(ctx context.Context, ask func(context.Context) error) error {
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
		case <-p.Done():
			return p.Failure("ended at start")
		case <-late:
			return p.Failure(fmt.Sprintf("did not answer within %v: %v", patience, err))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Server is a server in a process of its own.
type Server struct {
	*Process
	Addr string   // host:port
	Dir  string   // its files
	Env  []string // what tests need to know about it, as NAME=value

	ask func(context.Context) error
}

// Restart starts the server again after its end, on the same address and files,
// and waits until it answers.
func (v *Server) Restart(ctx context.Context) error {
	if err := v.Start(); err != nil {
		return err
	}
	return v.Answers(ctx, v.ask)
}

// Command runs the command that the servers are for. Then it ends the command's
// process group.
func (s *Scratch) Command(ctx context.Context, args, env []string) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = isolate(&syscall.SysProcAttr{})
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := start(cmd); err != nil {
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
		return 0, p.Failure("ended while in use")
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
func (s *Scratch) port(ctx context.Context, usual string) (string, error) {
	if s.Host != Loopback {
		return usual, nil
	}
	addr, err := FreeAddr(ctx)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	return port, err
}
