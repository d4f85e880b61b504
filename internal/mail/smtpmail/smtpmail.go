// Package smtpmail hands mails to an SMTP server.
//
// The connection is encrypted unless TLS is None: by STARTTLS, which the server
// must offer, or from the first byte. A password is never sent over a
// connection that is not encrypted. Each mail has a connection of its own.
//
// If the server refuses the recipient or the mail with 5xx, the error is
// permanent. If it refuses the connection, the login or our own address, the
// error is not permanent: an operator can fix that, and the mails wait for it.
package smtpmail

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"tonearm/internal/mail"
	"tonearm/internal/mail/eml"
)

// TLS is how a connection is encrypted.
type TLS string

// The ways to encrypt.
const (
	STARTTLS TLS = "starttls" // after EHLO; a server that does not offer it is not used
	Implicit TLS = "implicit" // from the first byte
	None     TLS = "none"     // not at all, and without a login
)

// Options say where and how mails are handed over.
type Options struct {
	Host     string
	Port     int // default 587, for Implicit 465, for None 25
	Username string
	Password string
	From     string         // such as "Tonearm <tonearm@example.org>"
	TLS      TLS            // default DefaultTLS
	Timeout  time.Duration  // for one mail until all of it is sent; default DefaultTimeout
	Answer   time.Duration  // then for the server's answer; default DefaultAnswer
	RootCAs  *x509.CertPool // nil for the system's
}

// Defaults of Options.
const (
	DefaultTLS     = STARTTLS
	DefaultTimeout = 30 * time.Second // for one mail
	// DefaultAnswer is how long RFC 5321, section 4.5.3.2.6, lets a server take
	// to answer after the last line of a mail. Who gives up earlier may send the
	// mail twice.
	DefaultAnswer = 10 * time.Minute
)

// ports are the default ports.
var ports = map[TLS]int{STARTTLS: 587, Implicit: 465, None: 25}

func (o Options) withDefaults() Options {
	o.TLS = cmp.Or(o.TLS, DefaultTLS)
	o.Port = cmp.Or(o.Port, ports[o.TLS])
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Answer = cmp.Or(o.Answer, DefaultAnswer)
	return o
}

func (o Options) validate() error {
	switch _, known := ports[o.TLS]; {
	case !known:
		return fmt.Errorf("TLS is %q; use starttls, implicit or none", o.TLS)
	case o.Host == "":
		return errors.New("the mail server's host is missing")
	case o.Port < 0 || o.Port > 65535:
		return fmt.Errorf("there is no port %d; use 1 to 65535", o.Port)
	case o.Timeout < 0 || o.Answer < 0:
		return errors.New("the time-outs must not be negative")
	case o.Username != "" && o.TLS == None:
		return errors.New("a login at the mail server needs TLS; use starttls or implicit")
	case o.Username == "" && o.Password != "":
		return errors.New("there is a password for the mail server, but no user name")
	}
	return nil
}

// LogValue shows the options without the password.
func (o Options) LogValue() slog.Value {
	return slog.GroupValue(slog.String("host", o.Host), slog.Int("port", o.Port), slog.String("tls", string(o.TLS)),
		slog.Bool("login", o.Username != ""), slog.Duration("timeout", o.Timeout))
}

// String shows the options without the password.
func (o Options) String() string { return o.LogValue().String() }

// GoString shows the options without the password.
func (o Options) GoString() string { return o.String() }

// Sender is a mail.Sender over SMTP.
type Sender struct {
	options  Options
	from     *netmail.Address
	hostname string // the name in our EHLO
}

var _ mail.Sender = (*Sender)(nil)

// New checks the options; it contacts nobody.
func New(o Options) (*Sender, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("SMTP: %w", err)
	}
	from, err := netmail.ParseAddress(o.From)
	if err != nil {
		return nil, fmt.Errorf("SMTP: the sender's address: %w", err)
	}
	hostname, err := os.Hostname()
	if err != nil || hostname == "" {
		hostname = "localhost"
	}
	return &Sender{options: o, from: from, hostname: hostname}, nil
}

// Timeout is the longest that Send takes.
func (s *Sender) Timeout() time.Duration { return s.options.Timeout + s.options.Answer }

// Ping connects and logs in.
func (s *Sender) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	return s.session(ctx, func(*smtp.Client) error { return nil })
}

// Send hands one mail over. An error is a *mail.Error that does not contain the
// recipient's address.
func (s *Sender) Send(ctx context.Context, m mail.Message) error {
	msg, err := eml.New(s.from, m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(s.options.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	failed := mail.Error{}
	err = s.session(ctx, func(c *smtp.Client) error {
		if utf8, _ := c.Extension("SMTPUTF8"); !utf8 && !ascii(m.To+s.from.Address) {
			failed.Permanent = !ascii(m.To)
			return errors.New("the mail server takes only addresses in ASCII")
		}
		if err := c.Mail("<" + s.from.Address + ">"); err != nil {
			return fmt.Errorf("sender refused: %w", err)
		}
		if err := c.Rcpt("<" + m.To + ">"); err != nil {
			failed.Permanent = permanent(err)
			return fmt.Errorf("recipient refused: %w", err)
		}
		w, err := c.Data()
		if err != nil {
			failed.Permanent = permanent(err)
			return fmt.Errorf("mail refused: %w", err)
		}
		if _, err := msg.WriteTo(w); err != nil {
			return fmt.Errorf("send mail: %w", err) // the server accepts nothing without the last line
		}
		late.Reset(s.options.Answer)
		if err := w.Close(); err != nil {
			var reply *textproto.Error
			failed.Permanent, failed.Unknown = permanent(err), !errors.As(err, &reply)
			return fmt.Errorf("mail not taken: %w", err)
		}
		return nil
	})
	if err == nil {
		return nil
	}
	failed.Err = errors.New(redact(err.Error(), m.To))
	return &failed
}

// session connects, encrypts, logs in, calls do and says goodbye. It ends when
// ctx does.
func (s *Sender) session(ctx context.Context, do func(*smtp.Client) error) (err error) {
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.options.Host, strconv.Itoa(s.options.Port)))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	plain := conn
	defer func() { _ = plain.Close() }()
	defer context.AfterFunc(ctx, func() { _ = plain.SetDeadline(time.Unix(1, 0)) })()

	config := &tls.Config{ServerName: s.options.Host, RootCAs: s.options.RootCAs, MinVersion: tls.VersionTLS12}
	if s.options.TLS == Implicit {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, s.options.Host)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := c.Hello(s.hostname); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if s.options.TLS == STARTTLS {
		if offered, _ := c.Extension("STARTTLS"); !offered {
			return errors.New("the mail server does not offer STARTTLS")
		}
		if err := c.StartTLS(config); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if s.options.Username != "" {
		if err := s.login(c); err != nil {
			return fmt.Errorf("login: %w", err)
		}
	}
	if err := do(c); err != nil {
		return err
	}
	_ = c.Quit() // what the server accepted stays accepted
	return nil
}

// login uses the first mechanism that the server offers and that the client
// knows. None of them sends the password over a connection without TLS.
func (s *Sender) login(c *smtp.Client) error {
	_, offered := c.Extension("AUTH")
	user, password := s.options.Username, s.options.Password
	for _, mechanism := range strings.Fields(offered) {
		switch mechanism {
		case "PLAIN":
			return c.Auth(smtp.PlainAuth("", user, password, s.options.Host, false))
		case "LOGIN":
			return c.Auth(smtp.LoginAuth(user, password, s.options.Host, false))
		case "SCRAM-SHA-256":
			return c.Auth(smtp.ScramSHA256Auth(user, password))
		case "CRAM-MD5":
			return c.Auth(smtp.CRAMMD5Auth(user, password))
		}
	}
	return fmt.Errorf("the mail server offers the logins %q, but Tonearm knows only PLAIN, LOGIN, SCRAM-SHA-256 and CRAM-MD5", offered)
}

// permanent reports whether a reply says that trying again cannot help.
func permanent(err error) bool {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return false
	}
	switch reply.Code {
	case 530, 534, 535, 538: // about the login, which the operator can mend
		return false
	}
	return reply.Code >= 500
}

var address = regexp.MustCompile(`[^\s<>"',;:()\[\]]+@[^\s<>"',;:()\[\]]+`)

// redact removes addresses from what a server said, because reasons are logged.
func redact(s, to string) string {
	return address.ReplaceAllString(strings.ReplaceAll(s, to, "[address]"), "[address]")
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}
