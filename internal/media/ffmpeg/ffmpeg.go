// Package ffmpeg runs ffmpeg on one source, within limits and with nothing open to
// it but that source.
package ffmpeg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg/cage"
	"tonearm/internal/media/unfit"
)

// Program is an ffmpeg and the limits of its runs. The zero value finds it and has
// the default limits; it may be used by several goroutines.
type Program struct {
	Path        string // path or name; if empty, see Find
	GPUPath     string // of the one that decodes pictures on a GPU; Path where empty
	MemoryLimit int64  // bytes; 1 GiB where 0; not enforced on macOS
	// Look is how much CPU time ffmpeg may use until it has described the source; 20 s
	// where 0; enforced on Linux alone. Some of its readers of tags and chapters take
	// time that grows with the square of their number.
	Look       time.Duration
	ExtraFiles []*os.File // inherited by ffmpeg from descriptor 3 on

	without []cage.Measure // that tests leave out
}

const (
	defaultMemory = 1 << 30
	defaultLook   = 20 * time.Second
)

// ErrCannotRun means that ffmpeg is missing or cannot be started on this machine.
// It says nothing about the source.
var ErrCannotRun = errors.New("ffmpeg cannot be run")

// ErrNoSpace means that ffmpeg speaks of a full disk. Its output also holds texts
// of the source, so look at the disk too.
var ErrNoSpace = errors.New("ffmpeg says that the disk is full")

// Find returns the path of the program to run: Path, or the ffmpeg that lies
// beside this program, or else the one in $PATH.
func (p Program) Find() (string, error) {
	path := p.Path
	if self, err := os.Executable(); path == "" && err == nil {
		path, _ = exec.LookPath(filepath.Join(filepath.Dir(self), "ffmpeg"))
	}
	path, err := exec.LookPath(cmp.Or(path, "ffmpeg"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCannotRun, err)
	}
	return filepath.Abs(path)
}

// Confined says what confines its runs on this machine.
func (p Program) Confined(ctx context.Context) ([]cage.Taken, error) {
	path, err := p.Find()
	if err != nil {
		return nil, err
	}
	return cage.Look(ctx, path, false)
}

// Command is one run of ffmpeg.
type Command struct {
	Input    Input
	Dir      string   // where it runs; that of the input's file where ''
	Before   []string // options of the input, such as where to begin
	Args     []string // between the input and the end; see Target for files that it writes
	Formats  string   // that may be tried, with commas between; all that Tonearm accepts where ''
	Decoders string   // that may be opened, likewise; those of audio where ''
	GPU      bool     // a wider cage, with no limit on memory, because CUDA maps far more than it uses
	Stdout   io.Writer
	Stderr   io.Writer // gets what ffmpeg says as soon as it says it; may be nil
	// Timeout is of CPU time, and of wall clock if the input is a file.
	Timeout  time.Duration
	MaxBytes int64 // of a file that it writes
	// Described is called with ffmpeg's output once ffmpeg has described the
	// source; may be nil. It is not called if ffmpeg does not get that far.
	Described func(stderr string)
}

// Outcome is how a run of ffmpeg ended. Err is nil if it ended with success.
type Outcome struct {
	Stderr string // beginning and end of its output, without the source's own texts
	Err    *exec.ExitError
}

// Run runs ffmpeg. The error says that ffmpeg could not be started (ErrCannotRun)
// or run to its end, or that the input could not be read; a failure of ffmpeg
// itself is in the Outcome.
func (p Program) Run(ctx context.Context, c Command) (Outcome, error) {
	if c.Input.stream == nil {
		if c.Input.path != "" {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.Timeout)
			defer cancel()
		}
		return p.start(ctx, c, c.Input.file)
	}
	f, err := newFeed(c.Input.stream) // however long the source takes
	if err != nil {
		return Outcome{}, err
	}
	o, err := p.start(ctx, c, f.pipe)
	if failed := f.close(); failed != nil && ctx.Err() == nil {
		return o, fmt.Errorf("read the source: %w", failed)
	}
	return o, err
}

// start starts ffmpeg and waits for its end. stdin is the source if it is not nil.
func (p Program) start(ctx context.Context, c Command, stdin *os.File) (Outcome, error) {
	confined := cage.Cage{Memory: cmp.Or(max(0, p.MemoryLimit), defaultMemory), CPU: c.Timeout + time.Second, File: c.MaxBytes, Without: p.without}
	if c.GPU {
		confined.Memory, confined.GPU = 0, true
		p.Path = cmp.Or(p.GPUPath, p.Path)
	}
	ffmpeg, err := p.Find()
	if err != nil {
		return Outcome{}, err
	}
	handed := handed{files: slices.Clone(p.ExtraFiles)}
	defer handed.close()
	args, err := p.arguments(&c, &handed, stdin != nil)
	if err != nil {
		return Outcome{}, err
	}
	confined.ReadOnly, confined.Writable = handed.readOnly, handed.writable
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	described := make(chan struct{})
	stderr := said{described: func(text string) {
		close(described)
		if c.Described != nil {
			c.Described(text)
		}
	}}
	cmd, err := confined.Command(ctx, handed.files, ffmpeg, args...)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrCannotRun, err)
	}
	cmd.Dir = c.Dir
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = c.Stdout, &stderr
	if c.Stderr != nil {
		cmd.Stderr = io.MultiWriter(cmd.Stderr, c.Stderr)
	}
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.WaitDelay = 5 * time.Second
	runtime.LockOSThread() // the child ends with the thread that started it
	defer runtime.UnlockOSThread()
	if err = cmd.Start(); err == nil {
		ended := make(chan struct{})
		go watch(cmd.Process.Pid, cmp.Or(p.Look, defaultLook), described, ended, stop)
		err = cmd.Wait()
		close(ended)
	}
	o := Outcome{Stderr: strings.ReplaceAll(stderr.String(), " '"+c.Decoders+"'", "")}
	if ctx.Err() != nil {
		return o, fmt.Errorf("ffmpeg stopped: %w", context.Cause(ctx))
	}
	if errors.As(err, &o.Err) {
		if cage.Died(o.Err.ExitCode(), o.Stderr) {
			return o, fmt.Errorf("%w: exit status %d: %s", ErrCannotRun, o.Err.ExitCode(), o.Tail())
		}
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("run ffmpeg: %w", err)
	}
	return o, nil
}

// arguments are those of a run. It completes c, and hands over the files.
func (p Program) arguments(c *Command, h *handed, piped bool) ([]string, error) {
	c.Formats, c.Decoders = cmp.Or(c.Formats, formatWhitelist()), cmp.Or(c.Decoders, decoderWhitelist())
	source, protocol := "pipe:0", "pipe"
	if !piped {
		path, err := filepath.Abs(c.Input.path)
		if err != nil {
			return nil, fmt.Errorf("source path: %w", err)
		}
		c.Dir, protocol = cmp.Or(c.Dir, filepath.Dir(path)), "file"
		if path, err = h.read(path); err != nil {
			return nil, fmt.Errorf("open the source: %w", err)
		}
		source = filePrefix + path
	}
	args := []string{"-nostdin", "-nostats", "-v", "repeat+info", "-y"} // every message as often as it comes
	args = append(args, sameInstructions()...)
	args = append(args,
		"-threads", "1",
		"-probesize", "32M", "-analyzeduration", "30M", // audio may start late in a transport stream
		"-protocol_whitelist", protocol,
		"-format_whitelist", c.Formats,
		"-codec_whitelist", c.Decoders)
	args = append(args, c.Before...)
	args = append(args, "-i", source)
	for _, a := range c.Args {
		if path, ok := strings.CutPrefix(a, filePrefix); ok {
			path, err := h.write(path)
			if err != nil {
				return nil, fmt.Errorf("make a file for ffmpeg: %w", err)
			}
			a = filePrefix + path
		}
		args = append(args, a)
	}
	return args, nil
}

// watch ends a process that uses more CPU time before it has described the source.
func watch(pid int, look time.Duration, described, ended <-chan struct{}, stop context.CancelCauseFunc) {
	tick := time.NewTicker(min(look, 500*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-described:
			return
		case <-ended:
			return
		case <-tick.C:
			if cpuTime(pid) > look {
				stop(unfit.New(conversion.CodeLimitExceeded, "The file's index, tags or chapters need more computing time than they may use."))
				return
			}
		}
	}
}

// sameInstructions restrict ffmpeg to what every processor of the architecture
// has. With fused multiplications, for instance, its decoders round
// differently, and the MP3 would depend on the machine.
func sameInstructions() []string {
	if runtime.GOARCH == "amd64" {
		return []string{"-cpuflags", "sse2"}
	}
	return nil
}

// stoppedByCPU is what ffmpeg says when it has used up its CPU time.
var stoppedByCPU = fmt.Sprintf("received signal %d.", syscall.SIGXCPU)

// Failure says what a failure of ffmpeg means if that does not depend on its
// task: a limit, which is an *unfit.Error, or something that may pass. It returns
// nil if only the caller can tell.
func (o Outcome) Failure() error {
	if o.Err == nil {
		return nil
	}
	status, _ := o.Err.Sys().(syscall.WaitStatus)
	has := func(s string) bool { return strings.Contains(o.Stderr, s) }
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGXCPU, has(stoppedByCPU):
		return unfit.New(conversion.CodeLimitExceeded, "The file needs more computing time than it may use.").Because(o.Tail())
	case status.Signaled() && status.Signal() == syscall.SIGXFSZ, has("File too large"):
		return unfit.New(conversion.CodeLimitExceeded, "The MP3 would be larger than the limit.").Because(o.Tail())
	case status.Signaled():
		return fmt.Errorf("ffmpeg died of %v: %s", status.Signal(), o.Tail())
	case has("No space left on device"):
		return fmt.Errorf("%w: exit status %d: %s", ErrNoSpace, status.ExitStatus(), o.Tail())
	case has("Cannot allocate memory"), has("pthread_create() failed"):
		return unfit.New(conversion.CodeLimitExceeded, "The file needs more memory than it may use.").Because(o.Tail())
	}
	return nil
}

// Tail is the end of what ffmpeg said.
func (o Outcome) Tail() string {
	s := strings.TrimSpace(o.Stderr)
	if len(s) > 2000 {
		s = s[len(s)-2000:]
	}
	return s
}

// environment is everything that ffmpeg gets of our environment: no token, no
// FFREPORT.
func environment() []string {
	env := []string{"LC_ALL=C", "AV_LOG_FORCE_NOCOLOR=1", "MALLOC_ARENA_MAX=2"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}
