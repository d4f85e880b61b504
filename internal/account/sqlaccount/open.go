package sqlaccount

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"tonearm/internal/durable"
	"tonearm/internal/retry"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is what differs between the databases.
type dialect struct {
	// duplicate reports whether err says that a unique value is there already.
	duplicate func(err error) bool
	// full reports whether err says that there is no room for more.
	full func(err error) bool
	// there reports whether err says that the column of a migration is there
	// already: a crash came before the migration was recorded.
	there func(err error) bool
	// again reports whether err says that the transaction failed because of
	// another one, and may be repeated.
	again func(err error) bool
	// forUpdate ends a SELECT that a transaction is going to change.
	forUpdate string
	// transact runs do in a transaction.
	transact func(ctx context.Context, db *sql.DB, do func(execer) error) error
	// exclusively runs do on one connection while no other handle may migrate.
	exclusively func(ctx context.Context, db *sql.DB, do func(execer) error) error
	// create makes the database if opening it does not.
	create func() error
}

// execer is a connection or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// busyTimeout is how long a writer to SQLite waits for another one.
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
			return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
		},
		full: func(err error) bool {
			var e *sqlite.Error
			return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_FULL
		},
		there:       func(error) bool { return false }, // a migration is one transaction
		again:       func(error) bool { return false }, // one writer at a time
		transact:    inTransaction,
		exclusively: inTransaction,
		create:      func() error { return durable.Private(abs) }, // SQLite would make it readable by everybody
	}), nil
}

// inTransaction relies on _txlock=immediate: one writer at a time, and SQLite
// rolls back what a crash left.
func inTransaction(ctx context.Context, db *sql.DB, do func(execer) error) error {
	tx, err := begin(ctx, db)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// begin waits while the file is busy. The busy timeout of SQLite does not cover
// the switch of a new file to WAL, which fails at once while another process
// writes.
func begin(ctx context.Context, db *sql.DB) (tx *sql.Tx, err error) {
	const pause = 20 * time.Millisecond
	err = retry.Do(ctx, retry.Policy{Initial: pause, Max: pause, Patience: busyTimeout}, func(ctx context.Context) (err error) {
		tx, err = db.BeginTx(ctx, nil)
		var e *sqlite.Error
		if !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY {
			return retry.Permanent(err)
		}
		return err
	})
	return tx, err
}

// mysqlConns is the most connections of one process. MySQL allows 151 by
// default: enough for ten gateways and some dispatchers, even while a rollout
// starts more of them.
const mysqlConns = 8

// OpenMySQL returns a handle on a MySQL or MariaDB database. The DSN has the
// form of github.com/go-sql-driver/mysql and must name the database, such as
// "tonearm:password@tcp(mysql:3306)/tonearm". Time-outs that it does not set
// get defaults; strict mode and utf8mb4 are always set. With a TLS
// configuration every connection is encrypted, and the server's certificate
// must be valid for the DSN's host; with nil the DSN decides. log gets what the
// driver reports.
func OpenMySQL(dsn string, tlsConfig *tls.Config, log *slog.Logger) (*Store, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("MySQL DSN: %w", err)
	}
	if cfg.DBName == "" {
		return nil, errors.New("MySQL DSN: it names no database; add one after the last slash, as in user:password@tcp(host:3306)/tonearm")
	}
	if tlsConfig != nil {
		cfg.TLS, cfg.AllowFallbackToPlaintext = tlsConfig, false
	}
	cfg.Logger = driverLog{log}
	_ = mysql.SetLogger(driverLog{log}) // for what the driver reports outside of a connection; it refuses nil only
	cfg.ParseTime = true
	cfg.ClientFoundRows = true   // an UPDATE counts the rows that it found, as in SQLite
	cfg.InterpolateParams = true // one round trip for each query
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
	patient := cfg.Clone() // changing a large table takes time
	patient.ReadTimeout, patient.WriteTimeout = 0, 0
	migrating, err := mysql.NewConnector(patient)
	if err != nil {
		return nil, fmt.Errorf("MySQL DSN: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(mysqlConns)
	db.SetMaxIdleConns(4)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(3 * time.Minute) // below the server's and any proxy's idle limit, and short enough to follow a failover
	return newStore(db, dialect{
		duplicate: func(err error) bool {
			var e *mysql.MySQLError
			return errors.As(err, &e) && e.Number == 1062
		},
		full: func(err error) bool { // ER_DISK_FULL, ER_RECORD_FILE_FULL, or error 28 of the system
			var e *mysql.MySQLError
			return errors.As(err, &e) && (e.Number == 1021 || e.Number == 1114 || e.Number == 3 || e.Number == 1026)
		},
		there: func(err error) bool { // ER_DUP_FIELDNAME
			var e *mysql.MySQLError
			return errors.As(err, &e) && e.Number == 1060
		},
		again: func(err error) bool { // ER_LOCK_DEADLOCK
			var e *mysql.MySQLError
			return errors.As(err, &e) && e.Number == 1213
		},
		forUpdate: " FOR UPDATE",
		transact: func(ctx context.Context, db *sql.DB, do func(execer) error) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }() // does nothing after a commit
			if err := do(tx); err != nil {
				return err
			}
			return tx.Commit()
		},
		exclusively: func(ctx context.Context, _ *sql.DB, do func(execer) error) error {
			db := sql.OpenDB(migrating)
			defer func() { _ = db.Close() }()
			return underNamedLock(ctx, db, do)
		},
		create: func() error { return nil },
	}), nil
}

// driverLog passes on what the driver reports.
type driverLog struct{ log *slog.Logger }

// Print implements mysql.Logger.
func (d driverLog) Print(v ...any) { d.log.Warn("MySQL driver", "message", fmt.Sprint(v...)) }

// underNamedLock holds a lock named after the database, since a transaction
// does not cover DDL in MySQL. The lock ends with its connection.
func underNamedLock(ctx context.Context, db *sql.DB, do func(execer) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	const name = `CONCAT('tonearm.account.', MD5(DATABASE()))`
	for held := false; !held; { // in short turns, so that a stop is noticed
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
