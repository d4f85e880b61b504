package standalone

import (
	"net"
	"strings"
	"testing"

	"tonearm/gateway"
	"tonearm/internal/mail"
)

// Who may make an account follows from who can reach the server.
func TestRegistration(t *testing.T) {
	for name, tt := range map[string]struct {
		listen, public    string
		smtp, open, self  bool
		wantOpen, wantOwn bool
		says              string
	}{
		"this machine":               {"127.0.0.1:0", "http://localhost:8080", false, true, false, true, true, "confirmed at once"},
		"this machine, with SMTP":    {"127.0.0.1:0", "http://127.0.0.1:8080", true, true, false, true, true, "confirmed at once"},
		"this machine, closed":       {"127.0.0.1:0", "http://localhost:8080", false, false, false, false, false, "tonearm user add EMAIL"},
		"everywhere":                 {"0.0.0.0:0", "http://localhost:8080", false, true, false, false, false, "tonearm user add EMAIL --users data/tonearm.db; registration is closed"},
		"everywhere, against advice": {"0.0.0.0:0", "http://localhost:8080", false, true, true, false, false, "registration is closed"},
		"everywhere, with SMTP":      {"0.0.0.0:0", "http://192.0.2.1:8080", true, true, false, true, false, "a mail proves the address"},
		"behind a proxy":             {"127.0.0.1:0", "https://tonearm.example.org", false, true, false, false, false, "registration is closed"},
		"behind a proxy, with SMTP":  {"127.0.0.1:0", "https://tonearm.example.org", true, true, false, true, false, "a mail proves the address"},
	} {
		front, err := net.Listen("tcp", tt.listen)
		if err != nil {
			t.Fatal(err)
		}
		defer front.Close()
		r := &instance{Options: Options{Data: "data", Gateway: gateway.Options{PublicURL: tt.public, OpenRegistration: tt.open, SelfConfirm: tt.self}}, front: front}
		if tt.smtp {
			r.Sender = struct{ mail.Sender }{}
		}
		r.registration()
		if r.Gateway.OpenRegistration != tt.wantOpen || r.Gateway.SelfConfirm != tt.wantOwn || !strings.Contains(r.accounts, tt.says) {
			t.Errorf("%s: open %t, confirms itself %t, says %q", name, r.Gateway.OpenRegistration, r.Gateway.SelfConfirm, r.accounts)
		}
		if r.Users = (struct{ Users }{}); strings.Contains(r.accounts, "tonearm.db") {
			if r.registration(); !strings.Contains(r.accounts, "--users DSN") {
				t.Errorf("%s, on another database: says %q", name, r.accounts)
			}
		}
	}
}
