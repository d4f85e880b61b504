package world

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"

	"tonearm/test/server"
)

// Servers are the addresses of the real servers, and the names that one
// deployment of Tonearm uses on them.
type Servers struct {
	Redis, S3, Mongo string
	MySQL            *mysql.Config
	Name             string // of bucket, databases and prefix

	relay, arn string
}

// RealServers returns the servers that test/servers has started.
func RealServers(t *testing.T) *Servers {
	t.Helper()
	env := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			if os.Getenv("TONEARM_TEST_REQUIRE") != "" {
				t.Fatalf("%s is not set", name)
			}
			t.Skipf("%s is not set: go run ./test/servers -- go test …", name)
		}
		return value
	}
	s := &Servers{
		Redis: env("TONEARM_TEST_REDIS"), S3: env("TONEARM_TEST_S3"), Mongo: env("TONEARM_TEST_FERRETDB"),
		relay: env("TONEARM_TEST_S3_RELAY"), arn: env("TONEARM_TEST_S3_ARN"), Name: "e2e" + RandomHex(6),
	}
	cfg, err := mysql.ParseDSN(env("TONEARM_TEST_MYSQL"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+s.Name); err != nil {
		t.Fatal(err)
	}
	cfg.DBName = s.Name
	s.MySQL = cfg
	return s
}

// RandomHex returns n random bytes in hex.
func RandomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// Env is the environment of every service of the deployment. public is the URL
// at which people reach the object store.
func (s *Servers) Env(public string) []string {
	return []string{
		"TONEARM_RECORDS=" + s.Mongo, "TONEARM_RECORDS_DATABASE=" + s.Name,
		"TONEARM_USERS=" + s.MySQL.FormatDSN(),
		"TONEARM_QUEUE=redis://" + s.Redis + "/0", "TONEARM_QUEUE_PREFIX=" + s.Name,
		"TONEARM_S3_ENDPOINT=" + s.S3, "TONEARM_S3_PUBLIC_ENDPOINT=" + public,
		"TONEARM_S3_BUCKET=" + s.Name, "TONEARM_S3_NOTIFY_ARN=" + s.arn,
		"TONEARM_S3_ACCESS_KEY=tonearm", "TONEARM_S3_SECRET_KEY=tonearm-secret",
	}
}

// Receive makes the store send the bucket's notifications to url.
func (s *Servers) Receive(t *testing.T, url, token string) {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"url": url, "token": token})
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", s.relay+"/receivers/"+s.Name, bytes.NewReader(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("register receiver: %s", resp.Status)
	}
}

// FreeAddr returns a loopback address that was free a moment ago.
func FreeAddr(t *testing.T) string {
	t.Helper()
	addr, err := server.FreeAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// SigningKey writes a key as openssl genpkey -algorithm ed25519 does.
func SigningKey(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "signing.pem")
	if err := server.SigningKey(file); err != nil {
		t.Fatal(err)
	}
	return file
}
