//go:build !linux

package connection

import (
	"net"
	"time"
)

func setTimeout(net.Conn, time.Duration) {}
