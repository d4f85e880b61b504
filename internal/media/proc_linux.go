package media

import "syscall"

// procAttr has the child killed when the thread that started it is gone. The
// child stays in its parent's process group, so that killing the group ends it
// too.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
