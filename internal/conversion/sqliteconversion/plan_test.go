package sqliteconversion

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"modernc.org/sqlite"

	"tonearm/internal/conversion"
)

// statements notes what the store sends to SQLite.
type statements struct {
	dsn string

	mu   sync.Mutex
	sent map[string][]driver.NamedValue // by text
}

func (s *statements) Driver() driver.Driver { return &sqlite.Driver{} }

func (s *statements) Connect(context.Context) (driver.Conn, error) {
	conn, err := s.Driver().Open(s.dsn)
	return noting{conn, s}, err
}

func (s *statements) note(query string, args []driver.NamedValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[query] = args
}

type noting struct {
	driver.Conn
	to *statements
}

func (n noting) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	n.to.note(query, args)
	return n.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (n noting) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	n.to.note(query, args)
	return n.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// TestPlans checks that every query finds its rows by an index, in the order
// that it asks for.
func TestPlans(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "records.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := conversion.New(conversion.Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}

	use := func(want string, queries int, call func() error) {
		t.Helper()
		noted := &statements{dsn: "file:" + path, sent: map[string][]driver.NamedValue{}}
		db := sql.OpenDB(noted)
		defer db.Close()
		read, write := s.read, s.write
		s.read, s.write = db, db
		err := call()
		s.read, s.write = read, write
		if err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if len(noted.sent) != queries {
			t.Errorf("%s: %d queries, want %d", want, len(noted.sent), queries)
		}
		for query, args := range noted.sent {
			plan := explain(t, s.read, query, args)
			plan = slices.DeleteFunc(plan, func(step string) bool { return strings.HasPrefix(step, "SCAN (subquery-") }) // of one page
			if text := strings.Join(plan, "; "); !strings.Contains(text, want) || strings.Contains(text, "SCAN") || strings.Contains(text, "B-TREE") {
				t.Errorf("%s\nis done by %q, want %s", query, text, want)
			}
		}
	}
	found := func(_ conversion.Conversion, err error) error { return err }
	all := func(_ []conversion.Conversion, err error) error { return err }
	const byID = "INDEX sqlite_autoindex_conversion_1 (id=?"
	if err := s.Create(ctx, c); err != nil {
		t.Fatal(err)
	}
	use(byID, 1, func() error { return found(s.ByID(ctx, c.ID)) })
	use(byID, 1, func() error { return all(s.ByIDs(ctx, []string{c.ID, "other"})) })
	use("INDEX conversion_idempotency_key (owner_id=? AND idempotency_key=?)", 1, func() error {
		return found(s.ByIdempotencyKey(ctx, c.OwnerID, c.IdempotencyKey))
	})
	use("INDEX conversion_object (object_key=? AND object_version=?)", 1, func() error {
		return found(s.ByObject(ctx, c.Object.Key, c.Object.Version))
	})
	use("INDEX conversion_mp3 (mp3_id=?)", 1, func() error { return found(s.ByMP3(ctx, c.MP3.ID)) })
	use(byID, 2, func() error {
		return found(s.Update(ctx, c.ID, func(*conversion.Conversion) error { return nil }))
	})
	use(byID, 1, func() error { return s.Settle(ctx, c.ID, 2, time.Time{}) })
	use(byID, 1, func() error { return s.Purge(ctx, c.ID) })
	q := conversion.Query{OwnerID: "u1", Limit: 10}
	use("INDEX conversion_owner (owner_id=?)", 1, func() error { return all(s.List(ctx, q)) })
	q.Before = c.ID
	use("INDEX conversion_owner (owner_id=? AND id<?)", 1, func() error { return all(s.List(ctx, q)) })
	for _, states := range [][]conversion.State{{conversion.Done}, {conversion.Done, conversion.Failed}} {
		q.States = states
		use("COVERING INDEX conversion_owner_state (owner_id=? AND state=? AND id<?)", 1, func() error { return all(s.List(ctx, q)) })
	}
	use("INDEX conversion_owner (owner_id=? AND id>? AND id<?)", 1, func() error {
		_, err := s.Uses(ctx, "u1", time.Now().Add(-time.Hour), time.Now())
		return err
	})
	use("INDEX sqlite_autoindex_conversion_1 (id>?)", 1, func() error {
		_, err := s.Owners(ctx, time.Now())
		return err
	})
	use("COVERING INDEX conversion_owner_state (owner_id=? AND state=?)", 1, func() error {
		_, err := s.Unfinished(ctx, "u1")
		return err
	})
	use("INDEX conversion_wake_at (wake_at", 1, func() error { return all(s.Due(ctx, time.Now(), 10)) })
	use("INDEX conversion_lapsed (wake_at", 1, func() error { return all(s.Lapsed(ctx, time.Now(), 10)) })
	use("INDEX conversion_owing (id>?)", 1, func() error { return all(s.Owing(ctx, "", 10)) })
}

// explain returns the steps by which SQLite does query.
func explain(t *testing.T, db *sql.DB, query string, args []driver.NamedValue) (steps []string) {
	t.Helper()
	values := []any{}
	for _, arg := range args {
		values = append(values, arg.Value)
	}
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, values...)
	if err != nil {
		t.Fatalf("explain %s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// TestUpgrade prepares a file of the previous version, and checks that the
// previous version can still open it.
func TestUpgrade(t *testing.T) {
	ctx := t.Context()
	s, err := Open(filepath.Join(t.TempDir(), "records.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, statements := range []string{
		migrations[0],
		`CREATE TABLE conversion_schema (version INTEGER NOT NULL) STRICT; INSERT INTO conversion_schema VALUES (1)`,
	} {
		if _, err := s.write.ExecContext(ctx, statements); err != nil {
			t.Fatal(err)
		}
	}
	old, err := conversion.New(conversion.Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	old.Format = 0
	if err := s.Create(ctx, old); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var version int
	if err := s.read.QueryRowContext(ctx, `SELECT version FROM conversion_schema`).Scan(&version); err != nil || version != 1 {
		t.Errorf("version %d, %v; the version before refuses more than 1", version, err)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(name, "conversion_"))
	}
	if want := []string{"idempotency_key", "lapsed", "mp3", "object", "owing", "owner", "owner_state", "wake_at"}; !slices.Equal(names, want) || rows.Err() != nil {
		t.Errorf("indexes %q, %v; want %q", names, rows.Err(), want)
	}
	if got, err := s.ByID(ctx, old.ID); err != nil || got.Format != 0 || got.Revision != old.Revision {
		t.Errorf("an old record is %+v, %v", got, err)
	}
}
