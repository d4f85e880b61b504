package ffmpeg

import "syscall"

// procAttr makes the kernel kill the child when the thread that started it is
// gone. The child stays in its parent's process group, so that killing the
// group also ends it.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
