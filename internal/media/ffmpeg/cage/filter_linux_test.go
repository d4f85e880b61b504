//go:build amd64 || arm64

package cage

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// judge runs a filter on a system call. The filter's machine of package bpf reads
// numbers from packets, high byte first.
func judge(t *testing.T, c calls, arch uint32, call uintptr, args ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(c.program())
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, argsOffset+6*8)
	binary.BigEndian.PutUint32(data[callOffset:], uint32(call))
	binary.BigEndian.PutUint32(data[archOffset:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[argsOffset+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[argsOffset+8*i+4:], uint32(a>>32))
	}
	action, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(action)
}

// TestFilter tries the filters of the three kinds of program: ffmpeg, ffmpeg with CUDA,
// and a script.
func TestFilter(t *testing.T) {
	const self, key = 77, 0x1122334455667788
	sound := calls{self: self, key: key}
	gpu := calls{self: self, key: key, wide: true}
	script := calls{self: self, key: key, wide: true, processes: true}
	thread := uint64(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM)
	const yes, no, none = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	for _, tt := range []struct {
		name               string
		call               uintptr
		args               []uint64
		sound, gpu, script uint32
	}{
		{"read", unix.SYS_READ, nil, yes, yes, yes},
		{"mmap", unix.SYS_MMAP, nil, yes, yes, yes},
		{"socket", unix.SYS_SOCKET, nil, none, no, no},
		{"connect", unix.SYS_CONNECT, nil, none, no, no},
		{"ptrace", unix.SYS_PTRACE, nil, none, no, no},
		{"bpf", unix.SYS_BPF, nil, none, no, no},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, nil, none, no, no},
		{"flock", unix.SYS_FLOCK, nil, none, no, no},
		{"a thread", unix.SYS_CLONE, []uint64{thread}, yes, yes, yes},
		{"a process", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, no, no, yes},
		{"a process that shares memory", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)}, no, no, yes},
		{"clone3", unix.SYS_CLONE3, nil, none, none, yes},
		{"another program", unix.SYS_EXECVE, nil, none, no, yes},
		{"the program", unix.SYS_EXECVEAT, []uint64{5, 0, 0, 0, unix.AT_EMPTY_PATH, key}, yes, yes, yes},
		{"the program without the key", unix.SYS_EXECVEAT, []uint64{5, 0, 0, 0, unix.AT_EMPTY_PATH, 0}, no, no, yes},
		{"with its low half", unix.SYS_EXECVEAT, []uint64{5, 0, 0, 0, unix.AT_EMPTY_PATH, key & 0xffffffff}, no, no, yes},
		{"with its high half", unix.SYS_EXECVEAT, []uint64{5, 0, 0, 0, unix.AT_EMPTY_PATH, key &^ 0xffffffff}, no, no, yes},
		{"a signal to itself", unix.SYS_TGKILL, []uint64{self, 1, 6}, yes, yes, yes},
		{"a signal to another", unix.SYS_TGKILL, []uint64{1, 1, 9}, no, no, yes},
		{"a signal to all", unix.SYS_KILL, []uint64{^uint64(0), 9}, no, no, yes},
		{"its own limits", unix.SYS_PRLIMIT64, []uint64{0, 3}, yes, yes, yes},
		{"another's limits", unix.SYS_PRLIMIT64, []uint64{1, 3}, no, no, yes},
		{"is it a terminal?", unix.SYS_IOCTL, []uint64{0, unix.TCGETS}, yes, yes, yes},
		{"type on a terminal", unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, no, yes, yes},
		{"flags of a file", unix.SYS_FCNTL, []uint64{0, unix.F_GETFL}, yes, yes, yes},
		{"signals from a file", unix.SYS_FCNTL, []uint64{0, unix.F_SETOWN}, no, no, yes},
		{"the name of a thread", unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}, yes, yes, yes},
		{"another filter", unix.SYS_PRCTL, []uint64{unix.PR_SET_SECCOMP}, no, yes, yes},
	} {
		for i, c := range []calls{sound, gpu, script} {
			if got, want := judge(t, c, auditArch, tt.call, tt.args...), []uint32{tt.sound, tt.gpu, tt.script}[i]; got != want {
				t.Errorf("%s, filter %d: got %#x, want %#x", tt.name, i, got, want)
			}
		}
	}
	for i, c := range []calls{sound, gpu, script} {
		if got := judge(t, c, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != none {
			t.Errorf("a call of 32 bits, filter %d: got %#x", i, got)
		}
		if got := judge(t, c, auditArch, otherCalls+unix.SYS_READ); otherCalls > 0 && got != none {
			t.Errorf("a call of x32, filter %d: got %#x", i, got)
		}
		if filter, err := c.filter(); err != nil || len(filter) > 4096 {
			t.Errorf("filter %d has %d instructions, %v; the kernel takes 4096", i, len(filter), err)
		}
	}
	for _, call := range slices.Concat(needed, oldCalls) {
		if slices.Contains(harmful, call) {
			t.Errorf("system call %d is needed and harmful", call)
		}
	}
}
