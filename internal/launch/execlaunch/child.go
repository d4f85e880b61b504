package execlaunch

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"tonearm/internal/launch"
)

// maxLine is how many bytes of a line that a child prints are logged.
const maxLine = 4 << 10

// child is one attempt's process and what belongs to it.
type child struct {
	launch.Spec
	dir      string
	grace    time.Duration
	log      *slog.Logger
	cmd      *exec.Cmd
	began    time.Time
	lifeline *os.File // write end of its standard input, held open as long as it may live
	output   *os.File

	stopOnce sync.Once
	stopping chan struct{} // closed by stop
	gone     chan struct{} // closed by the launcher once no process of it lives
}

// start makes the directory and starts the process.
func start(o Options, s launch.Spec) (_ *child, err error) {
	c := &child{
		Spec:  s,
		dir:   filepath.Join(o.Dir, s.ConversionID+"-"+strconv.Itoa(s.Attempt)),
		grace: o.Grace,
		log:   o.Log.With("conversion_id", s.ConversionID, "attempt", s.Attempt),

		stopping: make(chan struct{}),
		gone:     make(chan struct{}),
	}
	lock, err := makeDir(c.dir, s.Launch)
	if err != nil {
		return nil, err
	}
	// From then on the child holds the lock through its own descriptor.
	defer lock.Close()
	defer func() {
		if err != nil {
			_ = os.RemoveAll(c.dir)
		}
	}()

	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	output, stdout, err := os.Pipe()
	if err != nil {
		lifeline.Close()
		return nil, err
	}
	defer stdout.Close()
	c.lifeline, c.output = lifeline, output

	token, err := pipeOf(s.Token)
	if err != nil {
		lifeline.Close()
		output.Close()
		return nil, err
	}
	defer token.Close()
	work := filepath.Join(c.dir, workName)
	c.cmd = exec.Command(o.Command[0], o.Command[1:]...) //nolint:noctx // it outlives the context of Start
	c.cmd.Dir = work
	c.cmd.Env = append(o.Env[:len(o.Env):len(o.Env)],
		"TONEARM_DISPATCHER_URL="+o.DispatcherURL,
		"TONEARM_CONVERSION_ID="+s.ConversionID,
		"TONEARM_LAUNCH_ID="+s.Launch,
		launch.TokenFileVariable+"=4",
		"TONEARM_WORK_DIR="+work,
		"TONEARM_LOCK_FD=3",
		"TONEARM_LIFELINE=1",
	)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, stdout, stdout
	c.cmd.ExtraFiles = []*os.File{lock, token}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		lifeline.Close()
		output.Close()
		return nil, err
	}
	c.began = time.Now()
	// If the launcher dies right here, it leaves a child whose group is not
	// recorded. The end of its standard input still ends it.
	if err := recordGroup(c.dir, c.cmd.Process.Pid); err != nil {
		c.kill(syscall.SIGKILL)
		_ = c.cmd.Wait()
		lifeline.Close()
		output.Close()
		return nil, err
	}
	return c, nil
}

// pipeOf returns a pipe that holds a text and its end. It has room for a token: a page
// at least.
func pipeOf(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.WriteString(text)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// stop makes follow end the child.
func (c *child) stop() { c.stopOnce.Do(func() { close(c.stopping) }) }

// kill signals the whole group.
func (c *child) kill(sig syscall.Signal) { _ = syscall.Kill(-c.cmd.Process.Pid, sig) }

// follow waits until the child has ended, or ends it after stop. It returns
// once no process of the group lives and the directory is gone.
func (c *child) follow() launch.End {
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		logLines(c.output, c.log)
	}()
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		_ = c.cmd.Wait() // its ProcessState says more
	}()

	var deadline <-chan time.Time
	if c.Deadline > 0 {
		t := time.NewTimer(c.Deadline)
		defer t.Stop()
		deadline = t.C
	}
	end := launch.End{AttemptRef: c.AttemptRef, Launch: c.Launch}
	select {
	case <-waited:
		end.Reason, end.ExitCode = launch.Exited, c.cmd.ProcessState.ExitCode()
		if end.ExitCode < 0 {
			end.Reason, end.ExitCode = launch.Killed, 0
		}
	case <-c.stopping:
		end.Reason = launch.Stopped
		c.terminate(waited)
	case <-deadline:
		end.Reason = launch.Deadline
		c.terminate(waited)
	}
	end.Detail = c.cmd.ProcessState.String()
	c.kill(syscall.SIGKILL) // processes that the child left behind

	ctx, cancel := context.WithTimeout(context.Background(), reapTime)
	defer cancel()
	if err := remove(ctx, c.dir); err != nil {
		c.log.Error("could not clean up after an attempt", "error", err)
	}
	_ = c.output.SetReadDeadline(time.Now().Add(time.Second)) // its writers are dead, so no line is lost
	<-logged
	c.output.Close()
	c.lifeline.Close()
	return end
}

// terminate sends SIGTERM, then SIGKILL, and returns when the child has been
// reaped.
func (c *child) terminate(waited <-chan struct{}) {
	c.kill(syscall.SIGTERM)
	t := time.NewTimer(c.grace)
	defer t.Stop()
	select {
	case <-waited:
	case <-t.C:
		c.kill(syscall.SIGKILL)
		<-waited
	}
}

// logLines logs what a child prints; the rest of an overlong line is dropped.
func logLines(f *os.File, log *slog.Logger) {
	r := bufio.NewReaderSize(f, maxLine)
	for {
		line, cut, err := r.ReadLine()
		if err != nil {
			return
		}
		text := string(line)
		if cut {
			text += " …"
		}
		for cut && err == nil {
			_, cut, err = r.ReadLine()
		}
		log.Info("transcoder output", "line", text)
	}
}
