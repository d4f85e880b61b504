// Package link joins two network namespaces by a link of a given rate, delay
// and queue, so that a download here takes as long as one over such a wire.
//
// Each end is a TUN device. Two pumps in this process carry the packets between
// them. Nothing has a name outside this process. A namespace lives as long as
// its Namespace is open or a process runs in it, a device as long as the Link.
// Whatever ends this process, the kernel removes all of them.
//
// It needs Linux and root. Segments travel unsplit, in the form in which
// network cards get them from the kernel (up to 64 KiB), so that a gigabit
// costs few system calls. A segment arrives when its last byte would.
package link

import (
	"errors"
	"time"
)

// ErrUnsupported means that this machine or this user cannot make links.
var ErrUnsupported = errors.New("link: network namespaces need Linux and root")

// Profile describes a link; it is the same in both directions.
type Profile struct {
	Rate  float64       // bits per second, with the headers of segments and frames
	RTT   time.Duration // there and back, for a small packet on an idle link
	Queue int           // bytes that may wait before the link drops packets; default DefaultQueue
}

// DefaultQueue is about as much as a switch holds for one port.
const DefaultQueue = 1 << 20

// Bytes of a segment, and bytes that a wire carries besides those that the
// kernel passes on.
const (
	mtu        = 1500
	tcpHeaders = 20 + 32         // IP and TCP with its time stamp; for each segment but the first
	framing    = 8 + 14 + 4 + 12 // preamble, Ethernet header and checksum, gap; for each segment
)

// Payload is the part of a link's rate that is left for the content of a
// connection.
const Payload = float64(mtu-tcpHeaders) / (mtu + framing)

// transit is the time that bytes take on the wire.
func (p Profile) transit(bytes int) time.Duration {
	return time.Duration(float64(bytes) * 8 / p.Rate * float64(time.Second))
}

// shaper decides when a packet arrives at the other end. It is a queue that is
// drained at the link's rate; not safe for concurrent use.
type shaper struct {
	Profile
	idle time.Time // when the last packet has left the queue
}

// send returns when a packet arrives that comes in now; ok is false if it is
// dropped.
func (s *shaper) send(now time.Time, bytes int) (arrival time.Time, ok bool) {
	start := s.idle
	if start.Before(now) {
		start = now
	}
	if start.Sub(now) > s.transit(s.Queue) {
		return time.Time{}, false
	}
	s.idle = start.Add(s.transit(bytes))
	return s.idle.Add(s.RTT / 2), true
}
