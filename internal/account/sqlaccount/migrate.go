package sqlaccount

import (
	"context"
	"embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// migrations are files named <version>_<what>.sql, each one statement for both
// dialects. A published one is never changed. MySQL cannot roll DDL back, so
// each must be harmless to repeat after a crash.
//
//go:embed migrations/*.sql
var migrations embed.FS

// Prepare brings the schema up to date. It may be called at every start, by
// several replicas at once.
func (s *Store) Prepare(ctx context.Context) error {
	if err := s.dialect.create(); err != nil {
		return fmt.Errorf("prepare accounts: %w", err)
	}
	if err := s.dialect.exclusively(ctx, s.db, func(x execer) error { return migrate(ctx, x) }); err != nil {
		return fmt.Errorf("prepare accounts: %w", err)
	}
	return nil
}

func migrate(ctx context.Context, x execer) error {
	if _, err := x.ExecContext(ctx,
		`CREATE TABLE IF NOT EXISTS account_migrations (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`); err != nil {
		return err
	}
	var have int
	if err := x.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM account_migrations`).Scan(&have); err != nil {
		return err
	}
	files, err := migrations.ReadDir("migrations") // sorted by name
	if err != nil {
		return err
	}
	for _, f := range files {
		prefix, _, _ := strings.Cut(f.Name(), "_")
		version, err := strconv.Atoi(prefix)
		if err != nil {
			return fmt.Errorf("migration %s: %w", f.Name(), err)
		}
		if version <= have {
			continue
		}
		statement, err := migrations.ReadFile("migrations/" + f.Name())
		if err != nil {
			return err
		}
		if _, err := x.ExecContext(ctx, string(statement)); err != nil {
			return fmt.Errorf("migration %s: %w", f.Name(), err)
		}
		if _, err := x.ExecContext(ctx,
			`INSERT INTO account_migrations (version, applied_at) VALUES (?, ?)`, version, time.Now().UnixMilli()); err != nil {
			return fmt.Errorf("migration %s: %w", f.Name(), err)
		}
	}
	return nil
}
