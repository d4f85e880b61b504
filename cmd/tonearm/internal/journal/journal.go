package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

const (
	// life is how long an entry is kept that nobody uses.
	life        = 2 * 365 * 24 * time.Hour
	busyTimeout = 10 * time.Second
)

// State is how far a file is.
type State string

// The states of an entry.
const (
	Begun   State = "begun"
	Sent    State = "sent"
	Done    State = "done"
	Refused State = "refused"
)

// Source is a file, and what it is converted to.
type Source struct {
	Server  string
	Options string // from Options
	Path    string // absolute; any bytes
	Size    int64  // bytes
	ModTime int64  // ns since 1970
}

// Entry is what became of a file.
type Entry struct {
	Source
	State      State
	Key        string            // Idempotency-Key of the conversion
	Request    api.NewConversion // as it was first sent
	Mode       string            // what was sent of the file; '' for all of it
	Plan       string            // fingerprint of how that was made; '' for all of it
	SHA256     string            // of what was sent; '' if it is not known
	Conversion string            // its id; '' if it is not known
	MP3        api.MP3           // if Done
	Failure    conversion.Failure

	id int64
}

// Unchanged reports whether the file of the entry still has its size and time.
func (e Entry) Unchanged(s Source) bool { return e.Size == s.Size && e.ModTime == s.ModTime }

// Options returns the identity of what decides on an MP3 beside the video's
// content: the options, and the video's name if the title comes from it.
func Options(request api.NewConversion) string {
	name := request.Filename
	if o := request.Options; o != nil && o.Tags != nil && o.Tags.Title != "" {
		name = ""
	}
	b, _ := json.Marshal([]any{request.Options, name}) // cannot fail
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Journal is safe for concurrent use.
type Journal struct {
	db *sql.DB
}

const schema = `
CREATE TABLE IF NOT EXISTS file (
	id         INTEGER PRIMARY KEY,
	server     TEXT NOT NULL,
	options    TEXT NOT NULL,
	path       BLOB NOT NULL,
	size       INTEGER NOT NULL,
	mod_time   INTEGER NOT NULL,
	state      TEXT NOT NULL,
	key        TEXT NOT NULL,
	request    TEXT NOT NULL,
	mode       TEXT NOT NULL,
	plan       TEXT NOT NULL,
	sha256     TEXT NOT NULL,
	conversion TEXT NOT NULL,
	mp3        TEXT NOT NULL,
	failure    TEXT NOT NULL,
	used       INTEGER NOT NULL,
	UNIQUE (server, options, path)
);
CREATE INDEX IF NOT EXISTS file_content ON file (server, options, size, sha256);
CREATE TABLE IF NOT EXISTS place (
	path BLOB PRIMARY KEY,
	file INTEGER NOT NULL REFERENCES file ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS place_file ON place (file);`

const columns = `server, options, path, size, mod_time, state, key, request, mode, plan, sha256, conversion, mp3, failure`

// Open returns the journal in the folder dir, which is made if it is missing.
func Open(ctx context.Context, dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "journal.db")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would make it readable by everybody
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	j, err := open(ctx, dsn.String()+"?", "journal_mode(WAL)")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

// InMemory returns a journal that lasts only as long as the process.
func InMemory(ctx context.Context) (*Journal, error) { return open(ctx, "file::memory:?") }

func open(ctx context.Context, name string, pragmas ...string) (*Journal, error) {
	query := url.Values{
		"_pragma": append(pragmas, fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "synchronous(FULL)", "foreign_keys(ON)"),
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", name+query.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, schema)
	if err == nil {
		_, err = db.ExecContext(ctx, `DELETE FROM file WHERE used < ?`, time.Now().Add(-life).Unix())
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Journal{db}, nil
}

// Close closes the journal.
func (j *Journal) Close() error { return j.db.Close() }

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Find returns the entry of a file, whether or not the file has changed since. It
// returns nil if there is none.
func (j *Journal) Find(ctx context.Context, s Source) (*Entry, error) { return find(ctx, j.db, s) }

func find(ctx context.Context, q querier, s Source) (*Entry, error) {
	return scan(q.QueryRowContext(ctx, `SELECT id, `+columns+` FROM file WHERE server = ? AND options = ? AND path = ?`,
		s.Server, s.Options, []byte(s.Path)))
}

// Modes returns what was sent of files of this size that were converted like s, as in
// Entry.Mode, where the content is known; the part of a file comes before all of it.
// Only with these is it worth while to read the content of s.
func (j *Journal) Modes(ctx context.Context, s Source) ([]string, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT DISTINCT mode FROM file WHERE server = ? AND options = ? AND size = ? AND sha256 <> '' ORDER BY mode DESC`,
		s.Server, s.Options, s.Size)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var modes []string
	for rows.Next() {
		var mode string
		if err := rows.Scan(&mode); err != nil {
			return nil, err
		}
		modes = append(modes, mode)
	}
	return modes, rows.Err()
}

// SameContent returns the entry of a file of which the same was sent, with this SHA-256,
// and which has the size of s: the one that is furthest. It returns nil if there is none.
func (j *Journal) SameContent(ctx context.Context, s Source, mode, sum string) (*Entry, error) {
	return scan(j.db.QueryRowContext(ctx, `SELECT id, `+columns+` FROM file
		WHERE server = ? AND options = ? AND size = ? AND sha256 = ? AND mode = ? AND state IN ('done', 'sent', 'refused')
		ORDER BY state, id DESC LIMIT 1`, s.Server, s.Options, s.Size, sum, mode))
}

func scan(row *sql.Row) (*Entry, error) {
	var e Entry
	var path, request, mp3, failure []byte
	err := row.Scan(&e.id, &e.Server, &e.Options, &path, &e.Size, &e.ModTime, &e.State, &e.Key, &request, &e.Mode, &e.Plan, &e.SHA256, &e.Conversion, &mp3, &failure)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		e.Path = string(path)
		err = errors.Join(json.Unmarshal(request, &e.Request), json.Unmarshal(mp3, &e.MP3), json.Unmarshal(failure, &e.Failure))
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return &e, nil
}

// Begin puts e in the place of the file's entry, and returns what stands then. If
// another process has meanwhile begun the same file, that is its entry. replaced
// is the key of the entry that e takes the place of; empty for none.
func (j *Journal) Begin(ctx context.Context, e Entry, replaced string) (Entry, error) {
	err := j.update(ctx, func(tx *sql.Tx) error {
		old, err := find(ctx, tx, e.Source)
		if err != nil {
			return err
		}
		if old != nil && old.Key != replaced && old.Unchanged(e.Source) {
			e = *old
			return nil
		}
		if err := put(ctx, tx, &e); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM place WHERE file = ?`, e.id) // those of another MP3
		return err
	})
	return e, err
}

// Save writes what has become of a file. place is where its MP3 is saved; empty
// for nowhere.
func (j *Journal) Save(ctx context.Context, e Entry, place string) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		if err := put(ctx, tx, &e); err != nil || place == "" {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO place (path, file) VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET file = excluded.file`, []byte(place), e.id)
		return err
	})
}

func put(ctx context.Context, q querier, e *Entry) error {
	request, err1 := json.Marshal(e.Request)
	mp3, err2 := json.Marshal(e.MP3)
	failure, err3 := json.Marshal(e.Failure)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return q.QueryRowContext(ctx, `INSERT INTO file (`+columns+`, used) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (server, options, path) DO UPDATE SET size = excluded.size, mod_time = excluded.mod_time, state = excluded.state,
			key = excluded.key, request = excluded.request, mode = excluded.mode, plan = excluded.plan, sha256 = excluded.sha256, conversion = excluded.conversion,
			mp3 = excluded.mp3, failure = excluded.failure, used = excluded.used
		RETURNING id`,
		e.Server, e.Options, []byte(e.Path), e.Size, e.ModTime, e.State, e.Key, string(request), e.Mode, e.Plan, e.SHA256, e.Conversion,
		string(mp3), string(failure), time.Now().Unix()).Scan(&e.id)
}

// Forget drops the entry of a file, so that it begins anew.
func (j *Journal) Forget(ctx context.Context, s Source) error {
	_, err := j.db.ExecContext(ctx, `DELETE FROM file WHERE server = ? AND options = ? AND path = ?`, s.Server, s.Options, []byte(s.Path))
	return err
}

// Places returns the paths at which the MP3 of e was saved.
func (j *Journal) Places(ctx context.Context, e Entry) ([]string, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT path FROM place WHERE file = ? ORDER BY path`, e.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var places []string
	for rows.Next() {
		var path []byte
		if err := rows.Scan(&path); err != nil {
			return nil, err
		}
		places = append(places, string(path))
	}
	return places, rows.Err()
}

func (j *Journal) update(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := j.db.BeginTx(ctx, nil) // takes the write lock, see _txlock
	if err == nil {
		if err = do(tx); err == nil {
			return tx.Commit()
		}
		_ = tx.Rollback()
	}
	return fmt.Errorf("write the journal: %w", err)
}
