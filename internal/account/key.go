package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tonearm/internal/printable"
)

// Scope is what an API key may be used for.
type Scope string

// The scopes.
const (
	ScopeRead    Scope = "read"    // see conversions, download MP3s
	ScopeConvert Scope = "convert" // make and change conversions; includes read
	ScopeAdmin   Scope = "admin"   // what an operator may do, as long as the owner is one
)

// Scopes lists every scope.
var Scopes = []Scope{ScopeRead, ScopeConvert, ScopeAdmin}

// Limits on keys.
const (
	MaxKeys       = 50 // of one user
	MaxKeyName    = 100
	DefaultKeyAge = 365 * 24 * time.Hour
)

// Key is an API key. The secret itself is shown once and not kept.
type Key struct {
	ID         string // UUID
	UserID     string
	Name       string
	Scopes     []Scope
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero for never
	LastUsedAt time.Time // to the minute; zero for never
}

// Allows reports whether the key may be used for s. Whether its owner may, is
// another question.
func (k Key) Allows(s Scope) bool {
	return slices.Contains(k.Scopes, s) || s == ScopeRead && slices.Contains(k.Scopes, ScopeConvert)
}

// Check returns ErrInvalid with a reason if name or scopes are not acceptable.
func (k Key) Check() error {
	switch {
	case strings.TrimSpace(k.Name) == "" || !utf8.ValidString(k.Name) || len(k.Name) > MaxKeyName || strings.ContainsFunc(k.Name, printable.Unsafe):
		return invalid("the name of a key must have 1 to 100 bytes, without line breaks and other control characters")
	case len(k.Scopes) == 0:
		return invalid("a key needs a scope: read, convert or admin")
	}
	for _, s := range k.Scopes {
		if !slices.Contains(Scopes, s) {
			return invalid("the scopes of a key are read, convert and admin")
		}
	}
	return nil
}

const secretPrefix = "tonearm_"

// NewSecret draws the secret of a key: 256 random bits.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// IsSecret reports whether a token has the form of a key's secret.
func IsSecret(token string) bool { return strings.HasPrefix(token, secretPrefix) }

// HashSecret is what is kept of a secret.
func HashSecret(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// Keys is the part of a store with API keys.
type Keys interface {
	// CreateKey keeps a new key of u and returns it with its id, and its secret,
	// which is shown this once; it owes a mail that says so. ErrToken if the
	// sessions of u have ended since u was read; ErrInvalid, ErrKeys, ErrNotFound.
	CreateKey(ctx context.Context, u User, k Key) (made Key, secret string, err error)
	// ByKey returns the key with this secret and its owner, and remembers its
	// use. ErrToken if there is none, or if it has expired.
	ByKey(ctx context.Context, secret string) (Key, User, error)
	// KeysOf lists the keys of a user, the oldest first.
	KeysOf(ctx context.Context, userID string) ([]Key, error)
	// RevokeKey removes a key of a user; ErrNotFound.
	RevokeKey(ctx context.Context, userID, id string) error
}
