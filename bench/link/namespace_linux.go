package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is a network of its own with a loopback device. The nil Namespace
// is the network that this process is in.
type Namespace struct {
	calls chan func()   // run by the one thread that is in the namespace
	ended chan struct{} // closed once that thread is gone
}

// NewNamespace makes a network.
func NewNamespace() (*Namespace, error) {
	n := &Namespace{calls: make(chan func()), ended: make(chan struct{})}
	entered := make(chan error)
	go n.live(entered)
	if err := <-entered; err != nil {
		return nil, err
	}
	if err := n.Do(prepare); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// live runs on the namespace's thread. It never unlocks the thread, so the
// thread ends with the goroutine. The main thread would not end, and neither
// would the processes that it started; so if live runs there, it goes on in
// another thread.
func (n *Namespace) live(entered chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		moved := make(chan error)
		go n.live(moved)
		entered <- <-moved
		return
	}
	defer close(n.ended)
	err := syscall.Unshare(syscall.CLONE_NEWNET)
	if errors.Is(err, syscall.EPERM) {
		err = ErrUnsupported
	}
	entered <- err
	if err != nil {
		return
	}
	for call := range n.calls {
		call()
	}
}

// prepare brings loopback up. It also makes TCP forget what it learnt from
// earlier connections, so that each connection behaves like the first one.
func prepare() error {
	if err := configure("lo", func(s socket) error { return s.up() }); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/tcp_no_metrics_save", []byte("1"), 0)
}

// Do runs f on a thread that is in the namespace. Sockets that f opens belong
// to the namespace.
func (n *Namespace) Do(f func() error) error {
	if n == nil {
		return f()
	}
	result := make(chan error, 1)
	n.calls <- func() { result <- f() }
	return <-result
}

// Start starts a process in the namespace. The process gets a SIGTERM when the
// namespace is closed or when this process ends, for whatever reason.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if n != nil {
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM // sent when the thread that starts the process ends
	}
	return n.Do(cmd.Start)
}

// Listen opens a listener in the namespace. It stays there, wherever it is
// served.
func (n *Namespace) Listen(ctx context.Context, address string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		return err
	})
	return l, err
}

// Dial connects from within the namespace. address must not need a name lookup.
func (n *Namespace) Dial(ctx context.Context, address string) (c net.Conn, err error) {
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	err = n.Do(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
		return err
	})
	return c, err
}

// Close ends the processes in the namespace. When the last one has ended, the
// namespace ends too. Nothing may be called on it after that.
func (n *Namespace) Close() error {
	if n == nil {
		return nil
	}
	close(n.calls)
	<-n.ended
	return nil
}

// socket asks the kernel about one device in the thread's network.
type socket struct {
	fd   int
	name string
}

// configure runs f with a socket in the thread's network.
func configure(device string, f func(socket) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("configure %s: %w", device, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := f(socket{fd, device}); err != nil {
		return fmt.Errorf("configure %s: %w", device, err)
	}
	return nil
}

func (s socket) set(request uint, fill func(*unix.Ifreq) error) error {
	ifr, err := unix.NewIfreq(s.name)
	if err != nil {
		return err
	}
	if err := fill(ifr); err != nil {
		return err
	}
	return unix.IoctlIfreq(s.fd, request, ifr)
}

func (s socket) address(request uint, a net.IP) error {
	return s.set(request, func(r *unix.Ifreq) error { return r.SetInet4Addr(a.To4()) })
}

func (s socket) number(request uint, n int) error {
	return s.set(request, func(r *unix.Ifreq) error { r.SetUint32(uint32(n)); return nil })
}

func (s socket) up() error {
	return s.set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil })
}
