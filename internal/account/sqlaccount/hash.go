package sqlaccount

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"tonearm/internal/account"
)

// Params are the costs of one argon2id hash.
type Params struct {
	MemoryKiB uint32
	Time      uint32 // passes
	Threads   uint8
}

// DefaultParams are the costs of new hashes.
var DefaultParams = Params{MemoryKiB: 19 * 1024, Time: 2, Threads: 1}

const (
	saltLength = 16
	keyLength  = 32

	// Bounds on what a stored hash may ask for, so that a damaged row cannot
	// take all memory.
	maxMemoryKiB = 1 << 20
	maxTime      = 64
)

// weaker reports whether p costs less than q in any respect.
func (p Params) weaker(q Params) bool {
	return p.MemoryKiB < q.MemoryKiB || p.Time < q.Time || p.Threads < q.Threads
}

// phc is a parsed "$argon2id$v=19$m=…,t=…,p=…$salt$key".
type phc struct {
	Params
	salt, key []byte
}

func (h phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.MemoryKiB, h.Time, h.Threads, b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

var errHash = errors.New("the stored password hash is damaged")

func parsePHC(s string) (phc, error) {
	var h phc
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.MemoryKiB, &h.Time, &h.Threads); err != nil {
		return h, errHash
	}
	var saltErr, keyErr error
	h.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, keyErr = base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || len(h.key) == 0 ||
		h.MemoryKiB > maxMemoryKiB || h.Time == 0 || h.Time > maxTime || h.Threads == 0 {
		return h, errHash
	}
	return h, nil
}

// hasher computes hashes, a bounded number at once.
type hasher struct {
	params Params
	turns  *turns
	runs   atomic.Int64 // hashes computed; tests count work with it rather than with a clock
}

func newHasher(p Params, atOnce int) *hasher {
	return &hasher{params: p, turns: newTurns(atOnce)}
}

// derive waits for a slot and computes one key; account.ErrBusy.
func (h *hasher) derive(ctx context.Context, password string, p Params, salt []byte, length int) ([]byte, error) {
	if err := h.turns.take(ctx, account.Network(ctx)); err != nil {
		return nil, err
	}
	defer h.turns.give()
	h.runs.Add(1)
	return argon2.IDKey([]byte(password), salt, p.Time, p.MemoryKiB, p.Threads, uint32(length)), nil
}

// hash returns a fresh PHC string for password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	out := phc{Params: h.params, salt: random(saltLength)}
	var err error
	out.key, err = h.derive(ctx, password, h.params, out.salt, keyLength)
	return out.String(), err
}

// dummy returns a hash that matches no password and costs as much as a real
// one.
func (h *hasher) dummy() string {
	return phc{Params: h.params, salt: random(saltLength), key: random(keyLength)}.String()
}

// verify compares password with a stored hash. stale means that the hash
// matched and ought to be replaced.
func (h *hasher) verify(ctx context.Context, stored, password string) (ok, stale bool, err error) {
	want, err := parsePHC(stored)
	if err != nil {
		return false, false, err
	}
	got, err := h.derive(ctx, password, want.Params, want.salt, len(want.key))
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(got, want.key) == 1
	return ok, ok && want.weaker(h.params), nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
