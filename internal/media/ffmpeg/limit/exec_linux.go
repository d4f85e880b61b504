package limit

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch tells the kernel that what this thread runs computes and does not wait
// for people. ffmpeg passes each frame from thread to thread; otherwise the
// kernel would go over to the next one for each.
func batch() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
		attr.Policy = unix.SCHED_BATCH
		_ = unix.SchedSetAttr(0, attr, 0) // not allowed everywhere, and only a matter of speed
	}
}

// execute limits the memory and runs the program. Go itself may have more memory
// than the limit and would die of its next allocation, so nothing is allocated and
// nothing scheduled between the two calls.
func execute(path string, args []string, memory uint64) error {
	if err := syscall.Access(path, 1); err != nil { // may it be executed? Later nothing could be said
		return err
	}
	program, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	// All private memory that can be written to. A limit on address space
	// (RLIMIT_AS) would also count what is only reserved.
	if l, ok := lowered(syscall.RLIMIT_DATA, memory, memory); ok && memory > 0 {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_DATA, uintptr(unsafe.Pointer(&l)), 0, 0, 0)
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(program)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])))
	return errno
}
