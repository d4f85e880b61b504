// Package limit starts programs within limits on memory, CPU time and output.
//
// A process can only limit itself, so something must run between the start and
// the program. Here that is this program once more, under another name: the
// package's init sees the name, sets the limits and runs the program in its own
// place. Any program that imports the package can do so; no shell is needed.
package limit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Limits of one program. Those that a system does not have are left out: macOS
// has none on memory.
type Limits struct {
	Memory int64         // bytes of memory that it may write to; 0 for no limit
	CPU    time.Duration // whole seconds; a second later it is killed
	File   int64         // bytes of each file that it writes
}

// Exit statuses of a program that could not be started, as a shell has them. The
// system's loader also ends with NotFound, where a library is missing.
const (
	CannotRun = 126
	NotFound  = 127
)

// goDied is the exit status of a Go program that its runtime ends, for instance
// because it gets no thread or no memory.
const goDied = 2

// goSays begins what the runtime says then.
var goSays = regexp.MustCompile(`^(?:fatal error|panic|runtime|runtime/cgo|SIG[A-Z]+): `)

// Died reports whether a run ended before the program itself did anything: what
// sets the limits died, or could not start it. stderr is what the run printed.
func Died(status int, stderr string) bool {
	switch status {
	case CannotRun, NotFound:
		return true
	case goDied:
		return goSays.MatchString(stderr)
	}
	return false
}

const openFiles = 1024

// name is that of this program when it only sets limits.
const name = "tonearm-limit"

func init() {
	if len(os.Args) > 0 && os.Args[0] == name {
		err := become(os.Args[1:])
		fmt.Fprintln(os.Stderr, name+":", err)
		if errors.Is(err, os.ErrNotExist) {
			os.Exit(NotFound)
		}
		os.Exit(CannotRun)
	}
}

// Command returns the program with its arguments, to be started within limits.
// The path must have a slash.
func Command(ctx context.Context, l Limits, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, self())
	cmd.Args = append([]string{
		name, strconv.FormatInt(l.Memory, 10), strconv.FormatInt(int64(l.CPU/time.Second), 10), strconv.FormatInt(l.File, 10), path,
	}, args...)
	return cmd
}

// self is this program, also after its file has been replaced where the system
// can tell.
func self() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// become sets the limits and runs the program in this process. It returns only
// if that fails.
func become(args []string) error {
	if len(args) < 4 {
		return errors.New("limits and a program are missing")
	}
	var n [3]uint64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(args[i], 10, 63); err != nil {
			return err
		}
	}
	batch()
	path := args[3]
	set(syscall.RLIMIT_CORE, 0, 0)
	set(syscall.RLIMIT_NOFILE, openFiles, openFiles)
	set(syscall.RLIMIT_FSIZE, n[2], n[2])
	set(syscall.RLIMIT_CPU, n[1], n[1]+1) // at the first it is told, at the second killed
	return &os.PathError{Op: "run", Path: path, Err: execute(path, args[3:], n[0])}
}

// set lowers a limit as far as the system allows: not above one that is there
// already.
func set(what int, soft, hard uint64) {
	if l, ok := lowered(what, soft, hard); ok {
		_ = syscall.Setrlimit(what, &l)
	}
}

// lowered returns a limit that may be set; ok is false where there is none.
func lowered(what int, soft, hard uint64) (l syscall.Rlimit, ok bool) {
	if syscall.Getrlimit(what, &l) != nil {
		return l, false
	}
	return syscall.Rlimit{Cur: min(l.Cur, soft), Max: min(l.Max, hard)}, true
}
