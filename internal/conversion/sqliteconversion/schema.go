package sqliteconversion

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"tonearm/internal/retry"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// migrations lead from an empty file to the present schema; the table
// conversion_schema says how many were applied. A released migration is never
// changed. PRAGMA user_version is not used, because other packages keep their
// tables in the same file.
//
// The document is the truth. The other columns repeat what queries look for,
// and are written together with it.
var migrations = []string{`
CREATE TABLE conversion (
	id              TEXT    PRIMARY KEY,
	revision        INTEGER NOT NULL,
	owner_id        TEXT    NOT NULL,
	idempotency_key TEXT    NOT NULL,
	object_key      TEXT    NOT NULL,
	object_version  TEXT    NOT NULL,
	mp3_id          TEXT    NOT NULL,
	state           TEXT    NOT NULL,
	owing           INTEGER NOT NULL, -- 1 where work or a notice is owed
	wake_at         INTEGER,          -- Unix milliseconds; NULL for never
	document        TEXT    NOT NULL  -- JSON
) STRICT;
CREATE UNIQUE INDEX conversion_idempotency_key ON conversion (owner_id, idempotency_key);
CREATE UNIQUE INDEX conversion_object          ON conversion (object_key, object_version);
CREATE UNIQUE INDEX conversion_mp3             ON conversion (mp3_id);
CREATE INDEX        conversion_owner           ON conversion (owner_id, id);
CREATE INDEX        conversion_wake_at         ON conversion (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX        conversion_owing           ON conversion (id) WHERE owing = 1;
`}

// additions are not in a migration: a program refuses a file whose version it
// does not know, so a new migration would block the way back to an earlier
// release. After one of these indexes is made, the index that it replaces is
// dropped.
const additions = `
CREATE INDEX IF NOT EXISTS conversion_owner_state ON conversion (owner_id, state, id);
CREATE INDEX IF NOT EXISTS conversion_lapsed      ON conversion (wake_at) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS lease (
	name   TEXT    PRIMARY KEY,
	holder TEXT    NOT NULL,
	until  INTEGER NOT NULL -- Unix milliseconds
) STRICT;
`

// Prepare makes or updates the tables. It may be called again, and by several
// processes at once. The file must not be of a newer version than this one.
func (s *Store) Prepare(ctx context.Context) error {
	if err := s.writeAheadLog(ctx); err != nil {
		return fmt.Errorf("switch %s to a write-ahead log: %w", s.path, err)
	}
	tx, err := s.write.BeginTx(ctx, nil) // takes the write lock, see _txlock
	if err != nil {
		return fmt.Errorf("migrate %s: %w", s.path, err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := migrate(ctx, tx); err != nil {
		return fmt.Errorf("migrate %s: %w", s.path, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("migrate %s: %w", s.path, err)
	}
	return nil
}

// writeAheadLog switches the file to WAL for good. The busy timeout of SQLite
// does not cover this step, which fails at once while another process writes.
func (s *Store) writeAheadLog(ctx context.Context) error {
	const pause = 20 * time.Millisecond
	return retry.Do(ctx, retry.Policy{Initial: pause, Max: pause, Patience: busyTimeout}, func(ctx context.Context) error {
		var mode string
		err := s.write.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode)
		var sqliteErr *sqlite.Error
		switch {
		case err == nil && mode != "wal":
			return retry.Permanent(fmt.Errorf("the journal is %s", mode))
		case !errors.As(err, &sqliteErr) || sqliteErr.Code() != sqlite3.SQLITE_BUSY:
			return retry.Permanent(err)
		}
		return err
	})
}

func migrate(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS conversion_schema (version INTEGER NOT NULL) STRICT`); err != nil {
		return err
	}
	version := 0
	err := tx.QueryRowContext(ctx, `SELECT version FROM conversion_schema`).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = tx.ExecContext(ctx, `INSERT INTO conversion_schema VALUES (0)`)
	case version > len(migrations):
		return fmt.Errorf("the file has version %d, but this program knows only up to %d; use a newer Tonearm", version, len(migrations))
	}
	if err != nil {
		return err
	}
	for i, statements := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, statements); err != nil {
			return fmt.Errorf("to version %d: %w", version+i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE conversion_schema SET version = ?`, len(migrations)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, additions); err != nil {
		return fmt.Errorf("make indexes and the table of leases: %w", err)
	}
	return nil
}
