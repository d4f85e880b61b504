package gateway

import (
	"net/http"
	"net/netip"
	"strings"
)

// network is the network that a request came from: that of the peer, or of the
// client that trusted proxies speak of. Each proxy appends its peer to
// X-Forwarded-For. So the entries are read from the right, as far as those who
// wrote them are trusted; what stands further left, anybody may have written.
func (g *Gateway) network(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // of a test
	}
	from := plain(peer.Addr())
	lines := r.Header.Values("X-Forwarded-For")
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			if !g.trusts(from) {
				return networkOf(from)
			}
			var entry string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, entry = rest[:comma], rest[comma+1:]
			} else {
				entry, more = rest, false
			}
			next, ok := forwarded(entry)
			if !ok { // damaged; the proxy that wrote it is the last address that is known
				return networkOf(from)
			}
			from = next
		}
	}
	return networkOf(from)
}

func (g *Gateway) trusts(a netip.Addr) bool {
	for _, p := range g.o.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwarded reads an entry of X-Forwarded-For: an address, perhaps with a port.
func forwarded(entry string) (netip.Addr, bool) {
	entry = strings.TrimSpace(entry)
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]")); err == nil {
		return plain(a), true
	}
	a, err := netip.ParseAddrPort(entry)
	return plain(a.Addr()), err == nil
}

// plain is an address without a zone; an IPv4 address that is written as IPv6 is
// itself.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// networkOf returns the part of an address that one person has to themselves: an
// IPv4 address or an IPv6 /64.
func networkOf(a netip.Addr) string {
	if a.Is6() {
		prefix, _ := a.Prefix(64)
		return prefix.String()
	}
	return a.String()
}
