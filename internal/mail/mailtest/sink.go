package mailtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Sink is an SMTP server that keeps the mails it gets. It listens on loopback
// with a certificate that it made itself, until the test ends.
type Sink struct {
	Host    string
	Port    int
	RootCAs *x509.CertPool // trusts the sink's certificate
	CertPEM []byte         // the certificate, for another process's SSL_CERT_FILE

	options SinkOptions
	mu      sync.Mutex
	mails   []Received
	tries   int
	logins  int
	rcpt    func(to string) error
	data    func(Received) error
	arrived chan struct{} // closed and replaced with each mail
}

// SinkOptions say how a Sink behaves.
type SinkOptions struct {
	Implicit           bool   // TLS from the first byte
	Plain              bool   // no TLS at all
	Username, Password string // if set, a login is required; it is offered without TLS too
	SMTPUTF8           bool
}

// Received is one mail as it arrived.
type Received struct {
	From, To string
	Raw      []byte
}

// Replies for OnRcpt and OnData.
var (
	Later   = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "come again"}
	Refused = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	// ErrDrop ends the connection without a reply. If OnData returns it, the
	// mail was accepted and the client cannot know that.
	ErrDrop = errors.New("connection dropped")
)

// NewSink starts a sink.
func NewSink(t testing.TB, o SinkOptions) *Sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	s := &Sink{
		Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, RootCAs: pool, CertPEM: certPEM, options: o,
		rcpt: func(string) error { return nil }, data: func(Received) error { return nil },
		arrived: make(chan struct{}),
	}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{sink: s, conn: c}, nil }))
	server.Domain = "sink.example.org"
	server.EnableSMTPUTF8 = o.SMTPUTF8
	server.AllowInsecureAuth = true
	server.ErrorLog = log.New(io.Discard, "", 0)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	switch {
	case o.Implicit:
		listener = tls.NewListener(listener, config)
	case !o.Plain:
		server.TLSConfig = config
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // the server does not close it before it serves
		<-done
	})
	return s
}

// OnRcpt decides about recipients from now on.
func (s *Sink) OnRcpt(f func(to string) error) { s.mu.Lock(); defer s.mu.Unlock(); s.rcpt = f }

// OnData decides about mails from now on. A mail for which it returns ErrDrop
// counts as received.
func (s *Sink) OnData(f func(Received) error) { s.mu.Lock(); defer s.mu.Unlock(); s.data = f }

// Mails returns what was received so far.
func (s *Sink) Mails() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Received(nil), s.mails...)
}

// Tries counts the mails that were begun, refused ones included.
func (s *Sink) Tries() int { s.mu.Lock(); defer s.mu.Unlock(); return s.tries }

// Logins counts the passwords that were offered, wrong ones included.
func (s *Sink) Logins() int { s.mu.Lock(); defer s.mu.Unlock(); return s.logins }

// Wait returns what was received, as soon as that is n mails.
func (s *Sink) Wait(t testing.TB, n int) []Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		s.mu.Lock()
		mails, arrived := append([]Received(nil), s.mails...), s.arrived
		s.mu.Unlock()
		if len(mails) >= n {
			return mails
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatalf("%d mails came, want %d", len(mails), n)
		}
	}
}

func (s *Sink) take(m Received) error {
	s.mu.Lock()
	decide := s.data
	s.mu.Unlock()
	err := decide(m)
	if err == nil || errors.Is(err, ErrDrop) {
		s.mu.Lock()
		s.mails = append(s.mails, m)
		close(s.arrived)
		s.arrived = make(chan struct{})
		s.mu.Unlock()
	}
	return err
}

type session struct {
	sink   *Sink
	conn   *smtp.Conn
	mail   Received
	authed bool
}

func (s *session) AuthMechanisms() []string {
	if s.sink.options.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		s.sink.mu.Lock()
		defer s.sink.mu.Unlock()
		s.sink.logins++
		if username != s.sink.options.Username || password != s.sink.options.Password {
			return smtp.ErrAuthFailed
		}
		s.authed = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.tries++
	if s.sink.options.Username != "" && !s.authed {
		return smtp.ErrAuthRequired
	}
	s.mail = Received{From: from}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.sink.mu.Lock()
	decide := s.sink.rcpt
	s.sink.mu.Unlock()
	s.mail.To = to
	return s.dropped(decide(to))
}

func (s *session) Data(r io.Reader) error {
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return err
	}
	s.mail.Raw = b.Bytes()
	return s.dropped(s.sink.take(s.mail))
}

func (s *session) dropped(err error) error {
	if errors.Is(err, ErrDrop) {
		_ = s.conn.Conn().Close()
	}
	return err
}

func (s *session) Reset()        { s.mail = Received{} }
func (s *session) Logout() error { return nil }

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
