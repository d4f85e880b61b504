package media

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/limit"
)

// FFmpeg runs ffmpeg. The zero value finds it and uses the default limits; it
// may be used by several goroutines.
type FFmpeg struct {
	Path        string     // path or name; if empty, see Find
	GPUPath     string     // of the one that decodes pictures on a GPU; Path where empty
	MemoryLimit int64      // bytes; 1 GiB where 0; not enforced on macOS
	ExtraFiles  []*os.File // inherited by ffmpeg from descriptor 3 on
	Source      Growing    // the source of Probe and Encode while its file grows; nil if it is complete
}

const (
	defaultMemory = 1 << 30
	probeTimeout  = 2 * time.Minute
	stderrHead    = 256 << 10
	stderrTail    = 16 << 10
)

// Find returns the path of the program to run: Path, or the ffmpeg that lies
// beside this program, or else the one in $PATH.
func (ff FFmpeg) Find() (string, error) {
	path := ff.Path
	if self, err := os.Executable(); path == "" && err == nil {
		path, _ = exec.LookPath(filepath.Join(filepath.Dir(self), "ffmpeg"))
	}
	path, err := exec.LookPath(cmp.Or(path, "ffmpeg"))
	if err != nil {
		return "", fmt.Errorf("find ffmpeg: %w", err)
	}
	return filepath.Abs(path)
}

// command is one run of ffmpeg.
type command struct {
	path     string   // the source; if stdin is set, any file in the working folder
	stdin    *os.File // the source where not nil
	mayPipe  bool     // the source may come through a pipe while it grows
	input    []string // options of the source, such as where to begin
	args     []string // between the source and the end
	formats  string   // that may be tried; those of formats.go where ''
	decoders string   // that may be opened; those of audio where ''
	gpu      bool     // no limit on memory, because CUDA maps far more than it uses
	stdout   io.Writer
	timeout  time.Duration // of wall clock and of CPU time
	maxBytes int64         // of a file that it writes
	// described is called with ffmpeg's output once ffmpeg has described the
	// source; may be nil. It is not called if ffmpeg does not get that far.
	described func(stderr string)
}

// outcome is how a run of ffmpeg ended. err is nil if it ended with success.
type outcome struct {
	stderr string // beginning and end of its output
	err    *exec.ExitError
}

// run runs ffmpeg on one local file or pipe. The error says that ffmpeg could not be
// run to its end; a failure of ffmpeg itself is in the outcome.
func (ff FFmpeg) run(ctx context.Context, c command) (outcome, error) {
	if ff.Source == nil || c.stdin != nil || c.path != ff.Source.Path() {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		return ff.start(ctx, c)
	}
	if !c.mayPipe {
		if err := ff.Source.Whole(ctx); err != nil {
			return outcome{}, fmt.Errorf("read the source: %w", err)
		}
		ff.Source = nil
		return ff.run(ctx, c)
	}
	f, err := newFeed(ff.Source.Follow()) // however long the source takes
	if err != nil {
		return outcome{}, err
	}
	c.stdin = f.pipe
	o, err := ff.start(ctx, c)
	if failed := f.close(); failed != nil && ctx.Err() == nil {
		return o, fmt.Errorf("read the source: %w", failed)
	}
	return o, err
}

// start starts ffmpeg and waits for its end.
func (ff FFmpeg) start(ctx context.Context, c command) (outcome, error) {
	path, err := filepath.Abs(c.path)
	if err != nil {
		return outcome{}, fmt.Errorf("source path: %w", err)
	}
	limits := limit.Limits{Memory: cmp.Or(max(0, ff.MemoryLimit), defaultMemory), CPU: c.timeout + time.Second, File: c.maxBytes}
	if c.gpu {
		limits.Memory = 0
		ff.Path = cmp.Or(ff.GPUPath, ff.Path)
	}
	ffmpeg, err := ff.Find()
	if err != nil {
		return outcome{}, err
	}
	source, protocol := "file:"+path, "file"
	if c.stdin != nil {
		source, protocol = "pipe:0", "pipe"
	}
	whitelist := cmp.Or(c.decoders, decoderWhitelist())
	args := []string{"-nostdin", "-nostats", "-v", "info"}
	args = append(args, sameInstructions()...)
	args = append(args,
		"-threads", "1",
		"-probesize", "32M", "-analyzeduration", "30M", // audio may start late in a transport stream
		"-protocol_whitelist", protocol,
		"-format_whitelist", cmp.Or(c.formats, formatWhitelist()),
		"-codec_whitelist", whitelist)
	args = append(args, c.input...)
	args = append(args, "-i", source)
	var stderr headTail
	cmd := limit.Command(ctx, limits, ffmpeg, append(args, c.args...)...)
	cmd.Dir = filepath.Dir(path)
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = c.stdout, &stderr
	if c.described != nil {
		cmd.Stderr = &dumpWatch{stderr: &stderr, described: c.described}
	}
	if c.stdin != nil {
		cmd.Stdin = c.stdin
	}
	cmd.ExtraFiles = ff.ExtraFiles
	cmd.SysProcAttr = procAttr()
	cmd.WaitDelay = 5 * time.Second
	runtime.LockOSThread() // the child ends with the thread that started it
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	o := outcome{stderr: strings.ReplaceAll(stderr.String(), " '"+whitelist+"'", "")}
	if ctx.Err() != nil {
		return o, fmt.Errorf("ffmpeg stopped: %w", context.Cause(ctx))
	}
	if errors.As(err, &o.err) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("run ffmpeg: %w", err)
	}
	return o, nil
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

// failure says what a failure of ffmpeg means if that does not depend on its
// task: a limit, or something that may pass. It returns nil if only the caller
// can tell.
func (o outcome) failure() error {
	if o.err == nil {
		return nil
	}
	status, _ := o.err.Sys().(syscall.WaitStatus)
	said := func(s string) bool { return strings.Contains(o.stderr, s) }
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGXCPU, said(stoppedByCPU):
		return refuse(conversion.CodeLimitExceeded, "The file needs more computing time than it may use.").because(o.tail())
	case status.Signaled() && status.Signal() == syscall.SIGXFSZ, said("File too large"):
		return refuse(conversion.CodeLimitExceeded, "The MP3 would be larger than the limit.").because(o.tail())
	case status.Signaled():
		return fmt.Errorf("ffmpeg died of %v: %s", status.Signal(), o.tail())
	case status.ExitStatus() == limit.CannotRun, status.ExitStatus() == limit.NotFound, said("No space left on device"): // not executable, not loadable
		return fmt.Errorf("ffmpeg failed with exit status %d: %s", status.ExitStatus(), o.tail())
	case said("Cannot allocate memory"), said("pthread_create() failed"):
		return refuse(conversion.CodeLimitExceeded, "The file needs more memory than it may use.").because(o.tail())
	}
	return nil
}

// tail is the end of what ffmpeg said.
func (o outcome) tail() string {
	s := strings.TrimSpace(o.stderr)
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

// dumpWatch waits for the end of ffmpeg's description of its source.
type dumpWatch struct {
	stderr    *headTail
	described func(stderr string) // nil once called
}

func (w *dumpWatch) Write(p []byte) (int, error) {
	n, err := w.stderr.Write(p)
	if w.described != nil && reDescribed.Match(w.stderr.head) {
		w.described(string(w.stderr.head))
		w.described = nil
	}
	return n, err
}

// reDescribed matches what ffmpeg prints after the description.
var reDescribed = regexp.MustCompile(`(?m)^(?:Output #0|Stream mapping:)`)

// headTail keeps the beginning and the end of what is written to it.
type headTail struct {
	head, tail []byte
	cut        bool
}

func (b *headTail) Write(p []byte) (int, error) {
	n := len(p)
	k := min(len(p), stderrHead-len(b.head))
	b.head = append(b.head, p[:k]...)
	b.tail = append(b.tail, p[k:]...)
	if over := len(b.tail) - stderrTail; over > 0 {
		b.tail = append(b.tail[:0], b.tail[over:]...)
		b.cut = true
	}
	return n, nil
}

func (b *headTail) String() string {
	if b.cut {
		return string(b.head) + "\n…\n" + string(b.tail)
	}
	return string(b.head) + string(b.tail)
}
