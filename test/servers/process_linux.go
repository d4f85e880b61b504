package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolate puts a child into a process group of its own and lets it die with
// this process, whatever ends that.
func isolate(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Setpgid, a.Pdeathsig = true, syscall.SIGKILL
	return a
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
