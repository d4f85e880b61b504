//go:build amd64 || arm64

package cage

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Where the parts of struct seccomp_data are, see seccomp(2).
const (
	callOffset = 0
	archOffset = 4
	argsOffset = 16 // 8 bytes each, the low half first
)

var (
	allow  = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	denied = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	absent = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
)

// calls is what a filter is made of.
type calls struct {
	self      int    // number of the process
	key       uint64 // with which it may run one program
	wide      bool   // all calls but harmful ones; otherwise none but needed ones
	processes bool   // it may start others, run programs and send signals; needs wide
}

// filter returns the filter of system calls, as seccomp(2) takes it.
//
// The program itself must still be run when the filter holds already. execveat(2) has
// five arguments, and the filter sees six: it allows the call if the sixth is the key. The
// key is drawn for this run, and gone with the memory of whoever knew it once the
// program runs. So no other program can be run.
func (c calls) filter() ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble(c.program())
	if err != nil {
		return nil, fmt.Errorf("filter of system calls: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}

func (c calls) program() []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		absent, // a call of 32 bits, for instance
		bpf.LoadAbsolute{Off: callOffset, Size: 4},
	}
	if otherCalls > 0 {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: otherCalls, SkipTrue: 1}, absent)
	}
	on := func(call uintptr, then ...bpf.Instruction) { // then must return
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(call), SkipTrue: uint8(len(then))})
		p = append(p, then...)
	}
	if !c.processes {
		on(unix.SYS_CLONE3, absent) // its flags are in memory, where no filter can look
		on(unix.SYS_CLONE,
			bpf.LoadAbsolute{Off: argsOffset, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.CLONE_THREAD, SkipFalse: 1},
			allow, denied)
		const sixth = argsOffset + 5*8
		on(unix.SYS_EXECVEAT,
			bpf.LoadAbsolute{Off: sixth, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(c.key), SkipTrue: 3},
			bpf.LoadAbsolute{Off: sixth + 4, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(c.key >> 32), SkipTrue: 1},
			allow, denied)
	}
	if !c.wide {
		for _, r := range restricted(uint32(c.self)) {
			on(r.call, oneOf(r)...)
		}
		for _, list := range [][]uintptr{needed, oldCalls} {
			for _, call := range list {
				on(call, allow)
			}
		}
		return append(p, absent)
	}
	lists := [][]uintptr{harmful, oldHarm}
	if !c.processes {
		lists = append(lists, oldForks, []uintptr{unix.SYS_EXECVE})
		for _, r := range restricted(uint32(c.self)) {
			switch r.call {
			case unix.SYS_PRLIMIT64, unix.SYS_KILL, unix.SYS_TGKILL:
				on(r.call, oneOf(r)...)
			}
		}
		on(unix.SYS_FCNTL, noneOf(commands{unix.SYS_FCNTL, 1, []uint32{unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG}})...)
	}
	for _, list := range lists {
		for _, call := range list {
			on(call, denied)
		}
	}
	return append(p, allow)
}

// noneOf allows a call whose argument has none of the values.
func noneOf(c commands) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: argsOffset + 8*c.argument, Size: 4}}
	for _, v := range c.values {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, denied)
	}
	return append(p, allow)
}

// oneOf allows a call whose argument has one of the values. Only the low half counts
// for the kernel, too.
func oneOf(c commands) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: argsOffset + 8*c.argument, Size: 4}}
	for _, v := range c.values {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, allow)
	}
	return append(p, denied)
}
