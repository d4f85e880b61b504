package connection

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setTimeout ends a connection whose client takes no byte of an answer for pause,
// or is gone. The kernel watches that, also where a file is sent without passing
// through this process.
func setTimeout(c net.Conn, pause time.Duration) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // a closed one has none
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(pause.Milliseconds()))
		})
	}
}
