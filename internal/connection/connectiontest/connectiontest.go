// Package connectiontest has clients that keep connections to a server.
package connectiontest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// Soon is the time that a server may take for what it does at once or after a
// limit of fractions of a second.
const Soon = 30 * time.Second

// Dial connects to a host and port from an address of this machine, until the test
// ends.
func Dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Rest reads until the server closes the connection, which it must do Soon.
func Rest(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(Soon))
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
	return string(b)
}
