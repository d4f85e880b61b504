package server

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// MariaDB starts MariaDB, whose root needs no password.
func (s *Scratch) MariaDB(ctx context.Context) (*Server, error) {
	install, err := program("mariadb-install-db", "mariadb-server", "mariadb")
	if err != nil {
		return nil, err
	}
	serve, err := program("mariadbd", "mariadb-server", "mariadb")
	if err != nil {
		return nil, err
	}
	dir, err := s.Folder("mariadb")
	if err != nil {
		return nil, err
	}
	port, err := s.port(ctx, "3306")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	common := []string{"--no-defaults", "--datadir=" + data}
	installer := slices.Clone(common)
	var as *syscall.Credential
	if os.Getuid() == 0 { // MariaDB refuses to run as root
		if as, err = owner("mysql", dir); err != nil {
			return nil, err
		}
		installer = append(installer, "--user=mysql")
	}
	making := exec.CommandContext(ctx, install, append(installer, "--auth-root-authentication-method=normal", "--skip-test-db")...)
	making.Env = append(os.Environ(), "TMPDIR="+dir) // in a common one, servers that start at a time remove each other's tables
	out, err := making.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	// The root that the installer makes may connect only from loopback. The
	// database is for services that are given one; tests make their own.
	first := filepath.Join(dir, "first.sql")
	statements := "CREATE USER IF NOT EXISTS root@'%';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\nCREATE DATABASE IF NOT EXISTS tonearm;\n"
	if err := os.WriteFile(first, []byte(statements), 0o644); err != nil { //nolint:gosec // see Open
		return nil, err
	}
	if err := certificates(dir, s.Host); err != nil {
		return nil, fmt.Errorf("make certificates for MariaDB: %w", err)
	}
	pem := func(name string) string { return filepath.Join(dir, name+".pem") }
	args := append(common, "--init-file="+first,
		"--ssl-ca="+pem("ca"), "--ssl-cert="+pem("server"), "--ssl-key="+pem("server-key"),
		"--bind-address="+s.Host, "--port="+port,
		"--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"),
		"--tmpdir="+dir, "--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF",
		"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2")
	p, err := s.start("mariadbd", func() (*exec.Cmd, error) {
		cmd := lasting(ctx, serve, args...)
		// Not with --user: a process that changes its user outlives this process.
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		return cmd, nil
	})
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(s.Host, port)
	dsn := "root@tcp(" + addr + ")/"
	_ = mysql.SetLogger(&mysql.NopLogger{}) // it would report each try
	v := &Server{Process: p, Addr: addr, Dir: dir, Env: []string{"TONEARM_TEST_MYSQL=" + dsn, "TONEARM_TEST_MYSQL_CERTIFICATES=" + dir}}
	v.ask = func(ctx context.Context) error {
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		return db.PingContext(ctx)
	}
	return v, v.Answers(ctx, v.ask)
}

// owner gives dir to a user, and returns the credential to start that user's
// processes with.
func owner(name, dir string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}
