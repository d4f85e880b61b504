package link

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// onMain runs functions on the process's main thread.
var onMain = make(chan func())

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	code := make(chan int)
	go func() { code <- m.Run() }()
	for {
		select {
		case f := <-onMain:
			f()
		case c := <-code:
			os.Exit(c)
		}
	}
}

// allowed reports whether this process may make networks and devices.
func allowed() bool {
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	tun.Close()
	return exec.Command("unshare", "-n", "true").Run() == nil
}

// open joins two namespaces. If that is not allowed, it checks that the error
// says so, and l is nil.
func open(t *testing.T, p Profile) (a, b *Namespace, l *Link) {
	t.Helper()
	if !allowed() {
		a, err := NewNamespace()
		if err == nil {
			_, err = Open(a, a, 3, p)
		}
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("without rights: %v, want %v", err, ErrUnsupported)
		}
		return nil, nil, nil
	}
	var err error
	if a, err = NewNamespace(); err != nil {
		t.Fatal(err)
	}
	if b, err = NewNamespace(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(a, b, 3, p); err != nil {
		t.Fatal(err)
	}
	return a, b, l
}

func TestBytesArriveIntact(t *testing.T) {
	a, b, l := open(t, Profile{Rate: 400e6, RTT: 2 * time.Millisecond, Queue: 100 << 10})
	if l == nil {
		return
	}
	defer a.Close()
	defer b.Close()
	defer l.Close()
	content := make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{7}).Read(content)
	listener, err := b.Listen(t.Context(), net.JoinHostPort(l.B.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		io.Copy(c, bytes.NewReader(content))
		c.Close()
	}()
	c, err := a.Dial(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(got) != sha256.Sum256(content) {
		t.Errorf("%d bytes arrived, other than the %d sent", len(got), len(content))
	}
	if l.Dropped() == 0 {
		t.Error("a sender that fills the queue had nothing dropped: the link is not the bottleneck")
	}
}

// Only a network's own processes see it, and nothing of it is left behind.
func TestNothingIsLeft(t *testing.T) {
	before := devices(t, nil)
	a, b, l := open(t, Profile{Rate: 1e9})
	if l == nil {
		return
	}
	if got := devices(t, a); !strings.Contains(got, "link3") || !strings.Contains(got, "lo") {
		t.Errorf("in the namespace: %s", got)
	}
	if got := devices(t, nil); got != before {
		t.Errorf("outside: %s, before %s", got, before)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, n := range []*Namespace{a, b} {
		if got := devices(t, n); strings.Contains(got, "link3") {
			t.Errorf("after the link was closed: %s", got)
		}
	}
	for _, n := range []*Namespace{a, b} {
		endsWithItsProcesses(t, n)
	}
}

// The main thread of a process outlives the goroutine that is locked to it.
func TestNamespaceOfTheMainThread(t *testing.T) {
	if !allowed() {
		return
	}
	n := &Namespace{calls: make(chan func()), ended: make(chan struct{})}
	entered := make(chan error)
	onMain <- func() { n.live(entered) }
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	endsWithItsProcesses(t, n)
}

// endsWithItsProcesses closes a namespace in which a process runs.
func endsWithItsProcesses(t *testing.T, n *Namespace) {
	t.Helper()
	cmd := exec.Command("sleep", "100")
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if of, err := os.Readlink("/proc/" + itoa(cmd.Process.Pid) + "/ns/net"); err != nil || of == own {
		t.Errorf("the process is in %q, this one in %q: %v", of, own, err)
	}
	n.Close()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Errorf("the process outlived its network: %v", cmd.ProcessState)
	}
}

// devices lists the devices of a namespace, as a process in it sees them.
func devices(t *testing.T, n *Namespace) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("cat", "/proc/net/dev")
	cmd.Stdout = &out
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(out.String()) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return strings.Join(names, " ")
}

func TestOnWire(t *testing.T) {
	for _, tt := range []struct {
		name          string
		kind          byte // of segments; 0 if the packet is none
		each          byte
		payload, want int
	}{
		{"an acknowledgement", 0, 0, 0, 52 + 38},
		{"one segment", 0, 0, 1448, 1538},
		{"three", 1, 200, 450, 450 + 3*(52+38)},
		{"just two", 1, 200, 400, 400 + 2*(52+38)},
	} {
		packet := make([]byte, headerSize+tcpHeaders+tt.payload)
		packet[1] = tt.kind
		binary.NativeEndian.PutUint16(packet[4:], uint16(tt.each))
		if got := onWire(packet); got != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, got, tt.want)
		}
	}
}
