// Package filemail delivers mails into a folder, one .eml file each, which any
// mail program opens.
package filemail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tonearm/internal/durable"
	"tonearm/internal/mail"
	"tonearm/internal/mail/eml"
)

// Sender is a mail.Sender that writes files.
type Sender struct{ dir string }

var _ mail.Sender = (*Sender)(nil)

var from = &netmail.Address{Name: "Tonearm", Address: "tonearm@localhost"}

// New makes the folder dir if it is missing, readable only by its owner.
func New(dir string) (*Sender, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("mail folder: %w", err)
	}
	return &Sender{dir: dir}, nil
}

// Send writes one file, whole or not at all. Its name follows from the
// Message-ID, so a mail that is sent twice is one file.
func (s *Sender) Send(ctx context.Context, m mail.Message) error {
	msg, err := eml.New(from, m)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return &mail.Error{Err: err}
	}
	f, err := os.CreateTemp(s.dir, ".mail-*") // mode 0600, because the mail holds a link with a token
	if err != nil {
		return &mail.Error{Err: fmt.Errorf("write mail: %w", err)}
	}
	if _, err = msg.WriteTo(f); err != nil {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	} else {
		err = durable.Commit(f, filepath.Join(s.dir, fileName(strings.Trim(msg.GetMessageID(), "<>"))))
	}
	if err != nil {
		return &mail.Error{Err: fmt.Errorf("write mail: %w", err)}
	}
	return nil
}

// fileName returns the name of the file for a Message-ID. It is the id itself
// if that is a safe and unique name on every file system, else a part of the id
// and its hash.
func fileName(id string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_@+", r) {
			return r
		}
		return '_'
	}, id)
	if safe != id || id == "" || len(id) > 200 || strings.HasPrefix(id, ".") {
		sum := sha256.Sum256([]byte(id))
		safe = strings.TrimLeft(safe[:min(len(safe), 120)], ".") + "-" + hex.EncodeToString(sum[:8])
	}
	return safe + ".eml"
}

// Timeout is the longest that Send takes.
func (s *Sender) Timeout() time.Duration { return 5 * time.Second }

// Ping reports whether the folder is there.
func (s *Sender) Ping(context.Context) error {
	_, err := os.Stat(s.dir)
	return err
}
