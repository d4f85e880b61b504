package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/emersion/go-smtp"
)

// SMTP serves a mail server without TLS and login in this process, until s
// is closed. It writes each mail to a file in a folder; 000001.eml is the
// first. A file appears only when it is complete.
func (s *Scratch) SMTP(ctx context.Context) (*Server, error) {
	dir, err := s.Folder("mails")
	if err != nil {
		return nil, err
	}
	port, err := s.port(ctx, "1025")
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(s.Host, port))
	if err != nil {
		return nil, err
	}
	box := &mailbox{dir: dir}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return box, nil }))
	server.Domain = "localhost"
	server.EnableSMTPUTF8 = true
	go func() { _ = server.Serve(l) }()
	s.closers = append(s.closers, func() { _ = server.Close() })
	addr := l.Addr().String()
	return &Server{Addr: addr, Dir: dir, Env: []string{"TONEARM_TEST_SMTP=" + addr, "TONEARM_TEST_MAILS=" + dir}}, nil
}

// mailbox accepts every mail, in every session.
type mailbox struct {
	dir  string
	mail atomic.Int64
}

func (*mailbox) Mail(string, *smtp.MailOptions) error { return nil }
func (*mailbox) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*mailbox) Reset()                               {}
func (*mailbox) Logout() error                        { return nil }

func (m *mailbox) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	path := filepath.Join(m.dir, fmt.Sprintf("%06d.eml", m.mail.Add(1)))
	if err := os.WriteFile(path+".part", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
