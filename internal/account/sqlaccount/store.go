package sqlaccount

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/account"
	"tonearm/internal/retry"
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

// Create adds a user whose address counts as proven; account.ErrInvalid,
// account.ErrExists.
func (s *Store) Create(ctx context.Context, email, password string, maxUploadBytes int64) (account.User, error) {
	return s.Add(ctx, account.NewUser{Email: email, Password: password, MaxUploadBytes: maxUploadBytes})
}

// Add is Create with all fields.
func (s *Store) Add(ctx context.Context, n account.NewUser) (account.User, error) {
	u, hash, err := s.prepareUser(ctx, n)
	if err != nil {
		return account.User{}, err
	}
	u.ConfirmedAt = u.CreatedAt
	if _, err := s.ByEmail(ctx, n.Email); err == nil { // maybe in another spelling, of an earlier version
		return account.User{}, account.ErrExists
	} else if !errors.Is(err, account.ErrNotFound) {
		return account.User{}, err
	}
	err = insertUser(ctx, s.db, "users", u, hash)
	switch {
	case s.dialect.duplicate(err):
		return account.User{}, account.ErrExists
	case err != nil:
		return account.User{}, s.failed("create user", err)
	}
	return u, nil
}

// prepareUser checks a new user and hashes the password.
func (s *Store) prepareUser(ctx context.Context, n account.NewUser) (u account.User, hash string, err error) {
	email, err := account.NormalizeEmail(n.Email)
	if err != nil {
		return u, "", err
	}
	if err := account.CheckPassword(n.Password); err != nil {
		return u, "", err
	}
	if n.MaxUploadBytes < 0 {
		return u, "", fmt.Errorf("%w: the upload limit must not be negative", account.ErrInvalid)
	}
	if hash, err = s.hasher.hash(ctx, n.Password); err != nil {
		return u, "", fmt.Errorf("create user: hash password: %w", err)
	}
	return account.User{
		ID: uuid.NewString(), Email: email, MaxUploadBytes: n.MaxUploadBytes, CreatedAt: now(), Language: n.Language, Admin: n.Admin,
	}, hash, nil
}

// insertUser adds a row to users, or to account_decoys.
func insertUser(ctx context.Context, x execer, table string, u account.User, hash string) error {
	_, err := x.ExecContext(ctx, //nolint:gosec // the table is one of these two
		`INSERT INTO `+table+` (id, email, password_hash, max_upload_bytes, created_at, confirmed_at, language, is_admin) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		u.ID, u.Email, hash, u.MaxUploadBytes, u.CreatedAt.UnixMilli(), millis(u.ConfirmedAt), string(u.Language), u.Admin)
	return err
}

// failed names what did not work, and says if there is no room.
func (s *Store) failed(what string, err error) error {
	if s.dialect.full(err) {
		return fmt.Errorf("%s: %w: %w", what, account.ErrFull, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// now is the time as it is stored: whole milliseconds in UTC.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// millis is a time as it is stored; 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// at is the inverse of millis.
func at(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis).UTC()
}

// transact runs do in a transaction; again, if another one was in its way.
func (s *Store) transact(ctx context.Context, what string, do func(execer) error) error {
	err := retry.Do(ctx, retry.Policy{Initial: time.Millisecond, Max: 50 * time.Millisecond, Patience: busyTimeout}, func(ctx context.Context) error {
		err := s.dialect.transact(ctx, s.db, do)
		if s.dialect.again(err) {
			return err
		}
		return retry.Permanent(err)
	})
	switch {
	case err == nil:
		return nil
	case known(err):
		return err
	}
	return s.failed(what, err)
}

// known reports whether err says something about an account, and not about the
// database.
func known(err error) bool {
	for _, e := range []error{account.ErrNotFound, account.ErrExists, account.ErrInvalid, account.ErrUsed, account.ErrMails, account.ErrKeys, account.ErrUnproven, account.ErrToken, account.ErrCredentials} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Authenticate returns the user, or account.ErrCredentials.
func (s *Store) Authenticate(ctx context.Context, email, password string) (account.User, error) {
	spellings, err := account.Spellings(email)
	if err != nil {
		spellings = [4]string{} // belong to nobody, but are looked up all the same, so that it costs the same
	}
	password = password[:min(len(password), account.MaxPasswordLength+1)] // a longer password makes no more work
	u, hash, known, err := s.find(ctx, s.db, spellings)
	if err != nil {
		return account.User{}, fmt.Errorf("authenticate: %w", err)
	}
	unknown := !known || u.Deleted()
	if unknown {
		hash = s.dummy
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

// CheckPassword returns account.ErrCredentials if the password is not the
// user's.
func (s *Store) CheckPassword(ctx context.Context, userID, password string) error {
	password = password[:min(len(password), account.MaxPasswordLength+1)]
	u, hash, err := s.user(ctx, s.db, userID, "")
	if errors.Is(err, account.ErrNotFound) || u.Deleted() {
		return account.ErrCredentials
	}
	if err != nil {
		return err
	}
	ok, _, err := s.hasher.verify(ctx, hash, password)
	if err != nil {
		return fmt.Errorf("check password of user %s: %w", userID, err)
	}
	if !ok {
		return account.ErrCredentials
	}
	return nil
}

// ByID returns the user with this id, or account.ErrNotFound.
func (s *Store) ByID(ctx context.Context, id string) (account.User, error) {
	u, _, err := s.user(ctx, s.db, id, "")
	return u, err
}

// ByEmail returns the user with this address, in any spelling, or
// account.ErrNotFound.
func (s *Store) ByEmail(ctx context.Context, email string) (account.User, error) {
	spellings, err := account.Spellings(email)
	if err != nil {
		return account.User{}, account.ErrNotFound
	}
	u, _, known, err := s.find(ctx, s.db, spellings)
	if err == nil && !known {
		err = account.ErrNotFound
	}
	return u, err
}

// userColumns are what scanUser reads.
const userColumns = `u.id, u.email, u.password_hash, u.max_upload_bytes, u.created_at, u.confirmed_at, u.proven_at, u.generation,
	u.language, u.mails, u.is_admin, u.deleted_at, u.limits`

// scanUser reads a row of userColumns, and more columns behind them.
func scanUser(scan func(...any) error, more ...any) (u account.User, hash string, err error) {
	var created, confirmed, proven, deleted int64
	var limits string
	err = scan(append([]any{&u.ID, &u.Email, &hash, &u.MaxUploadBytes, &created, &confirmed, &proven, &u.Generation,
		&u.Language, &u.Mails, &u.Admin, &deleted, &limits}, more...)...)
	if err == nil {
		u.Limits, err = parseLimits(limits)
	}
	u.CreatedAt, u.ConfirmedAt, u.ProvenAt, u.DeletedAt = time.UnixMilli(created).UTC(), at(confirmed), at(proven), at(deleted)
	return u, hash, err
}

// find returns the user with the first of these spellings that has an account:
// earlier versions may have made two accounts for two of them. If there is none,
// it reads a row of nobody's, so that an unknown address is as much work as a
// known one.
func (s *Store) find(ctx context.Context, x execer, spellings [4]string) (u account.User, hash string, known bool, err error) {
	var rank int
	a, b, c, d := spellings[0], spellings[1], spellings[2], spellings[3]
	u, hash, err = scanUser(x.QueryRowContext(ctx, `SELECT `+userColumns+`, CASE u.email WHEN ? THEN 4 WHEN ? THEN 3 WHEN ? THEN 2 ELSE 1 END AS spelling
		FROM users u WHERE u.email IN (?, ?, ?, ?)
		UNION ALL SELECT ?, ?, ?, 0, 0, 0, 0, 0, '', '', 0, 0, '', 0 ORDER BY spelling DESC LIMIT 1`,
		a, b, c, a, b, c, d, nobodyAt(b), b, s.dummy).Scan, &rank)
	if err != nil {
		return account.User{}, "", false, fmt.Errorf("find user: %w", err)
	}
	return u, hash, rank > 0, nil
}

func (s *Store) user(ctx context.Context, x execer, id, lock string) (u account.User, hash string, err error) {
	u, hash, err = scanUser(x.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users u WHERE id = ?`+lock, id).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return account.User{}, "", account.ErrNotFound
	case err != nil:
		return account.User{}, "", fmt.Errorf("read user %s: %w", id, err)
	}
	return u, hash, nil
}

// change changes a user who is not deleted, in a transaction with what else do
// does.
func (s *Store) change(ctx context.Context, what, userID string, do func(x execer, u *account.User, hash *string) error) (u account.User, err error) {
	err = s.transact(ctx, what, func(x execer) error {
		var hash string
		if u, hash, err = s.user(ctx, x, userID, s.dialect.forUpdate); err != nil {
			return err
		}
		if u.Deleted() {
			return account.ErrNotFound
		}
		if err := do(x, &u, &hash); err != nil {
			return err
		}
		_, err := x.ExecContext(ctx, `UPDATE users SET email = ?, password_hash = ?, confirmed_at = ?, proven_at = ?, generation = ?,
			language = ?, mails = ?, is_admin = ?, deleted_at = ? WHERE id = ?`,
			u.Email, hash, millis(u.ConfirmedAt), millis(u.ProvenAt), u.Generation,
			string(u.Language), string(u.Mails), u.Admin, millis(u.DeletedAt), u.ID)
		return err
	})
	if err != nil {
		return account.User{}, err
	}
	return u, nil
}

// changeAs is change, for a user whose sessions have not ended since u was read;
// account.ErrToken.
func (s *Store) changeAs(ctx context.Context, what string, as account.User, do func(x execer, u *account.User, hash *string) error) (account.User, error) {
	return s.change(ctx, what, as.ID, func(x execer, u *account.User, hash *string) error {
		if u.Generation != as.Generation {
			return account.ErrToken
		}
		return do(x, u, hash)
	})
}

// LogOut ends all sessions of a user.
func (s *Store) LogOut(ctx context.Context, userID string) (account.User, error) {
	return s.change(ctx, "log out", userID, func(_ execer, u *account.User, _ *string) error {
		u.Generation++
		return nil
	})
}

// CountConversion counts a conversion of a user whose address is not proven;
// account.ErrUnproven.
func (s *Store) CountConversion(ctx context.Context, userID string) error {
	res, err := s.db.ExecContext(ctx, `UPDATE users SET unproven_conversions = unproven_conversions + 1
		WHERE id = ? AND confirmed_at = 0 AND unproven_conversions < ?`, userID, account.UnprovenConversions)
	if err != nil {
		return s.failed("count a conversion", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	u, err := s.ByID(ctx, userID)
	if err == nil && !u.Confirmed() {
		return account.ErrUnproven
	}
	return err
}

// Configure changes language and mail setting; an empty one stays.
func (s *Store) Configure(ctx context.Context, userID string, language account.Language, mails account.MailSetting) (account.User, error) {
	return s.change(ctx, "configure", userID, func(x execer, u *account.User, _ *string) error {
		return configure(ctx, x, u, language, mails)
	})
}

func configure(ctx context.Context, x execer, u *account.User, language account.Language, mails account.MailSetting) error {
	before := *u
	if u.Language, u.Mails = cmp.Or(language, u.Language), cmp.Or(mails, u.Mails); *u == before {
		return nil
	}
	return changed(ctx, x, u.ID)
}

// Unsubscribe changes the mail setting of a user with this address to fewer.
func (s *Store) Unsubscribe(ctx context.Context, userID, email string, mails account.MailSetting) (account.User, error) {
	return s.change(ctx, "unsubscribe", userID, func(x execer, u *account.User, _ *string) error {
		if u.Email != email {
			return account.ErrNotFound
		}
		if u.Mails == account.MailNone {
			return nil // there are no fewer
		}
		return configure(ctx, x, u, "", mails)
	})
}

// SetAdmin gives or takes the rights of an operator.
func (s *Store) SetAdmin(ctx context.Context, userID string, admin bool) error {
	_, err := s.change(ctx, "set admin", userID, func(_ execer, u *account.User, _ *string) error {
		if admin && !u.Confirmed() {
			return account.ErrUnproven
		}
		u.Admin = admin
		return nil
	})
	return err
}

// Delete ends all sessions, removes all keys and refuses logins from now on.
func (s *Store) Delete(ctx context.Context, as account.User) (account.User, error) {
	u, err := s.changeAs(ctx, "delete account", as, func(x execer, u *account.User, _ *string) error {
		u.DeletedAt = now()
		u.Generation++
		for _, table := range []string{"account_keys", "account_proofs"} {
			if _, err := x.ExecContext(ctx, `DELETE FROM `+table+` WHERE user_id = ?`, u.ID); err != nil {
				return err
			}
		}
		if _, err := x.ExecContext(ctx, `REPLACE INTO account_deletions (user_id) VALUES (?)`, u.ID); err != nil {
			return err
		}
		return s.tell(ctx, x, *u, account.MailDeleted)
	})
	if errors.Is(err, account.ErrNotFound) { // perhaps it was deleted before
		if u, err := s.ByID(ctx, as.ID); err == nil && u.Deleted() {
			return u, nil
		}
	}
	return u, err
}

// selectDeleted selects users by account_deletions, which has few rows.
const selectDeleted = `SELECT ` + userColumns + ` FROM account_deletions d JOIN users u ON u.id = d.user_id
	WHERE d.user_id > ? ORDER BY d.user_id LIMIT ?`

// Deleted returns some users whose deletion was asked for.
func (s *Store) Deleted(ctx context.Context, after string, limit int) ([]account.User, error) {
	return s.list(ctx, selectDeleted, after, limit)
}

// List returns some users in the order of their ids.
func (s *Store) List(ctx context.Context, f account.Filter, after string, limit int) ([]account.User, error) {
	if f.Unproven {
		return s.list(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id > ? AND u.proven_at = 0 ORDER BY u.id LIMIT ?`, after, limit)
	}
	return s.list(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id > ? ORDER BY u.id LIMIT ?`, after, limit)
}

func (s *Store) list(ctx context.Context, query, after string, limit int) (users []account.User, err error) {
	rows, err := s.db.QueryContext(ctx, query, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		u, _, err := scanUser(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list users: %w", err)
		}
		users = append(users, u)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}

// Remove removes a deleted user for good. Mails to them that are still owed
// stay.
func (s *Store) Remove(ctx context.Context, userID string) error {
	return s.transact(ctx, "remove user", func(x execer) error {
		res, err := x.ExecContext(ctx, `DELETE FROM users WHERE id = ? AND deleted_at > 0`, userID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		for _, table := range []string{"account_changes", "account_deletions", "account_usage"} {
			if _, err := x.ExecContext(ctx, `DELETE FROM `+table+` WHERE user_id = ?`, userID); err != nil {
				return err
			}
		}
		_, err = x.ExecContext(ctx, `DELETE FROM account_mails WHERE user_id = ? AND state IN ('sent', 'refused')`, userID)
		return err
	})
}

// Ping reports whether the database can be reached.
func (s *Store) Ping(ctx context.Context) error { return s.db.PingContext(ctx) }

// Close closes the handle.
func (s *Store) Close() error { return s.db.Close() }
