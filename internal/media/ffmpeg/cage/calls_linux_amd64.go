package cage

import "golang.org/x/sys/unix"

const (
	auditArch  = unix.AUDIT_ARCH_X86_64
	otherCalls = 0x40000000 // system calls of the x32 ABI have numbers from here on
)

// oldCalls are those that newer architectures do not have.
var oldCalls = []uintptr{
	unix.SYS_ACCESS, unix.SYS_ARCH_PRCTL, unix.SYS_DUP2, unix.SYS_GETDENTS, unix.SYS_GETPGRP, unix.SYS_LSTAT, unix.SYS_OPEN, unix.SYS_PIPE,
	unix.SYS_POLL, unix.SYS_READLINK, unix.SYS_SELECT, unix.SYS_STAT, unix.SYS_TIME,
}

// oldForks start a process in the old way.
var oldForks = []uintptr{unix.SYS_FORK, unix.SYS_VFORK}

// oldHarm is what nobody needs, where newer architectures do not have it.
var oldHarm = []uintptr{unix.SYS_IOPERM, unix.SYS_IOPL, unix.SYS_MODIFY_LDT, unix.SYS_USELIB}
