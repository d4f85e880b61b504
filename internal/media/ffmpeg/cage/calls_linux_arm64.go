package cage

import "golang.org/x/sys/unix"

const (
	auditArch  = unix.AUDIT_ARCH_AARCH64
	otherCalls = 0 // there is no other ABI with the same AUDIT_ARCH
)

var oldCalls, oldForks, oldHarm []uintptr
