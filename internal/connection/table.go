package connection

import (
	"cmp"
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Defaults of Limits, in connections.
const (
	DefaultPerAddress = 1024
	DefaultTotal      = 8192
)

// Limits of the connections of one listener.
type Limits struct {
	// PerAddress is how many connections one address may have at a time: an IPv4
	// address, or a network of IPv6 with 64 bits, which is what one customer gets.
	// Default DefaultPerAddress; negative for no limit.
	PerAddress int
	// Total is how many there may be at a time; default DefaultTotal, but at most a
	// quarter of the files that this process may open.
	Total int
	// Trusted are the networks that PerAddress does not hold for: those of proxies,
	// behind which many people share one address.
	Trusted []netip.Prefix
	// Pause is how long a client may take no byte of an answer; default Pause. Only
	// Linux watches that.
	Pause time.Duration
}

func (l Limits) withDefaults() Limits {
	l.PerAddress = cmp.Or(l.PerAddress, DefaultPerAddress)
	l.Total = cmp.Or(l.Total, DefaultTotal)
	l.Pause = cmp.Or(l.Pause, Pause)
	if files := openFiles(); files > 0 {
		l.Total = min(l.Total, max(files/4, 1))
	}
	return l
}

// Table knows the connections of a listener. It closes and refuses some so that
// its limits hold. Its methods may be called at the same time.
type Table struct {
	limits  Limits
	refused func(from netip.Prefix)

	mu       sync.Mutex
	open     map[net.Conn]*entry
	networks map[netip.Prefix]*network
	idle     list.List // of *entry, the one that has been idle longest first
}

// network holds the connections from one address.
type network struct {
	open int
	idle list.List // as in Table
}

// entry is one connection. Both elements are nil while a request is under way.
type entry struct {
	conn    net.Conn
	from    netip.Prefix
	all     *list.Element // in the idle ones of the table
	of      *network
	ofTheir *list.Element // in the idle ones of its network
}

// NewTable returns a table without connections. refused is called with the
// address of each connection that is refused; nil for nothing.
func NewTable(l Limits, refused func(from netip.Prefix)) *Table {
	if refused == nil {
		refused = func(netip.Prefix) {}
	}
	return &Table{limits: l.withDefaults(), refused: refused, open: map[net.Conn]*entry{}, networks: map[netip.Prefix]*network{}}
}

// State is the ConnState of an http.Server.
func (t *Table) State(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		t.Opened(c)
	case http.StateActive:
		t.Active(c)
	case http.StateIdle:
		t.Idle(c)
	case http.StateHijacked, http.StateClosed:
		t.Closed(c)
	}
}

// Opened takes a connection that was just accepted and is idle. It may close an
// idle one for it, or c itself.
func (t *Table) Opened(c net.Conn) {
	setTimeout(c, t.limits.Pause)
	address := addressOf(c.RemoteAddr())
	victim, ok := t.admit(c, address)
	if victim != nil {
		_ = victim.Close() // its server notices, and closes it again
	}
	if !ok {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write([]byte("HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"))
		_ = c.Close()
		t.refused(networkOf(address))
	}
}

// admit keeps c if there is room, or if victim, which is to be closed, makes room.
func (t *Table) admit(c net.Conn, address netip.Addr) (victim net.Conn, ok bool) {
	from, limited := networkOf(address), t.limited(address)
	if !limited && address.IsValid() { // its neighbours count without it
		from = netip.PrefixFrom(address, address.BitLen())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.networks[from]
	if n == nil {
		n = &network{}
	}
	var oldest *list.Element
	switch {
	case limited && n.open >= t.limits.PerAddress:
		oldest = n.idle.Front()
	case len(t.open) >= t.limits.Total:
		oldest = t.idle.Front()
	default:
		t.add(c, from, n)
		return nil, true
	}
	if oldest == nil {
		return nil, false
	}
	e := oldest.Value.(*entry)
	t.remove(e)
	t.add(c, from, n)
	return e.conn, true
}

// limited reports whether PerAddress holds for an address. The connections of a
// socket that has none are not limited.
func (t *Table) limited(a netip.Addr) bool {
	return a.IsValid() && t.limits.PerAddress > 0 &&
		!slices.ContainsFunc(t.limits.Trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (t *Table) add(c net.Conn, from netip.Prefix, n *network) {
	e := &entry{conn: c, from: from, of: n}
	t.open[c], t.networks[from] = e, n
	n.open++
	t.rest(e)
}

func (t *Table) remove(e *entry) {
	t.wake(e)
	delete(t.open, e.conn)
	if e.of.open--; e.of.open == 0 {
		delete(t.networks, e.from)
	}
}

// rest makes e the one that has been idle for the shortest time.
func (t *Table) rest(e *entry) {
	if e.all == nil {
		e.all, e.ofTheir = t.idle.PushBack(e), e.of.idle.PushBack(e)
	}
}

func (t *Table) wake(e *entry) {
	if e.all != nil {
		t.idle.Remove(e.all)
		e.of.idle.Remove(e.ofTheir)
		e.all, e.ofTheir = nil, nil
	}
}

// Active is called when a request has come. It and the next two leave a connection
// alone that the table does not know, such as one that it has closed.
func (t *Table) Active(c net.Conn) { t.change(c, t.wake) }

// Idle is called when its answer is out.
func (t *Table) Idle(c net.Conn) { t.change(c, t.rest) }

// Closed is called when the connection has ended.
func (t *Table) Closed(c net.Conn) { t.change(c, t.remove) }

func (t *Table) change(c net.Conn, do func(*entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.open[c]; e != nil {
		do(e)
	}
}

// addressOf is the address of a client; none for what is not TCP.
func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// networkOf is an IPv4 address, or the network of an IPv6 one; none for no address.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for no address, and then p is none
	return p
}
