package sqlaccount

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is what differs between the databases.
type dialect struct {
	// duplicate reports whether err says that a unique value is there already.
	duplicate func(err error) bool
	// exclusively runs do on one connection while no other handle migrates.
	exclusively func(ctx context.Context, db *sql.DB, do func(execer) error) error
	// create makes the database where that does not happen by itself.
	create func() error
}

// execer is a connection or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// busyTimeout is how long a writer to SQLite waits for another.
const busyTimeout = 5 * time.Second

// OpenSQLite returns a handle on the database file at path, which may hold the
// tables of other packages too. Prepare makes the file where it is missing; its
// folder must be there.
func OpenSQLite(path string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open accounts in %s: %w", path, err)
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)"},
		"_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open accounts in %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	return newStore(db, dialect{
		duplicate: func(err error) bool {
			var e *sqlite.Error
			return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
		},
		exclusively: inTransaction,
		create: func() error { // SQLite would make it readable by everybody
			f, err := os.OpenFile(abs, os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil {
				return err
			}
			return f.Close()
		},
	}), nil
}

// inTransaction relies on _txlock=immediate: one writer at a time, and SQLite
// rolls back what a crash left.
func inTransaction(ctx context.Context, db *sql.DB, do func(execer) error) error {
	tx, err := begin(ctx, db)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing to do after a commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// begin waits for a file that is busy. SQLite's own waiting does not cover a
// new file's switch to WAL: it fails at once while another process writes.
func begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	waiting, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		tx, err := db.BeginTx(ctx, nil)
		var e *sqlite.Error
		if !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY {
			return tx, err
		}
		select {
		case <-retry.C:
		case <-waiting.Done():
			return nil, err
		}
	}
}

// OpenMySQL returns a handle on a MySQL or MariaDB database. The DSN is that of
// github.com/go-sql-driver/mysql and must name the database, such as
// "tonearm:password@tcp(mysql:3306)/tonearm"; time-outs that it does not set
// are set, strict mode and utf8mb4 always are.
func OpenMySQL(dsn string) (*Store, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("MySQL DSN: %w", err)
	}
	if cfg.DBName == "" {
		return nil, errors.New("MySQL DSN: it names no database")
	}
	cfg.ParseTime = true
	cfg.InterpolateParams = true // one round trip a query
	cfg.Collation = "utf8mb4_bin"
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	cfg.Params["sql_mode"] = "CONCAT(@@sql_mode,',STRICT_ALL_TABLES')"
	for _, t := range []*time.Duration{&cfg.Timeout, &cfg.ReadTimeout, &cfg.WriteTimeout} {
		if *t == 0 {
			*t = 10 * time.Second
		}
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("MySQL DSN: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(4)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(3 * time.Minute) // below the server's and any proxy's idle limit; follows a failover
	return newStore(db, dialect{
		duplicate: func(err error) bool {
			var e *mysql.MySQLError
			return errors.As(err, &e) && e.Number == 1062
		},
		exclusively: underNamedLock,
		create:      func() error { return nil },
	}), nil
}

// underNamedLock holds a lock named for the database, since DDL commits by
// itself in MySQL. The lock ends with its connection.
func underNamedLock(ctx context.Context, db *sql.DB, do func(execer) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	const name = `CONCAT('tonearm.account.', MD5(DATABASE()))`
	for held := false; !held; { // in turns shorter than the read time-out
		var got sql.NullInt64
		if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(`+name+`, 2)`).Scan(&got); err != nil {
			return err
		}
		held = got.Int64 == 1
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		var released sql.NullInt64
		_ = conn.QueryRowContext(ctx, `SELECT RELEASE_LOCK(`+name+`)`).Scan(&released)
	}()
	return do(conn)
}
