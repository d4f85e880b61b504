package cage

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxThreads is how many threads a program may have. ffmpeg has about ten.
const maxThreads = 128

// batch tells the kernel that what this thread runs computes and does not wait
// for people. ffmpeg passes each frame from thread to thread; otherwise the
// kernel would go over to the next one for each.
func batch() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
		attr.Policy = unix.SCHED_BATCH
		_ = unix.SchedSetAttr(0, attr, 0) // not allowed everywhere, and only a matter of speed
	}
}

// errScript is why a script is not confined more.
var errScript = errors.New("it is a script, which may run any program")

// run takes the measures and runs the program, or says which hold. It works on this
// thread alone: the others end when the program runs. init has it to itself.
func (o *order) run(args []string) error {
	batch()
	var taken []Taken
	take := func(m Measure, do func() error) bool {
		if o.without(m) {
			taken = append(taken, Taken{m, LeftOut})
			return false
		}
		err := do()
		t := Taken{Measure: m}
		if err != nil {
			t.Refused = err.Error()
		}
		taken = append(taken, t)
		return err == nil
	}
	program, err := o.open()
	if err != nil {
		return err
	}
	ruleset := -1
	take(Limits, func() error { return nil })
	take(Descriptors, o.dropDescriptors)
	take(Network, o.leaveNetwork)
	ruled := !o.without(Files)
	var filesErr error
	if ruled {
		ruleset, filesErr = o.ruleset()
	}
	bounded := !o.without(Capabilities)
	if bounded {
		dropBounding()
	}
	other := take(OtherUser, o.becomeOther)
	take(Threads, func() error {
		if !other && !o.Apart {
			return errors.New("all programs of this user would count")
		}
		if !o.GPU {
			set(unix.RLIMIT_NPROC, maxThreads, maxThreads)
		}
		return nil
	})
	take(Capabilities, dropCapabilities)
	take(NoNew, func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
	take(Files, func() error {
		if filesErr == nil {
			_, _, errno := syscall.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0)
			filesErr = errnoError(errno)
		}
		return filesErr
	})
	o.endWithParent()
	var filter []unix.SockFilter
	key := binary.LittleEndian.Uint64(random())
	take(SystemCalls, func() (err error) {
		filter, err = calls{self: os.Getpid(), key: key, wide: o.GPU || o.Script, processes: o.Script}.filter()
		if err == nil && o.Ask {
			err = errnoError(load(filter))
		}
		return err
	})
	if o.Ask {
		return say(taken)
	}
	return o.execute(program, args, filter, key)
}

// say writes what holds, and ends.
func say(taken []Taken) error {
	text, err := json.Marshal(taken)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write(text); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

func random() []byte {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return b
}

func errnoError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// open opens the program while its folder can be reached. A script has to be found by
// its name.
func (o *order) open() (int, error) {
	if o.Script {
		return -1, syscall.Access(o.Path, 1) // may it be executed? Later nothing could be said
	}
	fd, err := unix.Open(o.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, syscall.Access(o.Path, 1)
}

// dropDescriptors closes what else was inherited, when the program runs.
func (o *order) dropDescriptors() error {
	err := unix.CloseRange(uint(o.Kept), ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd") // Linux before 5.11
	if err != nil {
		return err
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= o.Kept {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

func (o *order) leaveNetwork() error {
	if o.Apart {
		return nil
	}
	return unix.Unshare(unix.CLONE_NEWNET)
}

// becomeOther becomes the user that nobody else is, without any group of before.
func (o *order) becomeOther() error {
	switch {
	case o.Script:
		return errScript
	case o.Users == 0:
		return errors.New(o.Alone)
	}
	user := o.Users + os.Getpid()%o.Span // no other process that lives has this number
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("groups: %w", errno)
	}
	group := uintptr(o.Group)
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESGID, group, group, group); errno != 0 {
		return fmt.Errorf("group %d: %w", o.Group, errno)
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, uintptr(user), uintptr(user), uintptr(user)); errno != 0 {
		return fmt.Errorf("user %d: %w", user, errno)
	}
	return nil
}

// dropBounding makes capabilities unreachable where it may.
func dropBounding() {
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

// endWithParent makes the kernel end this process when the thread that started it is
// gone. A change of the user has undone that.
func (o *order) endWithParent() {
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0)
	if os.Getppid() != o.Parent {
		os.Exit(CannotRun)
	}
}

// load makes a filter hold for this thread.
func load(filter []unix.SockFilter) syscall.Errno {
	p := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p)))
	return errno
}

// execute limits the memory, makes the filter hold and runs the program. Go itself
// may have more memory than the limit and would die of its next allocation, so nothing
// is allocated and nothing scheduled between the calls.
func (o *order) execute(program int, args []string, filter []unix.SockFilter, key uint64) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	path, err := syscall.BytePtrFromString(o.Path)
	if err != nil {
		return err
	}
	// All private memory that can be written to. A limit on address space
	// (RLIMIT_AS) would also count what is only reserved.
	if l, ok := lowered(syscall.RLIMIT_DATA, uint64(o.Memory), uint64(o.Memory)); ok && o.Memory > 0 && !o.without(Limits) {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_DATA, uintptr(unsafe.Pointer(&l)), 0, 0, 0)
	}
	if filter != nil {
		_ = load(filter) // refused in some containers; Look says so
	}
	if o.Script {
		_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])))
		return errno
	}
	var empty byte
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(program), uintptr(unsafe.Pointer(&empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, uintptr(key))
	return errno
}
