// Package eml writes a mail.Message in the form that travels (RFC 5322 and
// MIME), for the senders beside it.
package eml

import (
	"crypto/rand"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"tonearm/internal/mail"
)

// New returns m as a mail from an address such as "Tonearm
// <tonearm@example.org>". If m has no Message-ID, it gets a new one. An error
// is a permanent *mail.Error: m can be sent to nobody.
func New(from *netmail.Address, m mail.Message) (*gomail.Msg, error) {
	if err := check(m); err != nil {
		return nil, &mail.Error{Permanent: true, Err: fmt.Errorf("compose mail: %w", err)}
	}
	if m.ID == "" {
		m.ID = rand.Text() + "@" + Domain(from)
	}
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	out.FromMailAddress(from)
	out.ToMailAddress(&netmail.Address{Address: m.To})
	out.Subject(m.Subject)
	out.SetMessageIDWithValue(m.ID)
	if !m.Date.IsZero() {
		out.SetDateWithValue(m.Date) // if not set, the time of writing is used
	}
	out.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: machines must not answer
	if m.Unsubscribe != "" {
		out.SetGenHeader(gomail.HeaderListUnsubscribe, "<"+m.Unsubscribe+">")
		if strings.HasPrefix(m.Unsubscribe, "https:") { // RFC 8058, section 3.1
			out.SetGenHeader(gomail.HeaderListUnsubscribePost, "List-Unsubscribe=One-Click")
		}
	}
	out.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		out.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return out, nil
}

// Domain is the part of an address after its last @.
func Domain(a *netmail.Address) string {
	return a.Address[strings.LastIndexByte(a.Address, '@')+1:]
}

func check(m mail.Message) error {
	for _, field := range []struct{ name, text string }{{"message id", m.ID}, {"recipient", m.To}, {"subject", m.Subject}, {"unsubscribe address", m.Unsubscribe}} {
		if strings.ContainsFunc(field.text, unicode.IsControl) {
			return fmt.Errorf("the %s has a control character", field.name)
		}
	}
	if strings.ContainsAny(m.ID, " <>") {
		return errors.New("the message ID has spaces or angle brackets")
	}
	if strings.ContainsAny(m.Unsubscribe, " <>,") {
		return errors.New("the unsubscribe address has spaces, commas or angle brackets")
	}
	if a, err := netmail.ParseAddress(m.To); err != nil || a.Address != m.To {
		return errors.New("the recipient must be one address")
	}
	return nil
}
