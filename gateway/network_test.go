package gateway

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

// behind makes a gateway that trusts these proxies.
func behind(proxies ...string) func(*Options) {
	return func(o *Options) {
		for _, p := range proxies {
			o.TrustedProxies = append(o.TrustedProxies, netip.MustParsePrefix(p))
		}
	}
}

func TestNetwork(t *testing.T) {
	o := Options{}
	behind("10.0.0.0/8", "2001:db8:ffff::/48")(&o)
	g := &Gateway{o: o}
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"IPv4", "192.0.2.7:1234", nil, "192.0.2.7"},
		{"IPv4 as IPv6", "[::ffff:192.0.2.7]:1234", nil, "192.0.2.7"},
		{"IPv6", "[2001:db8:1:2:3:4:5:6]:1234", nil, "2001:db8:1:2::/64"},
		{"zone", "[fe80::1:2:3:4%eth0]:1", nil, "fe80::/64"},
		{"no address", "@", []string{"192.0.2.1"}, "@"},

		{"forged by a client", "192.0.2.7:1", []string{"198.51.100.1"}, "192.0.2.7"},
		{"behind a proxy", "10.0.0.1:1", []string{"192.0.2.7"}, "192.0.2.7"},
		{"proxy over IPv6", "[2001:db8:ffff::1]:1", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"proxy as IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
		{"two proxies", "10.0.0.1:1", []string{"192.0.2.7, 10.2.3.4"}, "192.0.2.7"},
		{"two proxies, a line each", "10.0.0.1:1", []string{"192.0.2.7", "10.2.3.4"}, "192.0.2.7"},
		{"forged through a proxy", "10.0.0.1:1", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7"},
		{"forged as a proxy", "10.0.0.1:1", []string{"198.51.100.1, 10.9.9.9, 192.0.2.7,10.2.3.4"}, "192.0.2.7"},
		{"forged in a line of its own", "10.0.0.1:1", []string{"198.51.100.1", "192.0.2.7"}, "192.0.2.7"},
		{"ports", "10.0.0.1:1", []string{"192.0.2.7:4711, 10.2.3.4:80"}, "192.0.2.7"},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8:1:2::4]:4711"}, "2001:db8:1:2::/64"},
		{"IPv6 in brackets", "10.0.0.1:1", []string{" [2001:db8:1:2::4] "}, "2001:db8:1:2::/64"},
		{"proxies alone", "10.0.0.1:1", []string{"10.7.7.7, 10.2.3.4"}, "10.7.7.7"},

		{"no header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"empty", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"unknown", "10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
		{"damaged before a proxy", "10.0.0.1:1", []string{"192.0.2.7, nonsense, 10.2.3.4"}, "10.2.3.4"},
		{"damaged further left", "10.0.0.1:1", []string{"\x00 nonsense,, 192.0.2.7"}, "192.0.2.7"},
		{"commas", "10.0.0.1:1", []string{",,,"}, "10.0.0.1"},
		{"comma at the end", "10.0.0.1:1", []string{"192.0.2.7,"}, "10.0.0.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.peer
		r.Header["X-Forwarded-For"] = tt.forwarded
		equal(t, tt.name, g.network(r), tt.want)
	}
}

// Whoever trusts everybody trusts what anybody writes.
func TestTrustedProxiesAreProxies(t *testing.T) {
	full := start(t).o
	for prefix, ok := range map[string]bool{
		"10.0.0.0/8": true, "10.1.2.3/32": true, "::1/128": true, "0.0.0.0/0": false, "::/0": false, "::ffff:10.0.0.0/104": false,
	} {
		full.TrustedProxies, full.Registerer = []netip.Prefix{netip.MustParsePrefix(prefix)}, nil
		if _, err := New(full); (err == nil) != ok {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}

// Behind a proxy two clients are two networks: for limits and in the audit log.
// Where nobody is trusted, what a client writes makes it no other one.
func TestBehindProxy(t *testing.T) {
	for name, tt := range map[string]struct {
		change []func(*Options)
		other  int    // status of the other client's login
		told   string // network in the audit log
	}{
		"a trusted proxy":         {[]func(*Options){still, behind(proxy)}, 200, "192.0.2.1"},
		"a proxy nobody spoke of": {[]func(*Options){still}, 429, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, tt.change...)
			s.user("a@example.org")
			for range accountFromNetwork.Burst {
				s.logIn("192.0.2.1", "a@example.org", "a guess").want(401)
			}
			s.logIn("192.0.2.1", "a@example.org", password).want(429, "too_many_logins")
			s.logIn("192.0.2.2", "a@example.org", password).want(tt.other)
			events, err := s.o.Users.Events(t.Context(), "", 100)
			check(t, err)
			if len(events) == 0 {
				t.Error("the audit log is empty")
			}
			for _, e := range events {
				equal(t, "network in the audit log", e.Network, tt.told)
				equal(t, "action", e.Action, account.ActionLogin)
			}
		})
	}
}

// logIn tries a password from this address, if the gateway trusts 127.0.0.1.
func (s *stack) logIn(from, email, password string) reply {
	s.t.Helper()
	return s.send("POST", "/v1/session", api.Credentials{Email: email, Password: password}, "X-Forwarded-For", from)
}
