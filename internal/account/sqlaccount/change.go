package sqlaccount

import (
	"context"
	"fmt"
	"time"

	"tonearm/internal/account"
)

// changed remembers that the conversions of a user have to follow.
func changed(ctx context.Context, x execer, userID string) error {
	_, err := x.ExecContext(ctx, `REPLACE INTO account_changes (user_id, changed_at) VALUES (?, ?)`, userID, millis(now()))
	return err
}

// Changed returns some users whose conversions have to follow a change.
func (s *Store) Changed(ctx context.Context, after string, limit int) (changes []account.Change, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+userColumns+`, c.changed_at FROM account_changes c JOIN users u ON u.id = c.user_id
		WHERE c.user_id > ? ORDER BY c.user_id LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list changed users: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c account.Change
		var when int64
		if c.User, _, err = scanUser(rows.Scan, &when); err != nil {
			return nil, fmt.Errorf("list changed users: %w", err)
		}
		c.At = at(when)
		changes = append(changes, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list changed users: %w", err)
	}
	return changes, nil
}

// Followed forgets a change that all conversions of the user have followed. A
// later one stays.
func (s *Store) Followed(ctx context.Context, userID string, at time.Time) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM account_changes WHERE user_id = ? AND changed_at <= ?`, userID, millis(at)); err != nil {
		return fmt.Errorf("forget the change of user %s: %w", userID, err)
	}
	return nil
}
