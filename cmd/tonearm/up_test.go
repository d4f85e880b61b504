package main

import (
	"strings"
	"testing"

	"tonearm/internal/blob/s3blob"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/standalone"
)

// The first word of a line names what the second one is.
func TestBanner(t *testing.T) {
	embedded := standalone.Addresses{
		PublicURL: "http://localhost:8080", Admin: "http://127.0.0.1:9090", Events: "http://127.0.0.1:8081", InboxKey: "/abs/.tonearm/inbox.env",
		S3: s3blob.Options{Endpoint: "http://127.0.0.1:9000", Bucket: "tonearm", AccessKey: "ROOT", SecretKey: "SECRET"},
	}
	other := embedded
	other.InboxKey, other.S3.PublicEndpoint = "", "https://s3.example.org"
	for name, tt := range map[string]struct {
		addresses standalone.Addresses
		terminal  bool
		smtp      string
		want      map[string]string
	}{
		"to a file": {embedded, false, "", map[string]string{
			"gateway": "http://localhost:8080", "store": "http://127.0.0.1:9000", "bucket": "tonearm", "admin": "http://127.0.0.1:9090",
			"events": "http://127.0.0.1:8081", "data": ".tonearm", "mails": ".tonearm/outbox", "inbox-key": ".tonearm/inbox.env",
			"root-key": "", "To": "convert", ".": ".tonearm/inbox.env",
		}},
		"to a terminal":            {embedded, true, "", map[string]string{"gateway": "http://localhost:8080", "inbox-key": ".tonearm/inbox.env", "root-key": "ROOT"}},
		"store and mail of others": {other, true, "mail.example.org", map[string]string{"store": "https://s3.example.org", "mails": "mail.example.org", "inbox-key": "", "root-key": "", "To": ""}},
	} {
		fl := &upFlags{smtp: &smtpmail.Options{Host: tt.smtp}, o: standalone.Options{Data: ".tonearm"}}
		var out strings.Builder
		fl.banner(&out, tt.terminal, tt.addresses)
		got := map[string]string{}
		for line := range strings.Lines(out.String()) {
			if words := strings.Fields(line); len(words) > 1 {
				got[words[0]] = words[1]
			}
		}
		for word, want := range tt.want {
			if got[word] != want {
				t.Errorf("%s: %s is %q, want %q", name, word, got[word], want)
			}
		}
		if secret := strings.Contains(out.String(), "SECRET"); secret != (tt.want["root-key"] != "") {
			t.Errorf("%s: the secret key is printed: %t", name, secret)
		}
	}
}
