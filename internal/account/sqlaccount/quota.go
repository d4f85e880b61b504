package sqlaccount

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"tonearm/internal/account"
)

// parseLimits reads the column; empty is no limit.
func parseLimits(text string) (l account.Limits, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &l)
	}
	return l, err
}

// SetLimits sets a user's own quotas.
func (s *Store) SetLimits(ctx context.Context, userID string, l account.Limits) error {
	if err := l.Validate(); err != nil {
		return err
	}
	text := []byte{}
	if l != (account.Limits{}) {
		var err error
		if text, err = json.Marshal(l); err != nil {
			return fmt.Errorf("set limits: %w", err)
		}
	}
	res, err := s.db.ExecContext(ctx, `UPDATE users SET limits = ? WHERE id = ?`, string(text), userID)
	if err != nil {
		return s.failed("set limits", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return noUser(err)
	}
	return nil
}

func noUser(err error) error {
	if err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	return account.ErrNotFound
}

// dayNumber is a day as it is stored.
func dayNumber(day time.Time) int64 { return day.Unix() / (24 * 60 * 60) }

// SaveUsage keeps a count, unless there is a later one of the same day.
func (s *Store) SaveUsage(ctx context.Context, u account.Usage) error {
	sound := int64(math.Round(1000 * u.Sound))
	set, args := `conversions = ?, bytes = ?, sound_ms = ?, stored = ?, counted_at = ?`, []any{u.Conversions, u.Bytes, sound, u.Stored, millis(u.CountedAt)}
	if u.StoredOnly {
		set, args = `stored = ?, counted_at = ?`, args[3:]
	}
	res, err := s.db.ExecContext(ctx, `UPDATE account_usage SET `+set+` WHERE user_id = ? AND day_number = ? AND counted_at <= ?`, //nolint:gosec // one of these two
		append(args, u.UserID, dayNumber(u.Day), millis(u.CountedAt))...)
	if err != nil {
		return s.failed("save use", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO account_usage (user_id, day_number, conversions, bytes, sound_ms, stored, counted_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		u.UserID, dayNumber(u.Day), u.Conversions, u.Bytes, sound, u.Stored, millis(u.CountedAt))
	if err != nil && !s.dialect.duplicate(err) { // a duplicate is a later count
		return s.failed("save use", err)
	}
	return nil
}

// ClearUsage says that a user has nothing stored of days that were not counted.
func (s *Store) ClearUsage(ctx context.Context, userID string, since time.Time) error {
	if _, err := s.db.ExecContext(ctx, `UPDATE account_usage SET stored = 0 WHERE user_id = ? AND counted_at < ?`, userID, millis(since)); err != nil {
		return s.failed("save use", err)
	}
	return nil
}

// Used returns what the users with ids from first to last take; those who never
// made a conversion are left out.
func (s *Store) Used(ctx context.Context, first, last string, day time.Time) (map[string]account.Used, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT user_id, SUM(stored), SUM(CASE WHEN day_number = ? THEN conversions ELSE 0 END),
		SUM(CASE WHEN day_number = ? THEN bytes ELSE 0 END), SUM(CASE WHEN day_number = ? THEN sound_ms ELSE 0 END), SUM(CASE WHEN day_number = ? THEN stored ELSE 0 END)
		FROM account_usage WHERE user_id >= ? AND user_id <= ? GROUP BY user_id`,
		dayNumber(day), dayNumber(day), dayNumber(day), dayNumber(day), first, last)
	if err != nil {
		return nil, fmt.Errorf("read use: %w", err)
	}
	defer rows.Close()
	used := map[string]account.Used{}
	for rows.Next() {
		var id string
		var u account.Used
		var sound int64
		if err := rows.Scan(&id, &u.Stored, &u.Today.Conversions, &u.Today.Bytes, &sound, &u.Today.Stored); err != nil {
			return nil, fmt.Errorf("read use: %w", err)
		}
		u.Today.Sound = float64(sound) / 1000
		used[id] = u
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read use: %w", err)
	}
	return used, nil
}

// UsedByAll returns what all users take.
func (s *Store) UsedByAll(ctx context.Context, day time.Time) (all account.UsedByAll, err error) {
	var sound, most int64
	err = s.db.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(stored), 0), COALESCE(SUM(made), 0), COALESCE(SUM(bytes), 0), COALESCE(SUM(sound), 0),
		COALESCE(MAX(stored), 0), COALESCE(MAX(made), 0), COALESCE(MAX(bytes), 0), COALESCE(MAX(sound), 0) FROM (
			SELECT SUM(stored) AS stored, SUM(CASE WHEN day_number = ? THEN conversions ELSE 0 END) AS made,
				SUM(CASE WHEN day_number = ? THEN bytes ELSE 0 END) AS bytes, SUM(CASE WHEN day_number = ? THEN sound_ms ELSE 0 END) AS sound
			FROM account_usage GROUP BY user_id) AS users_use`, dayNumber(day), dayNumber(day), dayNumber(day)).
		Scan(&all.Users, &all.Stored, &all.Today.Conversions, &all.Today.Bytes, &sound,
			&all.Largest.Stored, &all.Largest.Today.Conversions, &all.Largest.Today.Bytes, &most)
	if err != nil {
		return all, fmt.Errorf("read use: %w", err)
	}
	all.Today.Sound, all.Largest.Today.Sound = float64(sound)/1000, float64(most)/1000
	return all, nil
}
