package smtpmail

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"tonearm/internal/mail"
	"tonearm/internal/mail/mailtest"
)

const password = "the-secret-password"

func open(t *testing.T, sink *mailtest.Sink, change func(*Options)) *Sender {
	t.Helper()
	o := Options{
		Host: sink.Host, Port: sink.Port, RootCAs: sink.RootCAs,
		From: "Tonearm <tonearm@example.org>", Username: "tonearm", Password: password, Timeout: 10 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var login = mailtest.SinkOptions{Username: "tonearm", Password: password}

func TestSuite(t *testing.T) {
	for name, c := range map[string]struct {
		sink   mailtest.SinkOptions
		change func(*Options)
	}{
		"STARTTLS": {login, nil},
		"Implicit": {mailtest.SinkOptions{Implicit: true, Username: "tonearm", Password: password}, func(o *Options) { o.TLS = Implicit }},
		"None":     {mailtest.SinkOptions{Plain: true}, func(o *Options) { o.TLS, o.Username, o.Password = None, "", "" }},
		"NoLogin":  {mailtest.SinkOptions{}, func(o *Options) { o.Username, o.Password = "", "" }},
	} {
		t.Run(name, func(t *testing.T) {
			mailtest.Run(t, func(t *testing.T) mailtest.Box {
				sink := mailtest.NewSink(t, c.sink)
				return mailtest.Box{Sender: open(t, sink, c.change), Delivered: func() (raw [][]byte) {
					for _, m := range sink.Mails() {
						raw = append(raw, m.Raw)
					}
					return raw
				}}
			})
		})
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name               string
		rcpt, data         error
		permanent, unknown bool
	}{
		{"recipient for later", mailtest.Later, nil, false, false},
		{"recipient refused", mailtest.Refused, nil, true, false},
		{"recipient needs a login", &smtp.SMTPError{Code: 530, Message: "log in first"}, nil, false, false},
		{"mail for later", nil, mailtest.Later, false, false},
		{"mail refused", nil, mailtest.Refused, true, false},
		{"dropped at the recipient", mailtest.ErrDrop, nil, false, false},
		{"dropped after the mail", nil, mailtest.ErrDrop, false, true},
		{"an address in the reply", &smtp.SMTPError{Code: 550, Message: "<ada+mp3@example.org>: forwarded to Eve@Example.org, unknown"}, nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := mailtest.NewSink(t, login)
			sink.OnRcpt(func(string) error { return c.rcpt })
			sink.OnData(func(mailtest.Received) error { return c.data })
			s := open(t, sink, nil)
			err := s.Send(t.Context(), mailtest.Sample())
			var failed *mail.Error
			if !errors.As(err, &failed) || failed.Permanent != c.permanent || failed.Unknown != c.unknown {
				t.Fatalf("got %#v (%v), want permanent %v, unknown %v", err, err, c.permanent, c.unknown)
			}
			if strings.Contains(strings.ToLower(err.Error()), "@example.org") {
				t.Errorf("an address shows in %q", err)
			}
			sink.OnRcpt(func(string) error { return nil })
			sink.OnData(func(mailtest.Received) error { return nil })
			if err := s.Send(t.Context(), mailtest.Sample()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func temporary(t *testing.T, what string, err error) {
	t.Helper()
	var failed *mail.Error
	if !errors.As(err, &failed) || failed.Permanent || failed.Unknown {
		t.Errorf("%s: got %#v (%v), want a temporary *mail.Error", what, err, err)
	}
	if err != nil && strings.Contains(err.Error(), password) {
		t.Errorf("%s: the password shows in %q", what, err)
	}
}

func TestNoPasswordWithoutEncryption(t *testing.T) {
	stripped := login
	stripped.Plain = true // offers AUTH, but no STARTTLS
	sink := mailtest.NewSink(t, stripped)
	temporary(t, "no STARTTLS", open(t, sink, nil).Send(t.Context(), mailtest.Sample()))

	trusted := mailtest.NewSink(t, login)
	temporary(t, "unknown certificate", open(t, trusted, func(o *Options) { o.RootCAs = x509.NewCertPool() }).Send(t.Context(), mailtest.Sample()))
	temporary(t, "another host's certificate", open(t, trusted, func(o *Options) { o.Host = "localhost" }).Send(t.Context(), mailtest.Sample()))
	for _, s := range []*mailtest.Sink{sink, trusted} {
		if s.Logins() != 0 || s.Tries() != 0 {
			t.Errorf("%d passwords and %d mails were offered", s.Logins(), s.Tries())
		}
	}
}

// A failure that the operator can fix does not count against the mail.
func TestOurOwnFaults(t *testing.T) {
	sink := mailtest.NewSink(t, login)
	temporary(t, "wrong password", open(t, sink, func(o *Options) { o.Password = "another" }).Send(t.Context(), mailtest.Sample()))
	temporary(t, "no login", open(t, sink, func(o *Options) { o.Username, o.Password = "", "" }).Send(t.Context(), mailtest.Sample()))
	if err := open(t, sink, func(o *Options) { o.Password = "another" }).Ping(t.Context()); err == nil {
		t.Error("ping with a wrong password")
	}
	temporary(t, "no login offered", open(t, mailtest.NewSink(t, mailtest.SinkOptions{}), nil).Send(t.Context(), mailtest.Sample()))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	down := open(t, sink, func(o *Options) { o.Port = port })
	temporary(t, "server down", down.Send(t.Context(), mailtest.Sample()))
	if err := down.Ping(t.Context()); err == nil {
		t.Error("ping of nobody")
	}
}

func TestTimeoutIsForTheWhole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mute := open(t, mailtest.NewSink(t, login), func(o *Options) {
		o.Port, o.Timeout = l.Addr().(*net.TCPAddr).Port, 50*time.Millisecond
	})
	err = mute.Send(t.Context(), mailtest.Sample())
	temporary(t, "mute server", err)
	if !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("got %v, want a deadline", err)
	}

	sink := mailtest.NewSink(t, login)
	answer := make(chan struct{})
	sink.OnData(func(mailtest.Received) error { <-answer; return nil })
	defer close(answer)
	var failed *mail.Error
	err = open(t, sink, func(o *Options) { o.Answer = 500 * time.Millisecond }).Send(t.Context(), mailtest.Sample())
	if !errors.As(err, &failed) || failed.Permanent || !failed.Unknown {
		t.Errorf("no answer to the mail: got %#v, want an unknown outcome", err)
	}
}

// A server may take longer to take a mail than all that comes before.
func TestSlowAnswer(t *testing.T) {
	sink := mailtest.NewSink(t, login)
	const limit = 500 * time.Millisecond
	sink.OnData(func(mailtest.Received) error { <-time.After(2 * limit); return nil })
	if err := open(t, sink, func(o *Options) { o.Timeout = limit }).Send(t.Context(), mailtest.Sample()); err != nil {
		t.Errorf("a slow answer: %v", err)
	}
}

func TestAddressesBeyondASCII(t *testing.T) {
	m := mailtest.Sample()
	m.To = "用户@example.org"
	sink := mailtest.NewSink(t, login)
	if err := open(t, sink, nil).Send(t.Context(), m); !mail.Permanent(err) {
		t.Errorf("without SMTPUTF8: got %v, want a permanent error", err)
	}
	able := login
	able.SMTPUTF8 = true
	sink = mailtest.NewSink(t, able)
	if err := open(t, sink, nil).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := sink.Wait(t, 1)[0]
	if to := mailtest.Parse(t, got.Raw).Header.Get("To"); got.To != m.To || !strings.Contains(to, m.To) {
		t.Errorf("sent to %s, header %s", got.To, to)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Host: "mail.example.org", From: "tonearm@example.org"}
	for name, change := range map[string]func(*Options){
		"no host": func(o *Options) { o.Host = "" }, "no sender": func(o *Options) { o.From = "" },
		"sender with a line break": func(o *Options) { o.From = "a@example.org\r\nBcc: b@example.org" },
		"unknown TLS":              func(o *Options) { o.TLS = "ssl" }, "port": func(o *Options) { o.Port = 70000 },
		"login in the clear":    func(o *Options) { o.TLS, o.Username, o.Password = None, "u", "p" },
		"password without name": func(o *Options) { o.Password = "p" }, "time-out": func(o *Options) { o.Timeout = -1 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for tls, port := range map[TLS]int{"": 587, STARTTLS: 587, Implicit: 465, None: 25} {
		o := good
		o.TLS = tls
		if s, err := New(o); err != nil || s.options.Port != port || s.Timeout() != 30*time.Second+10*time.Minute {
			t.Errorf("TLS %q: %+v, %v", tls, s, err)
		}
	}
	o := good
	o.Username, o.Password = "u", password
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("mail", "options", o)
	for _, s := range []string{log.String(), fmt.Sprint(o), fmt.Sprintf("%+v %#v %s", o, o, &o)} {
		if strings.Contains(s, password) || !strings.Contains(s, "mail.example.org") {
			t.Errorf("options print as %s", s)
		}
	}
}
