package sqlaccount

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/account"
)

// Store is an account.Store on a SQL database.
type Store struct {
	db      *sql.DB
	dialect dialect
	hasher  *hasher
	dummy   string // verified if the address is unknown, so that it costs the same
}

var _ account.Store = (*Store)(nil)

func newStore(db *sql.DB, d dialect) *Store {
	h := newHasher(DefaultParams, runtime.GOMAXPROCS(0))
	return &Store{db: db, dialect: d, hasher: h, dummy: h.dummy()}
}

// Create adds a user; account.ErrInvalid, account.ErrExists.
func (s *Store) Create(ctx context.Context, email, password string, maxUploadBytes int64) (account.User, error) {
	email, err := account.NormalizeEmail(email)
	if err != nil {
		return account.User{}, err
	}
	if err := account.CheckPassword(password); err != nil {
		return account.User{}, err
	}
	if maxUploadBytes < 0 {
		return account.User{}, fmt.Errorf("%w: the upload limit must not be negative", account.ErrInvalid)
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return account.User{}, fmt.Errorf("create user: hash password: %w", err)
	}
	u := account.User{
		ID: uuid.NewString(), Email: email, MaxUploadBytes: maxUploadBytes,
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	_, err = s.db.ExecContext(ctx,
		`INSERT INTO users (id, email, password_hash, max_upload_bytes, created_at) VALUES (?, ?, ?, ?, ?)`,
		u.ID, u.Email, hash, u.MaxUploadBytes, u.CreatedAt.UnixMilli())
	switch {
	case s.dialect.duplicate(err):
		return account.User{}, account.ErrExists
	case s.dialect.full(err):
		return account.User{}, fmt.Errorf("create user: %w: %w", account.ErrFull, err)
	case err != nil:
		return account.User{}, fmt.Errorf("create user: %w", err)
	}
	return u, nil
}

// Authenticate returns the user, or account.ErrCredentials.
func (s *Store) Authenticate(ctx context.Context, email, password string) (account.User, error) {
	email, err := account.NormalizeEmail(email)
	if err != nil {
		email = "" // belongs to nobody, but is looked up all the same, so that it costs the same
	}
	password = password[:min(len(password), account.MaxPasswordLength+1)] // a longer password makes no more work
	u, hash, err := s.user(ctx, "email", email)
	unknown := errors.Is(err, account.ErrNotFound)
	switch {
	case unknown:
		hash = s.dummy
	case err != nil:
		return account.User{}, fmt.Errorf("authenticate: %w", err)
	}
	ok, stale, err := s.hasher.verify(ctx, hash, password)
	if err != nil {
		return account.User{}, fmt.Errorf("authenticate user %s: %w", u.ID, err)
	}
	if unknown || !ok {
		return account.User{}, account.ErrCredentials
	}
	if stale {
		s.rehash(ctx, u.ID, hash, password)
	}
	return u, nil
}

// rehash replaces a weak hash. If that fails, the login is good all the same,
// and the next one tries again.
func (s *Store) rehash(ctx context.Context, id, old, password string) {
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return
	}
	// Replace only the hash that was verified: the password may have changed
	// since.
	_, _ = s.db.ExecContext(ctx, `UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?`, hash, id, old)
}

// ByID returns the user with this id, or account.ErrNotFound.
func (s *Store) ByID(ctx context.Context, id string) (account.User, error) {
	u, _, err := s.user(ctx, "id", id)
	return u, err
}

// ByEmail returns the user with this address, in upper or lower case, or
// account.ErrNotFound.
func (s *Store) ByEmail(ctx context.Context, email string) (account.User, error) {
	email, err := account.NormalizeEmail(email)
	if err != nil {
		return account.User{}, account.ErrNotFound
	}
	u, _, err := s.user(ctx, "email", email)
	return u, err
}

func (s *Store) user(ctx context.Context, column, value string) (u account.User, hash string, err error) {
	var created int64
	err = s.db.QueryRowContext(ctx,
		`SELECT id, email, password_hash, max_upload_bytes, created_at FROM users WHERE `+column+` = ?`, value).
		Scan(&u.ID, &u.Email, &hash, &u.MaxUploadBytes, &created)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return account.User{}, "", account.ErrNotFound
	case err != nil:
		return account.User{}, "", fmt.Errorf("read user by %s: %w", column, err)
	}
	u.CreatedAt = time.UnixMilli(created).UTC()
	return u, hash, nil
}

// Ping reports whether the database can be reached.
func (s *Store) Ping(ctx context.Context) error { return s.db.PingContext(ctx) }

// Close closes the handle.
func (s *Store) Close() error { return s.db.Close() }
