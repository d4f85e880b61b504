package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes put a child into a process group of its own and let it die with
// this process, whatever ends it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// endWithParent makes this process end in order when its parent, `go run`,
// does: that hands no signal on.
func endWithParent() error {
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0); err != nil {
		return err
	}
	if os.Getppid() != parent { // it ended before
		return syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}
	return nil
}
