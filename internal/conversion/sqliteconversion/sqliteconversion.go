// Package sqliteconversion keeps conversions in a SQLite file, for a Tonearm on
// one machine. What it acknowledged is on the disk and survives a power cut. It
// needs a local file system and permission to write in the file's folder.
package sqliteconversion

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tonearm/internal/conversion"
	"tonearm/internal/durable"
)

// Store is a conversion.Store in a SQLite file. Other packages and processes
// may have the file open and keep tables of their own in it.
type Store struct {
	path  string
	read  *sql.DB
	write *sql.DB       // one connection, so that writers of this process do not collide in the file
	turn  chan struct{} // holds one while somebody writes
}

// busyTimeout is how long a statement waits for another process to finish its
// writing.
const busyTimeout = 5 * time.Second

var _ conversion.Store = (*Store)(nil)

// Open returns a store in the file at path. The file is made if it is missing;
// its folder must exist. Open does not touch the file yet, so it does not fail
// while another process keeps the file busy. Call Prepare before anything else.
// Methods wait up to 5 s for writers in other processes.
func Open(path string) (*Store, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	dsn := (&url.URL{Scheme: "file", Path: absolute}).String() + fmt.Sprintf(
		"?_pragma=busy_timeout(%d)&_pragma=synchronous(FULL)&_txlock=immediate", busyTimeout.Milliseconds())
	if err := durable.Private(absolute); err != nil { // SQLite would make it readable by everybody
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &Store{path: path, turn: make(chan struct{}, 1)}
	if s.read, err = sql.Open("sqlite", dsn); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if s.write, err = sql.Open("sqlite", dsn); err != nil {
		_ = s.read.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s.read.SetMaxOpenConns(4)
	s.read.SetMaxIdleConns(4)
	s.write.SetMaxOpenConns(1)
	return s, nil
}

// Ping reports whether the file can be read.
func (s *Store) Ping(ctx context.Context) error {
	if _, err := s.read.ExecContext(ctx, `SELECT 1 FROM conversion LIMIT 1`); err != nil {
		return fmt.Errorf("ping %s: %w", s.path, err)
	}
	return nil
}

// Now returns this machine's time: all that use the file are on it.
func (s *Store) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// Close ends the use of the file.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// The parameters of both are the columns that row returns; replace also takes
// the revision to replace.
const (
	insert = `INSERT INTO conversion (id, revision, owner_id, idempotency_key, object_key, object_version,
			mp3_id, state, owing, wake_at, document)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)`
	replace = `UPDATE conversion SET revision = ?2, owner_id = ?3, idempotency_key = ?4, object_key = ?5,
			object_version = ?6, mp3_id = ?7, state = ?8, owing = ?9, wake_at = ?10, document = ?11
		WHERE id = ?1 AND revision = ?12`
)

// row returns the columns for c, whose document is d.
func row(c conversion.Conversion, d document) []any {
	return []any{c.ID, c.Revision, c.OwnerID, c.IdempotencyKey, c.Object.Key, c.Object.Version,
		c.MP3.ID, c.State, len(c.Owed()) > 0, milliseconds(c.WakeAt), string(d)}
}

// knownFormat is true for records that this version may change; a missing
// format means 1.
var knownFormat = fmt.Sprintf(`coalesce(document ->> '$.format', 1) <= %d`, conversion.Format)

// milliseconds is the column of a time, NULL for the zero time.
func milliseconds(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// Create adds c.
func (s *Store) Create(ctx context.Context, c conversion.Conversion) error {
	d, err := json.Marshal(c)
	if err == nil {
		_, err = s.exec(ctx, insert, row(c, d)...)
	}
	if err != nil {
		return fmt.Errorf("create conversion %s: %w", c.ID, contractError(err))
	}
	return nil
}

// exec writes. Writers are served in the order in which they come: among those
// that wait for a connection database/sql would choose any, and some would wait
// long.
func (s *Store) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
		return s.write.ExecContext(ctx, query, args...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// contractError turns a violated unique index into conversion.ErrExists, and a
// full disk into conversion.ErrFull.
func contractError(err error) error {
	var sqliteErr *sqlite.Error
	if errors.As(err, &sqliteErr) {
		switch sqliteErr.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return fmt.Errorf("%w: %w", conversion.ErrExists, err)
		case sqlite3.SQLITE_FULL:
			return fmt.Errorf("%w: %w", conversion.ErrFull, err)
		}
	}
	return err
}

// ByID returns the conversion with this id.
func (s *Store) ByID(ctx context.Context, id string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, `id = ?`, id)
	if err != nil {
		return c, fmt.Errorf("conversion %s: %w", id, err)
	}
	return c, nil
}

// ByIDs returns the conversions with these ids.
func (s *Store) ByIDs(ctx context.Context, ids []string) ([]conversion.Conversion, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	found, err := s.many(ctx, `id IN (?`+strings.Repeat(`, ?`, len(ids)-1)+`)`, args, len(ids))
	if err != nil {
		return nil, fmt.Errorf("conversions by id: %w", err)
	}
	return found, nil
}

// ByIdempotencyKey returns the conversion that the owner made under key.
func (s *Store) ByIdempotencyKey(ctx context.Context, ownerID, key string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, `owner_id = ? AND idempotency_key = ?`, ownerID, key)
	if err != nil {
		return c, fmt.Errorf("conversion of %s by idempotency key: %w", ownerID, err)
	}
	return c, nil
}

// ByObject returns the conversion of one version of a source.
func (s *Store) ByObject(ctx context.Context, key, version string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, `object_key = ? AND object_version = ?`, key, version)
	if err != nil {
		return c, fmt.Errorf("conversion by object: %w", err) // an inbox key holds an address
	}
	return c, nil
}

// ByMP3 returns the conversion with this MP3.
func (s *Store) ByMP3(ctx context.Context, mp3ID string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, `mp3_id = ?`, mp3ID)
	if err != nil {
		return c, fmt.Errorf("conversion of MP3 %s: %w", mp3ID, err)
	}
	return c, nil
}

// one returns the document of the row where condition holds.
func (s *Store) one(ctx context.Context, condition string, args ...any) (d document, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT document FROM conversion WHERE `+condition, args...).Scan((*[]byte)(&d))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, conversion.ErrNotFound
	}
	return d, err
}

func (s *Store) oneDecoded(ctx context.Context, condition string, args ...any) (conversion.Conversion, error) {
	d, err := s.one(ctx, condition, args...)
	if err != nil {
		return conversion.Conversion{}, err
	}
	return d.Decode()
}

// Update writes what change makes of the conversion.
func (s *Store) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	return conversion.UpdateDocument(id, change,
		func() (document, error) { return s.one(ctx, `id = ?`, id) },
		func(stored document, before, after conversion.Conversion) (bool, error) {
			d, err := rewritten(stored, before, after)
			if err != nil {
				return false, err
			}
			result, err := s.exec(ctx, replace, append(row(after, d), before.Revision)...)
			if err != nil {
				return false, contractError(err)
			}
			n, err := result.RowsAffected()
			return n == 1, err
		})
}

// Settle empties the outbox of this revision.
func (s *Store) Settle(ctx context.Context, id string, revision int64, wakeAt time.Time) error {
	encoded, err := json.Marshal(wakeAt)
	if err == nil {
		_, err = s.exec(ctx, `UPDATE conversion
			SET wake_at = ?, document = json_set(document, '$.outbox', json('[]'), '$.wake_at', json(?))
			WHERE id = ? AND revision = ? AND `+knownFormat, milliseconds(wakeAt), string(encoded), id, revision)
	}
	if err != nil {
		return fmt.Errorf("settle conversion %s: %w", id, err)
	}
	return nil
}

// List returns a page of an owner's conversions.
func (s *Store) List(ctx context.Context, q conversion.Query) ([]conversion.Conversion, error) {
	if len(q.States) > 0 {
		return s.listStates(ctx, q)
	}
	condition, args := `owner_id = ? AND state != ?`, []any{q.OwnerID, conversion.Deleted}
	if q.Before != "" {
		condition, args = condition+` AND id < ?`, append(args, q.Before)
	}
	found, err := s.many(ctx, condition+` ORDER BY id DESC`, args, q.Limit)
	if err != nil {
		return nil, fmt.Errorf("list conversions of %s: %w", q.OwnerID, err)
	}
	return found, nil
}

// listStates reads a page of each state from the index and returns the newest
// of these. Conversions in other states are not looked at, however many there
// are.
func (s *Store) listStates(ctx context.Context, q conversion.Query) ([]conversion.Conversion, error) {
	const page = `SELECT id FROM (SELECT id FROM conversion WHERE owner_id = ? AND state = ? AND id < ? ORDER BY id DESC LIMIT ?)`
	states := q.Listed()
	if len(states) == 0 {
		return nil, nil
	}
	before := any(q.Before)
	if q.Before == "" {
		before = []byte{} // sorts after every text
	}
	var args []any
	for _, state := range states {
		args = append(args, q.OwnerID, state, before, q.Limit)
	}
	found, err := s.many(ctx, `id IN (`+page+strings.Repeat(` UNION ALL `+page, len(states)-1)+`) ORDER BY id DESC`, args, q.Limit)
	if err != nil {
		return nil, fmt.Errorf("list conversions of %s: %w", q.OwnerID, err)
	}
	return found, nil
}

// holdings reads the fields of conversion.Holding; a condition follows.
const holdings = `SELECT id, state, coalesce(document ->> '$.object.etag', '') != '', coalesce(document ->> '$.object.size', 0),
	coalesce(document ->> '$.source_gone', 0), coalesce(document ->> '$.mp3.size', 0), coalesce(document ->> '$.mp3.duration', 0),
	coalesce(document ->> '$.mp3_gone', 0), coalesce(document ->> '$.progress.total_seconds', 0) FROM conversion WHERE `

// Uses returns what an owner's conversions take.
func (s *Store) Uses(ctx context.Context, ownerID string, from, to time.Time) (conversion.Uses, error) {
	condition, args := `owner_id = ? AND id >= ?`, []any{ownerID, conversion.IDAt(from)}
	if !to.IsZero() {
		condition, args = condition+` AND id < ?`, append(args, conversion.IDAt(to))
	}
	uses := conversion.Uses{}
	rows, err := s.read.QueryContext(ctx, holdings+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("use of %s: %w", ownerID, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var h conversion.Holding
		if err := rows.Scan(&h.ID, &h.State, &h.Uploaded, &h.Size, &h.SourceGone, &h.MP3Size, &h.MP3Seconds, &h.MP3Gone, &h.TotalSeconds); err != nil {
			return nil, fmt.Errorf("use of %s: %w", ownerID, err)
		}
		uses.Add(h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("use of %s: %w", ownerID, err)
	}
	return uses, nil
}

// Unfinished counts the owner's conversions that have not ended, from the index
// alone.
func (s *Store) Unfinished(ctx context.Context, ownerID string) (map[conversion.State]int64, error) {
	counts := map[conversion.State]int64{}
	for _, state := range conversion.Unfinished {
		var n int64
		if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM conversion WHERE owner_id = ? AND state = ?`, ownerID, state).Scan(&n); err != nil {
			return nil, fmt.Errorf("count conversions of %s: %w", ownerID, err)
		}
		counts[state] = n
	}
	return counts, nil
}

// Owners returns the owners of the conversions that were made since then.
func (s *Store) Owners(ctx context.Context, since time.Time) (owners []string, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT owner_id FROM conversion WHERE id >= ?`, conversion.IDAt(since))
	if err != nil {
		return nil, fmt.Errorf("owners of conversions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	known := map[string]bool{} // DISTINCT would read all records in the order of their owners
	for rows.Next() {
		var owner string
		if err := rows.Scan(&owner); err != nil {
			return nil, fmt.Errorf("owners of conversions: %w", err)
		}
		if !known[owner] {
			known[owner], owners = true, append(owners, owner)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("owners of conversions: %w", err)
	}
	return owners, nil
}

// Due returns the conversions that somebody has to look at.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	found, err := s.many(ctx, `wake_at <= ? AND `+knownFormat+` ORDER BY wake_at`, []any{now.UnixMilli()}, limit)
	if err != nil {
		return nil, fmt.Errorf("due conversions: %w", err)
	}
	return found, nil
}

// Lapsed returns the running conversions whose lease has ended.
func (s *Store) Lapsed(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	found, err := s.many(ctx, `state = 'running' AND wake_at <= ? AND `+knownFormat+` ORDER BY wake_at`, []any{now.UnixMilli()}, limit)
	if err != nil {
		return nil, fmt.Errorf("lapsed conversions: %w", err)
	}
	return found, nil
}

// Owing returns the conversions that owe work or a notice.
func (s *Store) Owing(ctx context.Context, after string, limit int) ([]conversion.Conversion, error) {
	found, err := s.many(ctx, `owing = 1 AND id > ? AND `+knownFormat+` ORDER BY id`, []any{after}, limit)
	if err != nil {
		return nil, fmt.Errorf("owing conversions: %w", err)
	}
	return found, nil
}

// many returns up to limit conversions for which condition is true. condition
// also holds the order. It is always a text from this file, without values.
func (s *Store) many(ctx context.Context, condition string, args []any, limit int) ([]conversion.Conversion, error) {
	query := `SELECT document FROM conversion WHERE ` + condition + ` LIMIT ?` //nolint:gosec // no values in it
	rows, err := s.read.QueryContext(ctx, query, append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var found []conversion.Conversion
	for rows.Next() {
		var d document
		if err := rows.Scan((*[]byte)(&d)); err != nil {
			return nil, err
		}
		c, err := d.Decode()
		if err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, rows.Err()
}

// Purge removes a tombstone.
func (s *Store) Purge(ctx context.Context, id string) error {
	_, err := s.exec(ctx, `DELETE FROM conversion WHERE id = ? AND state = ? AND `+knownFormat, id, conversion.Deleted)
	if err != nil {
		return fmt.Errorf("purge conversion %s: %w", id, err)
	}
	return nil
}

// Lease takes or renews a lease.
func (s *Store) Lease(ctx context.Context, name, holder string, d time.Duration) (has string, err error) {
	now := time.Now()
	_, err = s.exec(ctx, `INSERT INTO lease (name, holder, until) VALUES (?1, ?2, ?3)
		ON CONFLICT (name) DO UPDATE SET holder = ?2, until = ?3 WHERE holder = ?2 OR until <= ?4`,
		name, holder, now.Add(d).UnixMilli(), now.UnixMilli())
	if err == nil {
		err = s.read.QueryRowContext(ctx, `SELECT holder FROM lease WHERE name = ?`, name).Scan(&has)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("lease %s: %w", name, contractError(err))
	}
	return has, nil
}

// Release ends a lease.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	if _, err := s.exec(ctx, `DELETE FROM lease WHERE name = ? AND holder = ?`, name, holder); err != nil {
		return fmt.Errorf("release lease %s: %w", name, err)
	}
	return nil
}
