// Package execlaunch runs attempts as child processes on this machine.
//
// # What a child gets
//
// Each attempt runs in a process group and a private working directory of its
// own. Its environment holds [Options.Env] and
//
//	TONEARM_DISPATCHER_URL   where to claim and report
//	TONEARM_CONVERSION_ID
//	TONEARM_LAUNCH_ID        to name in the claim
//	TONEARM_ATTEMPT_TOKEN_FD=4  a pipe that holds the attempt's token and its end
//	TONEARM_WORK_DIR         empty, mode 0700, removed when the attempt ends; also the working directory
//	TONEARM_LOCK_FD=3        a descriptor to keep open and to pass on to every process it starts
//	TONEARM_LIFELINE=1       standard input is a pipe; its end means that the launcher is gone
//
// A child must end when its standard input does, and must keep its own children
// in its process group.
//
// # How nothing is left behind
//
// Descriptor 3 holds an flock on a file in the attempt's directory. The lock is
// free exactly when no process of the attempt lives any more. Stop waits for
// that. New uses it to find what an earlier life of the launcher left running:
// if a lock is still held, New kills the process group that is recorded beside
// it, and then removes the directory. Watch reports the ends of such attempts:
// nobody has to wait until their leases end.
//
// A second launcher must not take the first one's attempts for leftovers. So a
// launcher holds a lock on the whole directory, and New returns [ErrInUse] while
// another process does.
package execlaunch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// Options of a Launcher.
type Options struct {
	// Command is the argument vector of the transcoder. Required.
	Command []string
	// Env is the environment that a child gets besides its assignment, as
	// KEY=value. nil passes on PATH and HOME.
	Env []string
	// Dir holds a directory for each attempt. Only one launcher at a time can
	// use it: New ends every attempt it finds there. Required; made if missing.
	Dir string
	// DispatcherURL is passed to the children. Required.
	DispatcherURL string
	// MaxRunning is the most attempts that run at once; beyond it Start returns
	// ErrBusy. 0 means no limit.
	MaxRunning int
	// Grace is how long a child has between SIGTERM and SIGKILL; default 3 s.
	Grace time.Duration
	// Log gets the lines that the children print, one record each. Required.
	Log *slog.Logger
}

// defaultGrace is the time between SIGTERM and SIGKILL.
const defaultGrace = 3 * time.Second

func (o Options) withDefaults() Options {
	o.Grace = cmp.Or(o.Grace, defaultGrace)
	if o.Env == nil {
		o.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	}
	return o
}

func (o Options) validate() error {
	switch {
	case len(o.Command) == 0:
		return errors.New("a command is required")
	case o.Dir == "":
		return errors.New("a directory is required")
	case o.DispatcherURL == "":
		return errors.New("the dispatcher's URL is required")
	case o.Log == nil:
		return errors.New("a logger is required")
	case o.MaxRunning < 0 || o.Grace < 0:
		return errors.New("MaxRunning and Grace must not be negative")
	}
	return nil
}

// reapTime bounds the wait for processes that were sent SIGKILL.
const reapTime = 20 * time.Second

// ErrInUse means that the launcher of another process uses Options.Dir.
var ErrInUse = errors.New("another dispatcher uses it")

var errClosed = errors.New("execlaunch: closed")

// Launcher runs attempts as child processes. It is safe for concurrent use.
type Launcher struct {
	o    Options
	lock *os.File      // of o.Dir, held until Close
	wake chan struct{} // holds a token while ends may be waiting
	done chan struct{} // closed once Close has ended everything
	wg   sync.WaitGroup

	mu       sync.Mutex
	attempts map[conversion.AttemptRef]*child // until Stop forgets them
	running  int
	ends     []launch.End // not taken by a watcher yet
	closed   bool
}

var _ launch.Launcher = (*Launcher)(nil)

// New ends what an earlier life left running in o.Dir, and returns a launcher.
func New(o Options) (*Launcher, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("execlaunch: %w", err)
	}
	path, err := exec.LookPath(o.Command[0])
	if err != nil {
		return nil, fmt.Errorf("execlaunch: find the transcoder: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil { // children start in another directory
		return nil, fmt.Errorf("execlaunch: find the transcoder: %w", err)
	}
	o.Command = append([]string{path}, o.Command[1:]...)
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("execlaunch: %w", err)
	}
	lock, err := lockRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("execlaunch: use %s: %w", o.Dir, err)
	}
	ends, err := recoverDir(o.Dir)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("execlaunch: recover %s: %w", o.Dir, err)
	}
	return &Launcher{
		o:        o,
		lock:     lock,
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		attempts: map[conversion.AttemptRef]*child{},
		ends:     ends,
	}, nil
}

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

// Start runs the attempt. An attempt that runs, or that has ended and was not
// stopped yet, is left alone.
func (l *Launcher) Start(ctx context.Context, s launch.Spec) error {
	if !validID.MatchString(s.ConversionID) || s.Attempt < 1 {
		return fmt.Errorf("execlaunch: start %q: not a name for an attempt", s.AttemptRef)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("execlaunch: start %s: %w", s.AttemptRef, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errClosed
	case l.attempts[s.AttemptRef] != nil:
		return nil
	case l.o.MaxRunning > 0 && l.running >= l.o.MaxRunning:
		return launch.ErrBusy
	}
	c, err := start(l.o, s)
	if err != nil && unwell(err) {
		err = fmt.Errorf("%w: %w", launch.ErrUnwell, err)
	}
	if err != nil {
		return fmt.Errorf("execlaunch: start %s: %w", s.AttemptRef, err)
	}
	l.attempts[s.AttemptRef] = c
	l.running++
	l.wg.Go(func() {
		end := c.follow()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running--
		l.ends = append(l.ends, end)
		select {
		case l.wake <- struct{}{}:
		default:
		}
		close(c.gone)
	})
	return nil
}

// unwell reports whether an error of start is the machine's own and would meet
// every attempt.
func unwell(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.ENOMEM, syscall.EAGAIN,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC, syscall.ETXTBSY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Stop ends the attempt and all processes it started.
func (l *Launcher) Stop(ctx context.Context, r conversion.AttemptRef) error {
	l.mu.Lock()
	c := l.attempts[r]
	l.mu.Unlock()
	if c == nil {
		return nil
	}
	c.stop()
	select {
	case <-c.gone:
	case <-ctx.Done():
		return fmt.Errorf("execlaunch: stop %s: %w", r, ctx.Err())
	}
	if err := remove(ctx, c.dir); err != nil { // where follow could not
		return fmt.Errorf("execlaunch: stop %s: %w", r, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attempts[r] == c {
		delete(l.attempts, r)
	}
	return nil
}

// Running lists the attempts that have not ended.
func (l *Launcher) Running(context.Context) ([]launch.Attempt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	running := []launch.Attempt{}
	for r, c := range l.attempts {
		select {
		case <-c.gone:
		default:
			running = append(running, launch.Attempt{AttemptRef: r, Class: c.Class, Launch: c.Launch, Since: c.began})
		}
	}
	return running, nil
}

// Watch calls ended once for every attempt that has ended since New, unless
// another Watch was called with it before. It is meant for one caller at a
// time.
func (l *Launcher) Watch(ctx context.Context, ended func(launch.End)) error {
	for {
		l.mu.Lock()
		ends := l.ends
		l.ends = nil
		l.mu.Unlock()
		for i, e := range ends {
			if err := ctx.Err(); err != nil {
				l.mu.Lock()
				l.ends = append(ends[i:], l.ends...)
				l.mu.Unlock()
				return err
			}
			ended(e)
		}
		if len(ends) > 0 {
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.done:
			return errClosed
		}
	}
}

// Close ends all attempts and waits until they are gone.
func (l *Launcher) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	for _, c := range l.attempts {
		c.stop()
	}
	l.mu.Unlock()
	l.wg.Wait()
	if first {
		close(l.done)
		return l.lock.Close()
	}
	return nil
}
