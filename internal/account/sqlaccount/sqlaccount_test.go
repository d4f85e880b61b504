package sqlaccount

// Over 500 lines: each test is short, and all need the databases and the helpers in this file.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"

	"tonearm/internal/account"
	"tonearm/internal/account/accounttest"
)

var quiet = slog.New(slog.DiscardHandler)

// databases runs test for each kind of server at hand. fresh makes an empty
// database and returns how to open handles on it.
func databases(t *testing.T, test func(t *testing.T, fresh func(t *testing.T) (open func() (*Store, error)))) {
	t.Run("SQLite", func(t *testing.T) {
		test(t, func(t *testing.T) func() (*Store, error) {
			path := filepath.Join(t.TempDir(), "with space #1 ?%41.db")
			return func() (*Store, error) { return OpenSQLite(path) }
		})
	})
	t.Run("MySQL", func(t *testing.T) {
		dsn := os.Getenv("TONEARM_TEST_MYSQL")
		if dsn == "" {
			if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
				t.Fatal("TONEARM_TEST_MYSQL is not set")
			}
			t.Skip("TONEARM_TEST_MYSQL is not set")
		}
		test(t, func(t *testing.T) func() (*Store, error) {
			cfg, err := mysql.ParseDSN(dsn)
			if err != nil {
				t.Fatal(err)
			}
			server, err := sql.Open("mysql", dsn)
			if err != nil {
				t.Fatal(err)
			}
			cfg.DBName = "account_" + strings.ReplaceAll(uuid.NewString(), "-", "")
			// The server's weakest settings: Open must set what they lack.
			if _, err := server.ExecContext(t.Context(), "CREATE DATABASE "+cfg.DBName+" CHARACTER SET latin1"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := server.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE "+cfg.DBName); err != nil {
					t.Error(err)
				}
				server.Close()
			})
			return func() (*Store, error) { return OpenMySQL(cfg.FormatDSN(), nil, quiet) }
		})
	})
}

// prepared opens a handle with the schema in place.
func prepared(t *testing.T, open func() (*Store, error)) *Store {
	t.Helper()
	s := opened(t, open)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// cheap is for tests that do not care about the cost.
var cheap = Params{MemoryKiB: 64, Time: 1, Threads: 1}

func TestSuite(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		accounttest.Run(t, func(t *testing.T) account.Store {
			s := prepared(t, fresh(t))
			s.hasher.params = cheap
			s.dummy = s.hasher.dummy()
			return s
		})
	})
}

// Ten gateways start at once, over the database of the version before. The
// accounts that it has count as proven. A gateway of that version goes on, and
// what it adds does not.
func TestPrepareAtOnce(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		ctx := t.Context()
		open := fresh(t)
		old := opened(t, open)
		check(t, old.dialect.create())
		first, err := migrations.ReadFile("migrations/0001_users.sql")
		check(t, err)
		insert := func(email string) {
			t.Helper()
			_, err := old.db.ExecContext(ctx, `INSERT INTO users (id, email, password_hash, max_upload_bytes, created_at) VALUES (?, ?, 'x', 0, 1700000000000)`, uuid.NewString(), email)
			check(t, err)
		}
		for _, statement := range []string{string(first), `CREATE TABLE account_migrations (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`,
			`INSERT INTO account_migrations (version, applied_at) VALUES (1, 1)`} {
			_, err := old.db.ExecContext(ctx, statement)
			check(t, err)
		}
		insert("before@example.org")

		var wg sync.WaitGroup
		for i := range 10 {
			s := opened(t, open)
			s.hasher.params = cheap
			wg.Go(func() {
				if err := s.Prepare(ctx); err != nil {
					t.Errorf("prepare: %v", err)
				}
				if _, err := s.Create(ctx, fmt.Sprintf("user%d@example.org", i), "a password", 0); err != nil {
					t.Errorf("create: %v", err)
				}
			})
		}
		wg.Wait()
		insert("meanwhile@example.org")
		s := prepared(t, open) // once more, over what is there
		var versions, users int
		files, err := migrations.ReadDir("migrations")
		check(t, err)
		row := s.db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM account_migrations), (SELECT COUNT(*) FROM users)`)
		if err := row.Scan(&versions, &users); err != nil || versions != len(files) || users != 12 {
			t.Errorf("%d migrations and %d users, %v; want %d and 12", versions, users, err, len(files))
		}
		for email, confirmed := range map[string]bool{"before@example.org": true, "user3@example.org": true, "meanwhile@example.org": false} {
			u, err := s.ByEmail(ctx, email)
			if err != nil || u.Confirmed() != confirmed || !u.ProvenAt.IsZero() {
				t.Errorf("%s: %+v, %v", email, u, err)
			}
		}
	})
}

// Migrations that a crash interrupted are done again. SQLite undoes those of this
// start, MySQL keeps what they did.
func TestPrepareAfterCrash(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s, ctx := opened(t, fresh(t)), t.Context()
		check(t, s.dialect.create())
		do := func(statement string) {
			t.Helper()
			_, err := s.db.ExecContext(ctx, statement)
			check(t, err)
		}
		do(`CREATE TABLE account_deletions (other INT)`) // so the last migration cannot go on
		if err := s.Prepare(ctx); err == nil {
			t.Fatal("the last migration went on")
		}
		do(`DROP TABLE account_deletions`)
		if strings.HasSuffix(t.Name(), "/MySQL") {
			do(`DELETE FROM account_migrations WHERE version > 1`) // as if it had ended before it noted them
			do(`ALTER TABLE users DROP COLUMN deleted_at`)
		} else if left := text(t, s, `SELECT name FROM sqlite_master`); left != "" {
			t.Errorf("the start that failed left %s", left)
		}
		check(t, s.Prepare(ctx))
		if _, err := s.Create(ctx, "a@example.org", "a password", 0); err != nil {
			t.Error(err)
		}
		if d, err := s.Deleted(ctx, "", 1); err != nil || len(d) != 0 {
			t.Errorf("deleted are %v, %v", d, err)
		}
	})
}

// The accounts that are being deleted are looked for every few seconds, and found
// without reading all users. The migration lists those that were being deleted
// before it, and Remove leaves nothing.
func TestDeletedAmongMany(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s, ctx := prepared(t, fresh(t)), t.Context()
		var rows, ids []string
		for range 3000 {
			id := uuid.NewString()
			ids, rows = append(ids, id), append(rows, `('`+id+`', '`+id+`@example.org', 'x', 0, 1700000000000)`)
		}
		_, err := s.db.ExecContext(ctx, `INSERT INTO users (id, email, password_hash, max_upload_bytes, created_at) VALUES `+strings.Join(rows, ", "))
		check(t, err)
		want := ids[:5]
		slices.Sort(want)
		for _, id := range want[:2] {
			_, err := s.db.ExecContext(ctx, `UPDATE users SET deleted_at = 1800000000000 WHERE id = ?`, id)
			check(t, err)
		}
		for _, back := range []string{`DELETE FROM account_migrations WHERE version >= 10`, `ALTER TABLE users DROP COLUMN limits`} {
			_, err = s.db.ExecContext(ctx, back)
			check(t, err)
		}
		check(t, s.Prepare(ctx))
		for _, id := range want[2:] {
			_, err := s.Delete(ctx, account.User{ID: id})
			check(t, err)
		}
		var got []string
		for after := ""; ; {
			page, err := s.Deleted(ctx, after, 2)
			check(t, err)
			for _, u := range page {
				got, after = append(got, u.ID), u.ID
			}
			if len(page) < 2 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("deleted are %v, want %v", got, want)
		}
		explain := `EXPLAIN QUERY PLAN `
		if strings.HasSuffix(t.Name(), "/MySQL") {
			explain = `EXPLAIN `
			text(t, s, `ANALYZE TABLE users, account_deletions`)
		}
		plan := text(t, s, explain+selectDeleted, "", 100)
		if !regexp.MustCompile(`SEARCH u USING INDEX \S+ \(id=\?\)|u eq_ref PRIMARY`).MatchString(plan) || strings.Contains(plan, "B-TREE") || strings.Contains(plan, "filesort") {
			t.Errorf("it is done by %s", plan)
		}
		for _, id := range want {
			check(t, s.Remove(ctx, id))
		}
		if left := text(t, s, `SELECT user_id FROM account_deletions`); left != "" {
			t.Errorf("left are %s", left)
		}
	})
}

// text returns all that a query says.
func text(t *testing.T, s *Store, query string, args ...any) (all string) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), query, args...)
	check(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	check(t, err)
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(sql.NullString)
		}
		check(t, rows.Scan(row...))
		for _, column := range row {
			all += column.(*sql.NullString).String + " "
		}
	}
	check(t, rows.Err())
	return all
}

// What is kept opens nothing: neither a key's secret nor, once a mail is sent,
// its link.
// TestEarlierAddresses: accounts whose address no new account can have, or that is
// now written in another way, go on: their owners find them by what they always
// typed, and nobody makes a second one.
func TestEarlierAddresses(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(t *testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		ctx := t.Context()
		const unicode, ascii = "émile@exämple.org", "émile@xn--exmple-cua.org"
		sign := func(account.Proof) (string, error) { return "token", nil }
		ids := map[string]string{}
		n := 0
		earlier := func(email string) { // makes a row as version 0.1 did
			t.Helper()
			n++
			u, err := s.Create(ctx, fmt.Sprintf("user%d@example.org", n), "correct horse", 0)
			if err == nil {
				_, err = s.db.ExecContext(ctx, `UPDATE users SET email = ? WHERE id = ?`, email, u.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			ids[email] = u.ID
		}
		finds := func(typed, stored string) {
			t.Helper()
			u, err := s.Authenticate(ctx, typed, "correct horse")
			if err != nil || u.ID != ids[stored] || u.Email != stored {
				t.Errorf("login as %q: got %q, %v; want %q", typed, u.Email, err, stored)
			}
			if u, err := s.ByEmail(ctx, typed); err != nil || u.ID != ids[stored] {
				t.Errorf("by %q: got %q, %v; want %q", typed, u.Email, err, stored)
			}
			if err := s.RequestReset(ctx, typed, sign); err != nil {
				t.Errorf("reset for %q: %v", typed, err)
			}
		}
		taken := func(typed string) {
			t.Helper()
			if _, err := s.Create(ctx, typed, "another password", 0); !errors.Is(err, account.ErrExists) {
				t.Errorf("create %q: got %v, want ErrExists", typed, err)
			}
			if err := s.Register(ctx, account.NewUser{Email: typed, Password: "another password"}, sign); err != nil {
				t.Errorf("register %q: %v", typed, err)
			}
			all, err := s.List(ctx, account.Filter{}, "", 100)
			if err != nil || len(all) != n {
				t.Errorf("%d accounts after %q, %v; want %d", len(all), typed, err, n)
			}
		}

		earlier(unicode)
		for _, typed := range []string{unicode, "ÉMILE@EXÄMPLE.ORG", "e\u0301mile@exa\u0308mple.org", ascii} {
			finds(typed, unicode)
			taken(typed)
		}
		earlier(ascii) // there may be two: each owner types their own
		finds(unicode, unicode)
		finds(ascii, ascii)
		for _, odd := range []string{"a@[192.0.2.1]", "a@127.0.0.1", "a@exаmple.org", "a@exa_mple.org", "e\u0301@e\u0301.org"} {
			earlier(odd)
			finds(" "+odd, odd)
			if _, err := s.Create(ctx, odd, "another password", 0); !errors.Is(err, account.ErrInvalid) && !errors.Is(err, account.ErrExists) {
				t.Errorf("create %q: %v", odd, err)
			}
		}
		taken("\u00e9@\u00e9.org")
		// The answer for a look-alike is the same whether or not the domain has accounts.
		for _, typed := range []string{"b@exаmple.org", "b@unknоwn.org"} {
			err := s.Register(ctx, account.NewUser{Email: typed, Password: "another password"}, sign)
			if !errors.Is(err, account.ErrInvalid) || !strings.Contains(err.Error(), "mixes alphabets") {
				t.Errorf("register %q: got %v", typed, err)
			}
		}
	})
}

func TestNoSecretsAreKept(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		s.hasher.params = cheap
		u, err := s.Create(t.Context(), "a@example.org", "a password", 0)
		check(t, err)
		_, secret, err := s.CreateKey(t.Context(), u, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeRead}})
		check(t, err)
		var hash []byte
		check(t, s.db.QueryRowContext(t.Context(), `SELECT hash FROM account_keys`).Scan(&hash))
		if sum := sha256.Sum256([]byte(secret)); !bytes.Equal(hash, sum[:]) {
			t.Errorf("kept is %x, want the SHA-256 %x", hash, sum)
		}
	})
}

// A key of an account that is being deleted opens nothing, even if its row is
// still there.
func TestKeyOfDeletedAccount(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		s.hasher.params = cheap
		u, err := s.Create(t.Context(), "a@example.org", "a password", 0)
		check(t, err)
		_, secret, err := s.CreateKey(t.Context(), u, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeRead}})
		check(t, err)
		_, _, err = s.ByKey(t.Context(), secret)
		check(t, err)
		_, err = s.db.ExecContext(t.Context(), `UPDATE users SET deleted_at = 1`)
		check(t, err)
		if _, _, err := s.ByKey(t.Context(), secret); !errors.Is(err, account.ErrToken) {
			t.Errorf("its key: %v", err)
		}
	})
}

// opened opens a handle.
func opened(t *testing.T, open func() (*Store, error)) *Store {
	t.Helper()
	s, err := open()
	check(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnknownAddressCostsTheSame(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		if _, err := s.Create(t.Context(), "a@example.org", "a password", 0); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][2]string{
			{"a@example.org", "a wrong one"}, {"nobody@example.org", "a password"},
			{"not an address", "a password"}, {"a@example.org", ""}, {"nobody@example.org", strings.Repeat("p", 1<<20)},
			{"a@example.org", "a password"},
		} {
			before := s.hasher.runs.Load()
			_, err := s.Authenticate(t.Context(), c[0], c[1])
			if err != nil && !errors.Is(err, account.ErrCredentials) {
				t.Fatal(err)
			}
			if got := s.hasher.runs.Load() - before; got != 1 {
				t.Errorf("%s with %.20q: %d hashes, want 1", c[0], c[1], got)
			}
		}
		if stored, err := parsePHC(s.dummy); err != nil || stored.Params != s.hasher.params {
			t.Errorf("the dummy costs %+v, %v; want %+v", stored.Params, err, s.hasher.params)
		}
	})
}

// A link for an address that the account had when it was asked for proves nothing
// once the account has another one, and none proves anything after its time.
func TestLateLink(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		s.hasher.params = cheap
		ctx := t.Context()
		var proof account.Proof
		sign := func(p account.Proof) (string, error) { proof = p; return "token", nil }
		u, err := s.Create(ctx, "old@example.org", "a password", 0)
		check(t, err)
		check(t, s.RequestEmail(ctx, u, "new@example.org", sign))
		_, err = s.ChangeEmail(ctx, proof)
		check(t, err)
		// A request that had read the account before ends only now.
		check(t, s.transact(ctx, "a late reset", func(x execer) error {
			return s.oweLink(ctx, x, mailTo(u, account.MailReset), account.ProofReset, sign)
		}))
		if _, err := s.Reset(ctx, proof, "by the old mailbox"); !errors.Is(err, account.ErrUsed) {
			t.Errorf("a link in the old mailbox: %v", err)
		}
		check(t, s.RequestReset(ctx, "new@example.org", sign))
		_, err = s.db.ExecContext(ctx, `UPDATE account_proofs SET expires_at = ? WHERE id = ?`, time.Now().Add(-time.Second).UnixMilli(), proof.ID)
		check(t, err)
		if _, err := s.Reset(ctx, proof, "an hour too late"); !errors.Is(err, account.ErrUsed) {
			t.Errorf("a link that has expired: %v", err)
		}
	})
}

// Registration, reset and change of the address write as many rows for an address
// that has an account as for one that has none, and for one whose account is
// being deleted.
func TestUnknownAddressWritesTheSame(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		s.hasher.params = cheap
		ctx := t.Context()
		asks, err := s.Create(ctx, "asks@example.org", "a password", 0)
		check(t, err)
		sign := func(account.Proof) (string, error) { return "token", nil }
		for name, write := range map[string]func(email string) error{
			"register": func(email string) error {
				return s.Register(ctx, account.NewUser{Email: email, Password: "a password"}, sign)
			},
			"reset":   func(email string) error { return s.RequestReset(ctx, email, sign) },
			"address": func(email string) error { return s.RequestEmail(ctx, asks, email, sign) },
		} {
			u, err := s.Create(ctx, "has-"+name+"@example.org", "a password", 0)
			check(t, err)
			gone, err := s.Create(ctx, "goes-"+name+"@example.org", "a password", 0)
			check(t, err)
			_, err = s.Delete(ctx, gone)
			check(t, err)
			written := map[string]int{}
			for _, email := range []string{u.Email, gone.Email, "not-" + name + "@example.org"} {
				before := rowsOf(t, s)
				check(t, write(email))
				written[email] = rowsOf(t, s) - before
			}
			if n := written[u.Email]; n < 2 || n != written[gone.Email] || n != written["not-"+name+"@example.org"] {
				t.Errorf("%s writes rows: %v", name, written)
			}
		}
		check(t, s.Tidy(ctx, time.Now().Add(decoyLife+time.Minute)))
		for _, count := range []string{`SELECT COUNT(*) FROM account_decoys`, `SELECT COUNT(*) FROM account_mails WHERE state = 'decoy'`} {
			var n int
			check(t, s.db.QueryRowContext(ctx, count).Scan(&n))
			if n != 0 {
				t.Errorf("%s: %d are left", count, n)
			}
		}
	})
}

// rowsOf counts all rows.
func rowsOf(t *testing.T, s *Store) (sum int) {
	t.Helper()
	for _, table := range []string{"users", "account_decoys", "account_proofs", "account_mails", "account_keys", "account_changes", "account_deletions"} {
		var n int
		check(t, s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n))
		sum += n
	}
	return sum
}

func TestRehash(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		s.hasher.params = cheap
		u, err := s.Create(t.Context(), "a@example.org", "a password", 0)
		if err != nil {
			t.Fatal(err)
		}
		s.hasher.params = DefaultParams
		if _, err := s.Authenticate(t.Context(), u.Email, "a wrong one"); !errors.Is(err, account.ErrCredentials) {
			t.Fatal(err)
		}
		_, weak, err := s.user(t.Context(), s.db, u.ID, "")
		if err != nil || !strings.Contains(weak, "m=64,t=1,p=1") {
			t.Fatalf("after a wrong password: %s, %v", weak, err)
		}
		for range 2 { // with the old hash, then with the new one
			if got, err := s.Authenticate(t.Context(), u.Email, "a password"); err != nil || got != u {
				t.Fatalf("got %+v, %v", got, err)
			}
		}
		_, strong, err := s.user(t.Context(), s.db, u.ID, "")
		if err != nil || !strings.HasPrefix(strong, "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("after logging in: %s, %v", strong, err)
		}
	})
}

func TestHashesAreBounded(t *testing.T) {
	h := newHasher(DefaultParams, 1)
	check(t, h.turns.take(t.Context(), "")) // somebody else is computing
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := h.hash(ctx, "a password")
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if h.runs.Load() != 0 {
		t.Error("a hash was computed beyond the bound")
	}
}

func TestDamagedHashes(t *testing.T) {
	good := newHasher(DefaultParams, 1).dummy()
	if _, err := parsePHC(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "$", good[:30], strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=18", 1),
		strings.Replace(good, "m=19456", "m=4194304", 1), strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "t=2", "t=4000000000", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "p=1", "p=300", 1), good + "!", good[:strings.LastIndex(good, "$")+1],
	} {
		if _, err := parsePHC(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestOpenContactsNobody(t *testing.T) {
	s, err := OpenMySQL("u:p@tcp(127.0.0.1:1)/tonearm", nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping of a server that is not there")
	}
	path := filepath.Join(t.TempDir(), "accounts.db")
	lite, err := OpenSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening made the file: %v", err)
	}
	if err := lite.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v; want mode 0600", info, err)
	}
	for _, dsn := range []string{"", "u:p@tcp(127.0.0.1:1)/", "no slash"} {
		if _, err := OpenMySQL(dsn, nil, quiet); err == nil {
			t.Errorf("DSN %q was accepted", dsn)
		}
	}
}
