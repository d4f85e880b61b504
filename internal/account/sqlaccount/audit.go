package sqlaccount

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/account"
)

// Audit adds a line to the audit log.
func (s *Store) Audit(ctx context.Context, e account.Event) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO account_audit (id, happened_at, action, user_id, key_id, subject, outcome, network) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		uuid.NewString(), millis(e.At), string(e.Action), e.UserID, e.KeyID, e.Subject[:min(len(e.Subject), 100)], e.Outcome, e.Network[:min(len(e.Network), 64)])
	if err != nil {
		return s.failed("write the audit log", err)
	}
	return nil
}

// Events returns the latest lines of the audit log.
func (s *Store) Events(ctx context.Context, userID string, limit int) (events []account.Event, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT happened_at, action, user_id, key_id, subject, outcome, network FROM account_audit
		WHERE ? = '' OR user_id = ? ORDER BY happened_at DESC, id DESC LIMIT ?`, userID, userID, limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e account.Event
		var happened int64
		if err := rows.Scan(&happened, &e.Action, &e.UserID, &e.KeyID, &e.Subject, &e.Outcome, &e.Network); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		e.At = at(happened)
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return events, nil
}

// How long rows are kept that nobody needs.
const (
	decoyLife = 2 * time.Hour // longer than the hour that a decoy counts in
	mailLife  = 30 * 24 * time.Hour
)

// Tidy removes what nobody needs any more.
func (s *Store) Tidy(ctx context.Context, now time.Time) error {
	for _, t := range []struct {
		statement string
		before    time.Time
	}{
		{`DELETE FROM account_proofs WHERE expires_at < ?`, now},
		{`DELETE FROM account_mails WHERE state = 'decoy' AND owed_since < ?`, now.Add(-decoyLife)},
		{`DELETE FROM account_mails WHERE state IN ('sent', 'refused') AND owed_since < ?`, now.Add(-mailLife)},
		{`DELETE FROM account_decoys WHERE created_at < ?`, now.Add(-decoyLife)},
		{`DELETE FROM account_audit WHERE happened_at < ?`, now.Add(-account.AuditLife)},
	} {
		if _, err := s.db.ExecContext(ctx, t.statement, millis(t.before)); err != nil {
			return fmt.Errorf("tidy accounts: %w", err)
		}
	}
	return nil
}
