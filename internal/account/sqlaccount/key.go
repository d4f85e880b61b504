package sqlaccount

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/account"
)

// keyUse is how often the last use of a key is written at most.
const keyUse = time.Minute

const keyColumns = `k.id, k.user_id, k.name, k.scopes, k.created_at, k.expires_at, k.last_used_at`

// keyRow reads keyColumns.
type keyRow struct {
	account.Key
	scopes                   string
	created, expires, usedAt int64
}

func (r *keyRow) fields() []any {
	return []any{&r.ID, &r.UserID, &r.Name, &r.scopes, &r.created, &r.expires, &r.usedAt}
}

func (r *keyRow) key() account.Key {
	k := r.Key
	for s := range strings.FieldsSeq(r.scopes) {
		k.Scopes = append(k.Scopes, account.Scope(s))
	}
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt = at(r.created), at(r.expires), at(r.usedAt)
	return k
}

// CreateKey keeps a new key of a user.
func (s *Store) CreateKey(ctx context.Context, as account.User, k account.Key) (made account.Key, secret string, err error) {
	if err := k.Check(); err != nil {
		return made, "", err
	}
	made = k
	made.ID, made.UserID, made.CreatedAt, made.LastUsedAt = uuid.NewString(), as.ID, now(), time.Time{}
	made.ExpiresAt = at(millis(k.ExpiresAt))
	secret = account.NewSecret()
	hash := account.HashSecret(secret)
	made.Scopes = nil
	var scopes []string
	for _, scope := range account.Scopes { // each once: the column is short
		if slices.Contains(k.Scopes, scope) {
			made.Scopes, scopes = append(made.Scopes, scope), append(scopes, string(scope))
		}
	}
	_, err = s.changeAs(ctx, "make key", as, func(x execer, u *account.User, _ *string) error {
		var keys int // the user's row is locked, so nobody adds another one
		if err := x.QueryRowContext(ctx, `SELECT COUNT(*) FROM account_keys WHERE user_id = ?`, as.ID).Scan(&keys); err != nil {
			return err
		}
		if keys >= account.MaxKeys {
			return account.ErrKeys
		}
		if _, err := x.ExecContext(ctx, `INSERT INTO account_keys (id, user_id, name, scopes, hash, created_at, expires_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0)`,
			made.ID, made.UserID, made.Name, strings.Join(scopes, " "), hash[:], millis(made.CreatedAt), millis(made.ExpiresAt)); err != nil {
			return err
		}
		return s.tell(ctx, x, *u, account.MailKeyMade)
	})
	if err != nil {
		return account.Key{}, "", err
	}
	return made, secret, nil
}

// ByKey returns the key with this secret and its owner, or account.ErrToken.
func (s *Store) ByKey(ctx context.Context, secret string) (account.Key, account.User, error) {
	hash := account.HashSecret(secret)
	var row keyRow
	u, _, err := scanUser(s.db.QueryRowContext(ctx, `SELECT `+userColumns+`, `+keyColumns+`
		FROM account_keys k JOIN users u ON u.id = k.user_id WHERE k.hash = ?`, hash[:]).Scan, row.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return account.Key{}, account.User{}, account.ErrToken
	}
	if err != nil {
		return account.Key{}, account.User{}, fmt.Errorf("look up key: %w", err)
	}
	k, now := row.key(), now()
	if u.Deleted() || !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
		return account.Key{}, account.User{}, account.ErrToken
	}
	if now.Sub(k.LastUsedAt) >= keyUse {
		// If that fails, the request is good all the same.
		if _, err := s.db.ExecContext(ctx, `UPDATE account_keys SET last_used_at = ? WHERE id = ? AND last_used_at < ?`, millis(now), k.ID, millis(now)); err == nil {
			k.LastUsedAt = now
		}
	}
	return k, u, nil
}

// KeysOf lists the keys of a user, the oldest first.
func (s *Store) KeysOf(ctx context.Context, userID string) (keys []account.Key, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+keyColumns+` FROM account_keys k WHERE k.user_id = ? ORDER BY k.created_at, k.id`, userID)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var row keyRow
		if err := rows.Scan(row.fields()...); err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		keys = append(keys, row.key())
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return keys, nil
}

// RevokeKey removes a key of a user; account.ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, userID, id string) error {
	res, err := s.db.ExecContext(ctx, `DELETE FROM account_keys WHERE id = ? AND user_id = ?`, id, userID)
	if err != nil {
		return s.failed("revoke key", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(account.ErrNotFound, err)
	}
	return nil
}
