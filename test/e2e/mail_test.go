package e2e

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

// letter is a mail as its reader sees it.
type letter struct {
	to, subject, messageID, text string
}

var linkPattern = regexp.MustCompile(`https?://[^\s"<>]*mp3_id=[^\s"<>]*`)

// link is the download link in the text.
func (l letter) link() string { return linkPattern.FindString(l.text) }

// readLetter decodes a raw mail.
func readLetter(t *testing.T, raw string) letter {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("not a mail: %v\n%s", err, raw)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	l := letter{to: m.Header.Get("To"), subject: subject, messageID: m.Header.Get("Message-ID")}
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
			l.text = string(b)
		}
	}
	return l
}

// outbox reads the mails that `tonearm up` left as files.
func outbox(t *testing.T, dir string) []letter {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "outbox", "*.eml"))
	var letters []letter
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, readLetter(t, string(b)))
	}
	return letters
}

// sink is an SMTP server that keeps what it accepts.
type sink struct {
	addr string

	mu   sync.Mutex
	raw  []string
	hold chan struct{} // while not nil, each mail waits for a value before it is accepted
}

// startSink listens on a free port; with a certificate it insists on STARTTLS
// and a login as tonearm.
func startSink(t *testing.T, cert *tls.Certificate) *sink {
	t.Helper()
	s := &sink{}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &sinkSession{sink: s, conn: c, secured: cert == nil}, nil
	}))
	server.Domain = "localhost"
	server.AllowInsecureAuth = false
	if cert != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return s
}

// letters are the mails accepted so far.
func (s *sink) letters(t *testing.T) []letter {
	s.mu.Lock()
	raw := append([]string(nil), s.raw...)
	s.mu.Unlock()
	var letters []letter
	for _, r := range raw {
		letters = append(letters, readLetter(t, r))
	}
	return letters
}

type sinkSession struct {
	sink    *sink
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

func (s *sinkSession) Mail(string, *smtp.MailOptions) error {
	if _, tls := s.conn.TLSConnectionState(); !s.secured && (!tls || !s.authed) {
		return &smtp.SMTPError{Code: 530, Message: "TLS and login first"}
	}
	return nil
}

func (s *sinkSession) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (s *sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read mail: %w", err)
	}
	s.sink.mu.Lock()
	s.sink.raw = append(s.sink.raw, string(b))
	hold := s.sink.hold
	s.sink.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return nil
}

func (s *sinkSession) Reset()        {}
func (s *sinkSession) Logout() error { return nil }
