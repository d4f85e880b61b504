package server

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolate puts a child into a process group of its own, and makes it die with
// this process, whatever ends this process.
func isolate(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Setpgid, a.Pdeathsig = true, syscall.SIGKILL
	return a
}

// EndWithParent ends this process properly when its parent, `go run`, ends: `go
// run` passes no signal on.
func EndWithParent() error {
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0); err != nil {
		return err
	}
	if os.Getppid() != parent { // the parent ended earlier
		return syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}
	return nil
}
