package sqlaccount

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"

	"tonearm/internal/account"
)

// TestTLS logs in as a user from whom the server demands a certificate.
func TestTLS(t *testing.T) {
	dir := os.Getenv("TONEARM_TEST_MYSQL_CERTIFICATES")
	if dir == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal("TONEARM_TEST_MYSQL_CERTIFICATES is not set")
		}
		t.Skip("TONEARM_TEST_MYSQL_CERTIFICATES is not set")
	}
	server, err := sql.Open("mysql", os.Getenv("TONEARM_TEST_MYSQL"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	name := "u" + strings.ReplaceAll(uuid.NewString(), "-", "")
	run := func(ctx context.Context, statement string) {
		t.Helper()
		if _, err := server.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run(t.Context(), "CREATE USER "+name+"@'%' REQUIRE X509")
	defer run(context.WithoutCancel(t.Context()), "DROP USER "+name+"@'%'")
	run(t.Context(), "GRANT ALL ON "+name+".* TO "+name+"@'%'")
	run(t.Context(), "CREATE DATABASE "+name)
	defer run(context.WithoutCancel(t.Context()), "DROP DATABASE "+name)

	authority, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(authority) {
		t.Fatal("no certificate in ca.pem")
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	client := []tls.Certificate{pair}
	for what, tt := range map[string]struct {
		config *tls.Config
		params map[string]string
		want   string // in the error; '' for none
	}{
		"both":                      {&tls.Config{RootCAs: trusted, Certificates: client}, nil, ""},
		"both, for a DSN of less":   {&tls.Config{RootCAs: trusted, Certificates: client}, map[string]string{"tls": "preferred"}, ""},
		"no certificate of its own": {&tls.Config{RootCAs: trusted}, nil, "Access denied"},
		"an unknown authority":      {&tls.Config{RootCAs: x509.NewCertPool(), Certificates: client}, nil, "certificate signed by unknown authority"},
		"another name":              {&tls.Config{RootCAs: trusted, Certificates: client, ServerName: "db.example.org"}, nil, "wanted to match db.example.org"},
		"no TLS":                    {nil, nil, "Access denied"},
	} {
		cfg, err := mysql.ParseDSN(os.Getenv("TONEARM_TEST_MYSQL"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.User, cfg.DBName, cfg.Params = name, name, tt.params
		s, err := OpenMySQL(cfg.FormatDSN(), tt.config, quiet)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		err = s.Prepare(t.Context())
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
		if tt.want == "" {
			var variable, cipher string
			if err := s.db.QueryRowContext(t.Context(), "SHOW STATUS LIKE 'Ssl_cipher'").Scan(&variable, &cipher); err != nil || cipher == "" {
				t.Errorf("%s: cipher %q, %v", what, cipher, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What the driver reports goes to the logger that OpenMySQL was given.
func TestDriverLog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // a server that hangs up
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	var out bytes.Buffer
	s, err := OpenMySQL("u:p@tcp("+l.Addr().String()+")/tonearm", nil, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping of a server that hangs up: no error")
	}
	if got := out.String(); !strings.Contains(got, `level=WARN msg="MySQL driver" message=`) {
		t.Errorf("logged %q", got)
	}
}

// Prepare has no deadline except its context's, whatever time-outs the DSN
// sets.
func TestPrepareTakesItsTime(t *testing.T) {
	dsn := os.Getenv("TONEARM_TEST_MYSQL")
	if dsn == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal("TONEARM_TEST_MYSQL is not set")
		}
		t.Skip("TONEARM_TEST_MYSQL is not set")
	}
	server, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	name := "slow_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := server.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = server.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE "+name) }()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DBName, cfg.ReadTimeout = name, 50*time.Millisecond
	s, err := OpenMySQL(cfg.FormatDSN(), nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	other, err := server.Conn(t.Context()) // another replica that migrates
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var got int
	lock := "tonearm.account." + fmt.Sprintf("%x", md5.Sum([]byte(name)))
	if err := other.QueryRowContext(t.Context(), `SELECT GET_LOCK(?, 0)`, lock).Scan(&got); err != nil || got != 1 {
		t.Fatalf("lock: %d, %v", got, err)
	}
	prepared := make(chan error, 1)
	go func() { prepared <- s.Prepare(t.Context()) }()
	for waiting := 0; waiting == 0; {
		select {
		case err := <-prepared:
			t.Fatalf("prepared while another replica migrates: %v", err)
		default:
		}
		err := server.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM information_schema.processlist
			WHERE db = ? AND state = 'User lock' AND time_ms > 200`, name).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := other.QueryRowContext(t.Context(), `SELECT RELEASE_LOCK(?)`, lock).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if err := <-prepared; err != nil {
		t.Errorf("prepare: %v", err)
	}
}

// Ten gateways and four dispatchers, and a fifth more of them during a rollout,
// need fewer connections than a MySQL server allows by default.
func TestConnections(t *testing.T) {
	s, err := OpenMySQL("u:p@tcp(127.0.0.1:1)/tonearm", nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := s.db.Stats().MaxOpenConnections; n < 4 || n*(10+4)*6/5 >= 151 {
		t.Errorf("%d connections a process", n)
	}
}

// The rights that the documents give a gateway and a dispatcher are enough, and
// no more than they need: a dispatcher makes no account and ends no session.
func TestRights(t *testing.T) {
	dsn := os.Getenv("TONEARM_TEST_MYSQL")
	if dsn == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal("TONEARM_TEST_MYSQL is not set")
		}
		t.Skip("TONEARM_TEST_MYSQL is not set")
	}
	server, err := sql.Open("mysql", dsn)
	check(t, err)
	defer server.Close()
	run := func(ctx context.Context, statement string) {
		t.Helper()
		if _, err := server.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	name := "r" + strings.ReplaceAll(uuid.NewString(), "-", "")[:20]
	run(t.Context(), "CREATE DATABASE "+name)
	defer run(context.WithoutCancel(t.Context()), "DROP DATABASE "+name)
	open := func(who, rights string) *Store {
		user := name + who + "@'%'"
		run(t.Context(), "CREATE USER "+user)
		t.Cleanup(func() { _, _ = server.ExecContext(context.WithoutCancel(t.Context()), "DROP USER "+user) })
		run(t.Context(), "GRANT "+rights+" ON "+name+".* TO "+user)
		cfg, err := mysql.ParseDSN(dsn)
		check(t, err)
		cfg.User, cfg.Passwd, cfg.DBName = name+who, "", name
		s, err := OpenMySQL(cfg.FormatDSN(), nil, quiet)
		check(t, err)
		t.Cleanup(func() { s.Close() })
		s.hasher.params = cheap
		return s
	}
	gateway := open("g", "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER")
	dispatcher := open("d", "SELECT, DELETE, CREATE")
	ctx := t.Context()
	if err := dispatcher.Prepare(ctx); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("a dispatcher before the first gateway: %v", err)
	}
	check(t, gateway.Prepare(ctx))
	check(t, dispatcher.Prepare(ctx))

	sign := func(account.Proof) (string, error) { return "token", nil }
	u, err := gateway.Create(ctx, "a@example.org", "a password", 0)
	check(t, err)
	for range 2 {
		check(t, gateway.Register(ctx, account.NewUser{Email: "b@example.org", Password: "a password"}, sign))
	}
	check(t, gateway.RequestReset(ctx, "nobody@example.org", sign))
	_, _, err = gateway.CreateKey(ctx, u, account.Key{Name: "k", Scopes: []account.Scope{account.ScopeRead}})
	check(t, err)
	check(t, gateway.Audit(ctx, account.Event{At: time.Now(), Action: account.ActionLogout}))
	_, err = gateway.Configure(ctx, u.ID, account.German, "")
	check(t, err)

	got, err := dispatcher.ByEmail(ctx, "a@example.org")
	check(t, err)
	changes, err := dispatcher.Changed(ctx, "", 10)
	check(t, err)
	if got.ID != u.ID || len(changes) != 1 {
		t.Errorf("a dispatcher reads %+v and %+v", got, changes)
	}
	check(t, dispatcher.Followed(ctx, u.ID, changes[0].At))
	check(t, dispatcher.Tidy(ctx, time.Now().Add(time.Hour)))
	for what, err := range map[string]error{
		"makes an account": func() error { _, err := dispatcher.Create(ctx, "c@example.org", "a password", 0); return err }(),
		"logs out":         func() error { _, err := dispatcher.LogOut(ctx, u.ID); return err }(),
		"owes a mail":      dispatcher.RequestReset(ctx, u.Email, sign),
	} {
		if err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("a dispatcher %s: %v", what, err)
		}
	}
	_, err = gateway.Delete(ctx, u)
	check(t, err)
	if deleted, err := dispatcher.Deleted(ctx, "", 10); err != nil || len(deleted) != 1 {
		t.Errorf("deleted are %+v, %v", deleted, err)
	}
	check(t, dispatcher.Remove(ctx, u.ID))
}
