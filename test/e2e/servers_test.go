package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
)

// servers are the addresses of the real servers, and what one deployment of
// Tonearm calls its own on them.
type servers struct {
	redis, s3, relay, arn, mongo string
	mysql                        *mysql.Config
	name                         string // of bucket, databases and prefix
}

// realServers returns the servers that test/servers has started.
func realServers(t *testing.T) *servers {
	t.Helper()
	env := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			if os.Getenv("TONEARM_TEST_REQUIRE") != "" {
				t.Fatalf("%s is not set", name)
			}
			t.Skipf("%s is not set: go run ./test/servers -- go test ./test/e2e", name)
		}
		return value
	}
	s := &servers{
		redis: env("TONEARM_TEST_REDIS"), s3: env("TONEARM_TEST_S3"), relay: env("TONEARM_TEST_S3_RELAY"),
		arn: env("TONEARM_TEST_S3_ARN"), mongo: env("TONEARM_TEST_FERRETDB"), name: "e2e" + randomHex(6),
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
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+s.name); err != nil {
		t.Fatal(err)
	}
	cfg.DBName = s.name
	s.mysql = cfg
	return s
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// env is the environment of every service of the deployment.
func (s *servers) env() []string {
	return []string{
		"TONEARM_RECORDS=" + s.mongo, "TONEARM_RECORDS_DATABASE=" + s.name,
		"TONEARM_USERS=" + s.mysql.FormatDSN(),
		"TONEARM_QUEUE=redis://" + s.redis + "/0", "TONEARM_QUEUE_PREFIX=" + s.name,
		"TONEARM_S3_ENDPOINT=" + s.s3, "TONEARM_S3_PUBLIC_ENDPOINT=" + strings.Replace(s.s3, "127.0.0.1", "localhost", 1),
		"TONEARM_S3_BUCKET=" + s.name, "TONEARM_S3_NOTIFY_ARN=" + s.arn,
		"TONEARM_S3_ACCESS_KEY=tonearm", "TONEARM_S3_SECRET_KEY=tonearm-secret",
	}
}

// receive makes the store's notifications of the bucket go to url.
func (s *servers) receive(t *testing.T, url, token string) {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"url": url, "token": token})
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", s.relay+"/receivers/"+s.name, bytes.NewReader(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("register receiver: %s", resp.Status)
	}
}

// counts asks the servers themselves what they have done so far.
func (s *servers) counts(t *testing.T) map[string]float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	counts := map[string]float64{}

	client := redis.NewClient(&redis.Options{Addr: s.redis})
	defer client.Close()
	info, err := client.Info(ctx, "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	counts["Redis total_commands_processed"] = number(t, `total_commands_processed:(\d+)`, info)

	db, err := sql.Open("mysql", s.mysql.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name, questions string
	if err := db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Questions'").Scan(&name, &questions); err != nil {
		t.Fatal(err)
	}
	counts["MariaDB Questions"] = number(t, `(\d+)`, questions)

	counts[minioRequests] = s.minio(t)

	records, err := mongo.Connect(options.Client().ApplyURI(s.mongo))
	if err != nil {
		t.Fatal(err)
	}
	defer records.Disconnect(ctx)
	documents, err := records.Database(s.name).Collection("conversions").CountDocuments(ctx, bson.M{})
	if err != nil {
		t.Fatal(err)
	}
	counts["FerretDB documents"] = float64(documents)
	return counts
}

const minioRequests = "MinIO s3_requests_total"

// minio is how many requests MinIO has counted; it tells some seconds late.
func (s *servers) minio(t *testing.T) (requests float64) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.s3+"/minio/v2/metrics/cluster", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	for _, m := range regexp.MustCompile(`(?m)^minio_s3_requests_total\{[^}]*\} (\S+)$`).FindAllStringSubmatch(string(body), -1) {
		n, _ := strconv.ParseFloat(m[1], 64)
		requests += n
	}
	return requests
}

func number(t *testing.T, pattern, s string) float64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(s)
	if m == nil {
		t.Fatalf("no %s in %s", pattern, s)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// freeAddr is a loopback address that nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// certificate makes a certificate for 127.0.0.1 and localhost, and writes it to
// a file that SSL_CERT_FILE can name.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// signingKey writes a key as openssl genpkey -algorithm ed25519 does.
func signingKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "signing.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// deployment is gateway, dispatcher and notifier as processes of their own on
// the real servers.
type deployment struct {
	*servers
	server string // URL of the gateway
	sink   *sink
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	s := realServers(t)
	cert, ca := certificate(t)
	d := &deployment{servers: s, sink: startSink(t, &cert)}
	keys := signingKey(t)
	gatewayAddr, dispatcherAddr := freeAddr(t), freeAddr(t)
	d.server = "http://" + gatewayAddr
	smtpHost, smtpPort, _ := net.SplitHostPort(d.sink.addr)
	eventToken := randomHex(16)
	env := append(s.env(), "TONEARM_SIGNING_KEYS="+keys, "TONEARM_PUBLIC_URL="+d.server)
	admins := map[string]string{}
	for name, own := range map[string][]string{
		"dispatcher": {"TONEARM_LISTEN=" + dispatcherAddr, "TONEARM_DISPATCHER_URL=http://" + dispatcherAddr,
			"TONEARM_ATTEMPT_KEY=" + randomHex(32), "TONEARM_EVENT_TOKEN=" + eventToken, "TONEARM_WORK_DIR=" + t.TempDir()},
		"gateway": {"TONEARM_LISTEN=" + gatewayAddr},
		"notifier": {"TONEARM_SMTP_HOST=" + smtpHost, "TONEARM_SMTP_PORT=" + smtpPort, "SSL_CERT_FILE=" + ca,
			"TONEARM_SMTP_USERNAME=tonearm", "TONEARM_SMTP_PASSWORD=sink-password"},
	} {
		admins[name] = freeAddr(t)
		start(t, append(append(env, own...), "TONEARM_ADMIN_LISTEN="+admins[name]), filepath.Join(bin, name))
	}
	s.receive(t, "http://"+dispatcherAddr+"/events/s3", eventToken)
	for name, addr := range admins {
		waittest.Until(t, time.Minute, name+" is ready", func() bool {
			resp, err := http.Get("http://" + addr + "/readyz")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	return d
}

// addUser makes an account as an operator does, and logs in.
func (d *deployment) addUser(t *testing.T, email string) *user {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tonearm"), "user", "add", email, "--password-stdin")
	cmd.Env = append(os.Environ(), "TONEARM_USERS="+d.mysql.FormatDSN())
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("user add: %v %s", err, out)
	}
	u := &user{t: t, server: d.server, email: email}
	u.login()
	return u
}

// TestServices runs the four programs on the real servers, from a presigned PUT
// to the mail and the download, and prints what the servers counted meanwhile.
func TestServices(t *testing.T) {
	d := deploy(t)
	before := d.counts(t)
	u := d.addUser(t, "listener@example.org")
	video, size := makeVideo(t, "Über den Wolken.mp4", 7, 440)

	c := u.create(filepath.Base(video), size)
	if !strings.HasPrefix(c.Upload.URL, "http://localhost:") {
		t.Errorf("the upload URL is not signed for the public address: %.40s", c.Upload.URL)
	}
	if err := put(t.Context(), c.Upload, video); err != nil {
		t.Fatal(err)
	}
	c = u.final(c.ID, 2*time.Minute)
	if c.State != conversion.Done || c.Attempt != 1 {
		t.Fatalf("state %s after attempt %d: %+v", c.State, c.Attempt, c.Error)
	}
	if c.MP3.Name != "Über den Wolken.mp3" {
		t.Errorf("the MP3 is called %q", c.MP3.Name)
	}
	waittest.Until(t, 30*time.Second, "the mail arrives", func() bool { return len(d.sink.letters(t)) > 0 })
	l := d.sink.letters(t)[0]
	if !strings.Contains(l.to, u.email) || !strings.Contains(l.text, c.MP3.ID) {
		t.Errorf("mail to %s does not bring the id %s:\n%s", l.to, c.MP3.ID, l.text)
	}
	path := filepath.Join(t.TempDir(), "got.mp3")
	resp := download(t, l.link(), path)
	if got := resp.Header.Get("Content-Disposition"); !strings.Contains(got, "filename*=UTF-8''%C3%9Cber%20den%20Wolken.mp3") {
		t.Errorf("Content-Disposition: %s", got)
	}
	heard := listen(t, path)
	if heard.seconds < 6.95 || heard.seconds > 7.05 || heard.hz < 435 || heard.hz > 445 {
		t.Errorf("got %.3f s of %.0f Hz, want 7 s of 440 Hz", heard.seconds, heard.hz)
	}

	after := d.counts(t)
	waittest.Until(t, time.Minute, "MinIO has counted", func() bool {
		after[minioRequests] = d.minio(t)
		return after[minioRequests] > before[minioRequests]
	})
	for _, what := range slices.Sorted(maps.Keys(after)) {
		fmt.Printf("%s: %.0f\n", what, after[what]-before[what])
		if after[what] <= before[what] {
			t.Errorf("%s did not grow: %v, then %v", what, before[what], after[what])
		}
	}
	if n := len(d.sink.letters(t)); n != 1 {
		t.Errorf("%d mails", n)
	}
}
