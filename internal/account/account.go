// Package account is the contract for users and their tokens.
package account

import (
	"context"
	"errors"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Errors of account stores and tokens.
var (
	// ErrNotFound: no such user.
	ErrNotFound = errors.New("account: not found")
	// ErrExists: the address has an account already.
	ErrExists = errors.New("account: exists")
	// ErrFull: the store has no room for more. What it has can still be read.
	ErrFull = errors.New("account: the store is full")
	// ErrCredentials: unknown address or wrong password; it does not say which.
	ErrCredentials = errors.New("account: wrong e-mail address or password")
	// ErrToken: a token that is malformed, expired, wrongly signed, of another
	// type or for somebody else.
	ErrToken = errors.New("account: token not valid")
	// ErrInvalid: an address or a password that cannot be accepted. The error
	// that wraps it gives the reason.
	ErrInvalid = errors.New("account: not acceptable")
)

// DefaultMaxUploadBytes limits one video of a user who has no limit of their
// own.
const DefaultMaxUploadBytes = 100 << 30

// User is one account.
type User struct {
	ID             string // UUID
	Email          string // normalized
	MaxUploadBytes int64  // 0 for the service's default
	CreatedAt      time.Time
}

// Store keeps users.
type Store interface {
	// Create adds a user. ErrInvalid, ErrExists.
	Create(ctx context.Context, email, password string, maxUploadBytes int64) (User, error)
	// Authenticate returns the user, or ErrCredentials. It does the same work
	// whether the address is unknown or the password wrong.
	Authenticate(ctx context.Context, email, password string) (User, error)
	// ByID and ByEmail return ErrNotFound if there is no such user.
	ByID(ctx context.Context, id string) (User, error)
	ByEmail(ctx context.Context, email string) (User, error)
	Ping(ctx context.Context) error
	Close() error
}

// Tokens signs and checks tokens.
type Tokens interface {
	// Access returns a token that stands for the user.
	Access(u User) (token string, expiresAt time.Time, err error)
	// Download returns a token for the download of one MP3, without login.
	Download(mp3ID string) (token string, expiresAt time.Time, err error)
	// VerifyAccess returns the id of the user; ErrToken.
	VerifyAccess(token string) (userID string, err error)
	// VerifyDownload returns the id of the MP3; ErrToken.
	VerifyDownload(token string) (mp3ID string, err error)
	// JWKS returns the public keys as a JSON Web Key Set.
	JWKS() []byte
}

// Limits on what people choose.
const (
	MaxEmailLength    = 254
	MinPasswordLength = 8
	MaxPasswordLength = 1024
)

// NormalizeEmail trims an address, turns it to lower case and checks its form.
// Besides what mail forbids it refuses slashes, which would end the address in
// an object's key, and invisible characters.
func NormalizeEmail(s string) (string, error) {
	valid := utf8.ValidString(s)
	s = strings.ToLower(strings.TrimSpace(s))
	a, err := mail.ParseAddress(s)
	if !valid || err != nil || a.Address != s || len(s) > MaxEmailLength || strings.ContainsFunc(s, unseen) || strings.Contains(s, "/") {
		return "", invalid("this is not an e-mail address that Tonearm can use; write it like name@example.org")
	}
	return s, nil
}

func unseen(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }

// CheckPassword returns ErrInvalid with a reason if the password is too short
// or too long.
func CheckPassword(s string) error {
	switch {
	case len(s) < MinPasswordLength:
		return invalid("the password is too short; use at least 8 characters")
	case len(s) > MaxPasswordLength:
		return invalid("the password is too long; use at most 1024 bytes")
	}
	return nil
}

type invalidError string

func invalid(reason string) error           { return invalidError(reason) }
func (e invalidError) Error() string        { return string(e) }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }
