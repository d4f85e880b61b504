package link

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Link joins two namespaces.
type Link struct {
	A, B net.IP // of its ends

	ends    [2]*os.File
	pumps   sync.WaitGroup
	dropped atomic.Int64
}

// Open joins two namespaces by a link. number, from 0 to 255, distinguishes
// links between the same two. The caller still has to close the namespaces.
func Open(a, b *Namespace, number int, p Profile) (*Link, error) {
	p.Queue = cmp.Or(p.Queue, DefaultQueue)
	l := &Link{A: net.IPv4(10, 77, byte(number), 1), B: net.IPv4(10, 77, byte(number), 2)}
	name := fmt.Sprintf("link%d", number)
	var err error
	for i, end := range []struct {
		in       *Namespace
		own, far net.IP
	}{{a, l.A, l.B}, {b, l.B, l.A}} {
		err = errors.Join(err, end.in.Do(func() (err error) {
			l.ends[i], err = openTUN(name, end.own, end.far)
			return err
		}))
	}
	if err != nil {
		return nil, fmt.Errorf("open link: %w", errors.Join(err, l.Close()))
	}
	l.pump(l.ends[0], l.ends[1], p)
	l.pump(l.ends[1], l.ends[0], p)
	return l, nil
}

// Dropped counts the packets that found the queue full.
func (l *Link) Dropped() int64 { return l.dropped.Load() }

// Close takes the link down and removes its devices.
func (l *Link) Close() error {
	var errs []error
	for _, end := range l.ends {
		if end != nil {
			errs = append(errs, end.Close())
		}
	}
	l.pumps.Wait()
	return errors.Join(errs...)
}

// packet is a packet on its way.
type packet struct {
	bytes   []byte
	arrival time.Time
}

// buffers are for packets of the largest size and their header.
var buffers = sync.Pool{New: func() any { return new([headerSize + 1<<16]byte) }}

// pump carries packets in one direction until the devices are closed.
func (l *Link) pump(from, to *os.File, p Profile) {
	wire := make(chan packet, 1<<14) // more than any queue and delay hold
	l.pumps.Go(func() {
		defer close(wire)
		s := shaper{Profile: p}
		for {
			b := buffers.Get().(*[headerSize + 1<<16]byte)
			n, err := from.Read(b[:])
			if err != nil {
				return
			}
			arrival, ok := s.send(time.Now(), onWire(b[:n]))
			if !ok {
				l.dropped.Add(1)
				buffers.Put(b)
				continue
			}
			wire <- packet{b[:n], arrival}
		}
	})
	l.pumps.Go(func() {
		for p := range wire {
			wait(p.arrival)
			_, _ = to.Write(p.bytes) // a closed device drops them
			buffers.Put((*[headerSize + 1<<16]byte)(p.bytes[:headerSize+1<<16]))
		}
	})
}

// wait sleeps until t. A packet that is due sooner than the timer is exact goes
// at once.
func wait(t time.Time) {
	if d := time.Until(t); d > 50*time.Microsecond {
		time.Sleep(d)
	}
}

// headerSize is the size of the kernel's struct virtio_net_hdr, which comes
// before each packet. It describes the segments in the packet and the checksums
// that are still missing.
const headerSize = 10

// onWire is the size of a packet once it is cut into its segments.
func onWire(packet []byte) int {
	size, segments := len(packet)-headerSize, 1
	several, each := packet[1] != 0, int(binary.NativeEndian.Uint16(packet[4:]))
	if several && each > 0 {
		segments = max(1, (size-tcpHeaders+each-1)/each)
	}
	return size + (segments-1)*tcpHeaders + segments*framing
}

// openTUN makes a device in the network of the thread. The device lives as long
// as the file.
func openTUN(name string, own, far net.IP) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err := setUp(fd, name, own, far); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "tun "+name), nil // only now: a device must be set up before it can be polled
}

func setUp(fd int, name string, own, far net.IP) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return fmt.Errorf("make device: %w", err)
	}
	const offload = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offload); err != nil {
		return fmt.Errorf("take whole segments: %w", err)
	}
	return configure(name, func(s socket) error {
		return errors.Join(
			s.address(unix.SIOCSIFADDR, own),
			s.address(unix.SIOCSIFDSTADDR, far),
			s.number(unix.SIOCSIFTXQLEN, 10000),
			s.number(unix.SIOCSIFMTU, mtu),
			s.up(),
		)
	})
}
