package sqlaccount

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
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

func TestPrepareAtOnce(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		open := fresh(t)
		var wg sync.WaitGroup
		for i := range 4 {
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			wg.Go(func() {
				if err := s.Prepare(t.Context()); err != nil {
					t.Errorf("prepare: %v", err)
				}
				if _, err := s.Create(t.Context(), fmt.Sprintf("user%d@example.org", i), "a password", 0); err != nil {
					t.Errorf("create: %v", err)
				}
			})
		}
		wg.Wait()
		s := prepared(t, open) // once more, over what is there
		var versions, users int
		row := s.db.QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM account_migrations), (SELECT COUNT(*) FROM users)`)
		if err := row.Scan(&versions, &users); err != nil || versions != 1 || users != 4 {
			t.Errorf("%d migrations and %d users, %v; want 1 and 4", versions, users, err)
		}
	})
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
		_, weak, err := s.user(t.Context(), "id", u.ID)
		if err != nil || !strings.Contains(weak, "m=64,t=1,p=1") {
			t.Fatalf("after a wrong password: %s, %v", weak, err)
		}
		for range 2 { // with the old hash, then with the new one
			if got, err := s.Authenticate(t.Context(), u.Email, "a password"); err != nil || got != u {
				t.Fatalf("got %+v, %v", got, err)
			}
		}
		_, strong, err := s.user(t.Context(), "id", u.ID)
		if err != nil || !strings.HasPrefix(strong, "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("after logging in: %s, %v", strong, err)
		}
	})
}

func TestHashesAreBounded(t *testing.T) {
	h := newHasher(DefaultParams, 1)
	h.slots <- struct{}{} // somebody else is computing
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
