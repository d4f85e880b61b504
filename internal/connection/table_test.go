package connection

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// fake is a connection from an address that remembers whether it was closed.
type fake struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (f *fake) RemoteAddr() net.Addr             { return f.from }
func (f *fake) Close() error                     { f.closed = true; return nil }
func (f *fake) Write(p []byte) (int, error)      { return len(p), nil }
func (f *fake) SetWriteDeadline(time.Time) error { return nil }

func from(address string) *fake {
	return &fake{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 999))}
}

// open has the table take a connection.
func open(t *Table, address string) *fake {
	c := from(address)
	t.State(c, http.StateNew)
	return c
}

func TestTable(t *testing.T) {
	type step struct {
		do     string // an address opens, or what happens to the connection with that number
		of     int
		closed []int // connections that are closed by then
	}
	const a, b, c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	for name, tt := range map[string]struct {
		limits Limits
		steps  []step
	}{
		"an address that has all it may have loses its oldest idle one": {Limits{PerAddress: 2}, []step{
			{a, 0, nil}, {b, 0, nil}, {a, 0, nil}, {a, 0, []int{0}}, {a, 0, []int{0, 2}},
		}},
		"one that is busy stays": {Limits{PerAddress: 2}, []step{
			{a, 0, nil}, {a, 0, nil}, {"active", 0, nil}, {a, 0, []int{1}},
		}},
		"where all are busy the new one is refused": {Limits{PerAddress: 2}, []step{
			{a, 0, nil}, {a, 0, nil}, {"active", 0, nil}, {"active", 1, nil}, {a, 0, []int{2}}, {b, 0, []int{2}}, {"closed", 0, []int{2}}, {a, 0, []int{2}},
		}},
		"idle is idle again": {Limits{PerAddress: 2}, []step{
			{a, 0, nil}, {a, 0, nil}, {"active", 0, nil}, {"idle", 0, nil}, {a, 0, []int{1}}, {a, 0, []int{0, 1}},
		}},
		"in all": {Limits{Total: 3}, []step{
			{a, 0, nil}, {a, 0, nil}, {b, 0, nil}, {"active", 0, nil}, {c, 0, []int{1}}, {c, 0, []int{1, 2}},
		}},
		"all are busy": {Limits{Total: 2}, []step{
			{a, 0, nil}, {b, 0, nil}, {"active", 0, nil}, {"active", 1, nil}, {c, 0, []int{2}}, {"closed", 1, []int{2}}, {c, 0, []int{2}},
		}},
		"a network of IPv6 is one address": {Limits{PerAddress: 1}, []step{
			{"2001:db8::1", 0, nil}, {"2001:db8:0:1::1", 0, nil}, {"2001:db8::2:1", 0, []int{0}},
		}},
		"IPv4 in IPv6 is IPv4": {Limits{PerAddress: 1}, []step{
			{"::ffff:192.0.2.1", 0, nil}, {"::ffff:192.0.2.2", 0, nil}, {a, 0, []int{0}},
		}},
		"proxies are trusted, within the total": {Limits{PerAddress: 1, Total: 3, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/31")}}, []step{
			{b, 0, nil}, {b, 0, nil}, {a, 0, nil}, {a, 0, []int{2}}, {b, 0, []int{0, 2}},
		}},
		"a proxy in a network of others": {Limits{PerAddress: 1, Trusted: []netip.Prefix{netip.MustParsePrefix("2001:db8::5/128")}}, []step{
			{"2001:db8::5", 0, nil}, {"2001:db8::5", 0, nil}, {"2001:db8::6", 0, nil}, {"2001:db8::7", 0, []int{2}},
		}},
		"no limit": {Limits{PerAddress: -1}, []step{{a, 0, nil}, {a, 0, nil}, {a, 0, nil}}},
		"ends of one that was closed are nothing new": {Limits{PerAddress: 1}, []step{
			{a, 0, nil}, {a, 0, []int{0}}, {"active", 0, []int{0}}, {"idle", 0, []int{0}}, {"closed", 0, []int{0}}, {a, 0, []int{0, 1}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable(tt.limits, nil)
			var all []*fake
			states := map[string]http.ConnState{"active": http.StateActive, "idle": http.StateIdle, "closed": http.StateClosed}
			for i, s := range tt.steps {
				if state, ok := states[s.do]; ok {
					table.State(all[s.of], state)
				} else {
					all = append(all, open(table, s.do))
				}
				var closed []int
				for n, c := range all {
					if c.closed {
						closed = append(closed, n)
					}
				}
				if got, want := fmt.Sprint(closed), fmt.Sprint(s.closed); got != want {
					t.Fatalf("after step %d (%s %d): %s are closed, want %s", i, s.do, s.of, got, want)
				}
			}
			for _, c := range all {
				table.Closed(c)
			}
			if len(table.open)+len(table.networks)+table.idle.Len() > 0 {
				t.Errorf("left when all are closed: %d connections of %d addresses, %d idle", len(table.open), len(table.networks), table.idle.Len())
			}
		})
	}
}

// A socket without addresses is only counted.
func TestTableOtherSockets(t *testing.T) {
	table := NewTable(Limits{PerAddress: 1}, nil)
	for range 3 {
		c := &fake{from: &net.UnixAddr{Name: "x"}}
		table.Opened(c)
		if c.closed {
			t.Error("closed")
		}
	}
}

func TestRefused(t *testing.T) {
	var told []netip.Prefix
	table := NewTable(Limits{PerAddress: 1}, func(p netip.Prefix) { told = append(told, p) })
	table.Active(open(table, "2001:db8::1"))
	open(table, "2001:db8::2")
	if fmt.Sprint(told) != "[2001:db8::/64]" {
		t.Errorf("told of %v", told)
	}
}
