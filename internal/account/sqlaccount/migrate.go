package sqlaccount

import (
	"context"
	"embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// migrations are files named <version>_<what>.sql, with statements for both
// dialects, each of which ends with a semicolon at the end of a line. A
// published one is never changed. MySQL cannot roll DDL back, so each statement
// must be harmless to repeat after a crash; a column that is there already is
// passed over. Programs of the version before go on using the tables, so a new
// column has a default.
//
//go:embed migrations/*.sql
var migrations embed.FS

// Prepare brings the schema up to date. It may be called at every start, by
// several replicas at once.
func (s *Store) Prepare(ctx context.Context) error {
	if err := s.dialect.create(); err != nil {
		return fmt.Errorf("prepare accounts: %w", err)
	}
	if err := s.dialect.exclusively(ctx, s.db, func(x execer) error { return s.migrate(ctx, x) }); err != nil {
		return fmt.Errorf("prepare accounts: %w", err)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context, x execer) error {
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
		statements, err := migrations.ReadFile("migrations/" + f.Name())
		if err != nil {
			return err
		}
		for statement := range strings.SplitSeq(strings.TrimSpace(string(statements)), ";\n") {
			if _, err := x.ExecContext(ctx, statement); err != nil && !s.dialect.there(err) {
				return fmt.Errorf("migration %s: %w", f.Name(), err)
			}
		}
		if _, err := x.ExecContext(ctx,
			`INSERT INTO account_migrations (version, applied_at) VALUES (?, ?)`, version, time.Now().UnixMilli()); err != nil {
			return fmt.Errorf("migration %s: %w", f.Name(), err)
		}
	}
	return nil
}
