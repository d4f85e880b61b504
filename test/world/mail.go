package world

import (
	"crypto/tls"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Letter is a mail as its reader sees it.
type Letter struct {
	To, Subject, MessageID, Text string
}

var linkPattern = regexp.MustCompile(`https?://[^\s"<>]*mp3_id=[^\s"<>]*`)

// Link is the download link in the text.
func (l Letter) Link() string { return linkPattern.FindString(l.Text) }

// ReadLetter decodes a raw mail.
func ReadLetter(t *testing.T, raw string) Letter {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("not a mail: %v\n%s", err, raw)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	l := Letter{To: m.Header.Get("To"), Subject: subject, MessageID: m.Header.Get("Message-ID")}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.Header.Get("Content-Type"), "text/plain") {
			var r io.Reader = p
			if strings.EqualFold(p.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
				r = quotedprintable.NewReader(p)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			l.Text = string(b)
		}
	}
	return l
}

// Outbox reads the mails that `tonearm up` left as files.
func Outbox(t *testing.T, dir string) []Letter {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "outbox", "*.eml"))
	var letters []Letter
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, ReadLetter(t, string(b)))
	}
	return letters
}

// Sink is an SMTP server that keeps what it accepts.
type Sink struct {
	Host, Port string
	Hold       chan struct{} // while not nil, each mail waits for a value after it was stored

	mu      sync.Mutex
	raw     []string
	mood    Mood
	changed chan struct{} // closed when the mood changes
	hanging int           // mails that it has read and not answered
}

// Mood is what a Sink does with a mail.
type Mood int

// Moods of a Sink.
const (
	Accept Mood = iota
	Refuse      // temporarily: 451
	Hang        // read the mail and do not answer
)

// StartSink listens on a free port. With a certificate it requires STARTTLS and
// a login as tonearm.
func StartSink(t *testing.T, cert *tls.Certificate) *Sink {
	t.Helper()
	s := &Sink{changed: make(chan struct{})}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &sinkSession{Sink: s, conn: c, secured: cert == nil}, nil
	}))
	server.Domain = "localhost"
	if cert != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Host, s.Port, _ = net.SplitHostPort(l.Addr().String())
	go server.Serve(l)
	t.Cleanup(func() {
		s.Become(Refuse) // so that no mail hangs any more
		server.Close()
	})
	return s
}

// Become changes what the sink does; hanging mails are refused.
func (s *Sink) Become(m Mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = m
	close(s.changed)
	s.changed = make(chan struct{})
}

// Hanging is how many mails hang.
func (s *Sink) Hanging() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hanging
}

// Letters returns the mails that were accepted so far.
func (s *Sink) Letters(t *testing.T) []Letter {
	s.mu.Lock()
	raw := append([]string(nil), s.raw...)
	s.mu.Unlock()
	var letters []Letter
	for _, r := range raw {
		letters = append(letters, ReadLetter(t, r))
	}
	return letters
}

type sinkSession struct {
	*Sink
	conn    *smtp.Conn
	secured bool
	authed  bool
}

func (s *sinkSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *sinkSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "tonearm" || password != "sink-password" {
			return smtp.ErrAuthFailed
		}
		s.authed = true
		return nil
	}), nil
}

var later = &smtp.SMTPError{Code: 451, Message: "later"}

func (s *sinkSession) Mail(string, *smtp.MailOptions) error {
	if _, tls := s.conn.TLSConnectionState(); !s.secured && (!tls || !s.authed) {
		return &smtp.SMTPError{Code: 530, Message: "TLS and login first"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mood == Refuse {
		return later
	}
	return nil
}

func (s *sinkSession) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (s *sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read mail: %w", err)
	}
	s.mu.Lock()
	if s.mood == Accept {
		s.raw = append(s.raw, string(b))
		s.mu.Unlock()
		if s.Hold != nil {
			<-s.Hold
		}
		return nil
	}
	changed := s.changed
	s.hanging++
	s.mu.Unlock()
	<-changed
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hanging--
	return later
}

func (s *sinkSession) Reset()        {}
func (s *sinkSession) Logout() error { return nil }
