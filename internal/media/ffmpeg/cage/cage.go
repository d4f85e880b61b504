// Package cage starts programs that read what somebody else made, so that they can
// do little harm if they are taken over: within limits on memory, CPU time, threads,
// open files and output, and on Linux as another user, without capabilities, without
// a network, with the system calls and the files that they need and no others.
//
// A process can only confine itself, so something must run between the start and
// the program. Here that is this program once more, under another name: the
// package's init sees the name, takes the measures and runs the program in its own
// place. Any program that imports the package can do so; no shell is needed.
//
// Each measure stands for itself. What the kernel or a container refuses is left
// out, and the others hold; [Look] says what a cage has on this machine, and why not
// more. docs/security.md has the table of what stops what.
package cage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Cage is what a program may do. The zero value has no limits on memory, CPU time
// and output, and no room for output.
type Cage struct {
	Memory int64         // bytes of memory that it may write to; 0 for no limit
	CPU    time.Duration // whole seconds; a second later it is killed
	File   int64         // bytes of each file that it writes
	// GPU makes room for CUDA: its devices, more system calls, any number of threads.
	GPU bool
	// ReadOnly and Writable are numbers of descriptors of files that it may open again as
	// /proc/self/fd/N. It may read the ones and write the others, where it has other files
	// to itself; see [Measure]. Both must be among those that it inherits.
	ReadOnly, Writable []int
	// Without names measures to leave out. It is for tests, which show so what each of
	// them stops.
	Without []Measure
}

// Measure is the name of one measure.
type Measure string

// The measures, in the order in which they are taken. Those behind Limits exist on
// Linux alone.
const (
	Limits       Measure = "limits"            // on CPU time, output, open files, and memory
	Threads      Measure = "threads"           // at most so many; only with OtherUser or with a user namespace
	Descriptors  Measure = "descriptors"       // it inherits those that it is meant to
	Network      Measure = "network"           // a namespace without any interface
	Files        Measure = "files"             // Landlock: it may open what it needs
	OtherUser    Measure = "other user"        // one that nobody else has
	Capabilities Measure = "no capabilities"   // nor any later
	NoNew        Measure = "no new privileges" // by programs that have some
	SystemCalls  Measure = "system calls"      // seccomp: those that it needs
)

// Measures are all of them, in their order.
var Measures = []Measure{Limits, Threads, Descriptors, Network, Files, OtherUser, Capabilities, NoNew, SystemCalls}

// Taken is whether a measure holds.
type Taken struct {
	Measure Measure `json:"measure"`
	Refused string  `json:"refused,omitempty"` // why it does not hold; '' if it does
}

// LeftOut is why a measure of [Cage.Without] does not hold.
const LeftOut = "left out"

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
// takes the measures died, or could not start it. stderr is what the run printed.
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

// name is that of this program when it only takes the measures.
const name = "tonearm-cage"

// order is what it is asked to do.
type order struct {
	Cage
	Program
	Path   string
	Group  int    // that may open the files; 0 for the one that it has
	Users  int    // the first of a range of users that nobody has; 0 for the one that it has
	Span   int    // users in that range
	Kept   int    // descriptors that the program inherits
	Parent int    // the process that starts it
	Alone  string // why there are no such users
	Apart  bool   // it is in namespaces of its own already
	Ask    bool   // only say what holds
}

// without reports whether a measure is left out.
func (o *order) without(m Measure) bool { return slices.Contains(o.Without, m) }

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

// Command returns the program with its arguments, to be started in the cage. The path
// must be absolute. kept are the files that it inherits from descriptor 3 on. Nothing
// but Dir, Env and the three streams may be set afterwards.
func (c Cage) Command(ctx context.Context, kept []*os.File, path string, args ...string) (*exec.Cmd, error) {
	o := order{Cage: c, Path: path, Kept: 3 + len(kept), Parent: os.Getpid()}
	var err error
	if o.Program, err = inspect(path); err != nil {
		return nil, err
	}
	return o.command(ctx, kept, args)
}

func (o *order) command(ctx context.Context, kept []*os.File, args []string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, self())
	cmd.ExtraFiles = kept
	cmd.SysProcAttr = o.attributes()
	if err := o.share(kept); err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd.Args = append([]string{name, string(text), o.Path}, args...)
	return cmd, nil
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

// become takes the measures and runs the program in this process. It returns only
// if that fails.
func become(args []string) error {
	if len(args) < 2 {
		return errors.New("an order and a program are missing")
	}
	var o order
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return err
	}
	if !o.without(Limits) {
		set(syscall.RLIMIT_CORE, 0, 0)
		set(syscall.RLIMIT_NOFILE, openFiles, openFiles)
		set(syscall.RLIMIT_FSIZE, uint64(o.File), uint64(o.File))
		cpu := uint64(o.CPU / time.Second)
		set(syscall.RLIMIT_CPU, cpu, cpu+1) // at the first it is told, at the second killed
	}
	return &os.PathError{Op: "run", Path: o.Path, Err: o.run(args[1:])}
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

// Said describes measures in two lists with commas.
func Said(taken []Taken) (holds, refused string) {
	var names, left []string
	for _, t := range taken {
		if t.Refused == "" {
			names = append(names, string(t.Measure))
		} else {
			left = append(left, string(t.Measure)+" ("+t.Refused+")")
		}
	}
	return strings.Join(names, ", "), strings.Join(left, ", ")
}
