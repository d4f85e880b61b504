package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"
)

func startMariaDB(ctx context.Context, s *scratch) ([]string, error) {
	install, err := program("mariadb-install-db", "mariadb-server", "mariadb")
	if err != nil {
		return nil, err
	}
	serve, err := program("mariadbd", "mariadb-server", "mariadb")
	if err != nil {
		return nil, err
	}
	dir, err := s.folder("mariadb")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	common := []string{"--no-defaults", "--datadir=" + data}
	if os.Getuid() == 0 { // it refuses to serve as root
		common = append(common, "--user=mysql")
		if out, err := exec.CommandContext(ctx, "chown", "mysql", dir).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("chown to the user mysql: %w: %s", err, out)
		}
	}
	began := time.Now()
	out, err := exec.CommandContext(ctx, install, append(common,
		"--auth-root-authentication-method=normal", "--skip-test-db")...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w after %v: %s", err, time.Since(began), out)
	}
	p, err := s.start("mariadbd", exec.Command(serve, append(common,
		"--bind-address=127.0.0.1", "--port="+port,
		"--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"),
		"--tmpdir="+dir, "--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF",
		"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2")...))
	if err != nil {
		return nil, err
	}
	dsn := "root@tcp(127.0.0.1:" + port + ")/"
	_ = mysql.SetLogger(&mysql.NopLogger{}) // it would report each try
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := p.answers(ctx, db.PingContext); err != nil {
		return nil, err
	}
	return []string{"TONEARM_TEST_MYSQL=" + dsn}, nil
}
