// Package mail is the contract for sending one message.
package mail

import (
	"context"
	"errors"
	"time"
)

// Message is one mail, in text and HTML.
type Message struct {
	ID      string // Message-ID without angle brackets; the same at each try
	To      string // one address
	Subject string
	Text    string
	HTML    string
	Date    time.Time

	// Unsubscribe is the address of a page where the recipient gets fewer such
	// mails, and which takes the POST of RFC 8058; '' for mails that are sent in
	// any case.
	Unsubscribe string
}

// Error is a refusal by the mail server or a failure on the way there.
type Error struct {
	Permanent bool // trying again cannot help
	// Unknown: the message may have been accepted, because the connection broke
	// after its data was sent.
	Unknown bool
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Permanent reports whether err says that trying again cannot help.
func Permanent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Permanent
}

// Unknown reports whether err says that the message may have been accepted all
// the same.
func Unknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Unknown
}

// Sender hands mails to whoever delivers them.
type Sender interface {
	// Send returns nil once the message was accepted, else an *Error.
	Send(ctx context.Context, m Message) error
	// Timeout is the longest that Send takes.
	Timeout() time.Duration
	// Ping reports whether mails can be handed over at present.
	Ping(ctx context.Context) error
}
