//go:build !linux

package link

import (
	"context"
	"net"
	"os/exec"
)

// Namespace can only be nil here; it stands for the network that this process
// is in.
type Namespace struct{}

// NewNamespace fails.
func NewNamespace() (*Namespace, error) { return nil, ErrUnsupported }

// Do runs f.
func (*Namespace) Do(f func() error) error { return f() }

// Start starts a process.
func (*Namespace) Start(cmd *exec.Cmd) error { return cmd.Start() }

// Listen opens a listener.
func (*Namespace) Listen(ctx context.Context, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// Dial connects.
func (*Namespace) Dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// Close does nothing.
func (*Namespace) Close() error { return nil }

// Link cannot be opened here.
type Link struct{ A, B net.IP }

// Open fails.
func Open(_, _ *Namespace, _ int, _ Profile) (*Link, error) { return nil, ErrUnsupported }

// Dropped is 0.
func (*Link) Dropped() int64 { return 0 }

// Close does nothing.
func (*Link) Close() error { return nil }
