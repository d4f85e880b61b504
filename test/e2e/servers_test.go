package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
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

	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// counts asks the servers themselves how much they have done so far.
func (d *deployment) counts(t *testing.T) map[string]float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	counts := map[string]float64{}

	client := redis.NewClient(&redis.Options{Addr: d.Redis})
	defer client.Close()
	info, err := client.Info(ctx, "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	counts["Redis total_commands_processed"] = number(t, `total_commands_processed:(\d+)`, info)

	db, err := sql.Open("mysql", d.MySQL.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name, questions string
	if err := db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Questions'").Scan(&name, &questions); err != nil {
		t.Fatal(err)
	}
	counts["MariaDB Questions"] = number(t, `(\d+)`, questions)

	counts[minioRequests] = d.minio(t)

	records, err := mongo.Connect(options.Client().ApplyURI(d.Mongo))
	if err != nil {
		t.Fatal(err)
	}
	defer records.Disconnect(ctx)
	documents, err := records.Database(d.Name).Collection("conversions").CountDocuments(ctx, bson.M{})
	if err != nil {
		t.Fatal(err)
	}
	counts["FerretDB documents"] = float64(documents)
	return counts
}

const minioRequests = "MinIO s3_requests_total"

// minio returns how many requests MinIO has counted. MinIO reports them some
// seconds late.
func (d *deployment) minio(t *testing.T) (requests float64) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", d.S3+"/minio/v2/metrics/cluster", nil)
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

// deployment is gateway, dispatcher and notifier, each a process of its own, on
// the real servers.
type deployment struct {
	*world.Servers
	server string // URL of the gateway
	sink   *world.Sink
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	s := world.RealServers(t)
	cert, ca := certificate(t)
	d := &deployment{Servers: s, sink: world.StartSink(t, &cert)}
	keys := world.SigningKey(t)
	gatewayAddr, dispatcherAddr := world.FreeAddr(t), world.FreeAddr(t)
	d.server = "http://" + gatewayAddr
	eventToken := world.RandomHex(16)
	env := append(s.Env(strings.Replace(s.S3, "127.0.0.1", "localhost", 1)), "TONEARM_SIGNING_KEYS="+keys, "TONEARM_PUBLIC_URL="+d.server)
	admins := map[string]string{}
	for name, own := range map[string][]string{
		"dispatcher": {"TONEARM_LISTEN=" + dispatcherAddr, "TONEARM_DISPATCHER_URL=http://" + dispatcherAddr,
			"TONEARM_ATTEMPT_KEY=" + world.RandomHex(32), "TONEARM_EVENT_TOKEN=" + eventToken, "TONEARM_WORK_DIR=" + t.TempDir()},
		"gateway": {"TONEARM_LISTEN=" + gatewayAddr},
		"notifier": {"TONEARM_SMTP_HOST=" + d.sink.Host, "TONEARM_SMTP_PORT=" + d.sink.Port, "SSL_CERT_FILE=" + ca,
			"TONEARM_SMTP_USERNAME=tonearm", "TONEARM_SMTP_PASSWORD=sink-password"},
	} {
		admins[name] = world.FreeAddr(t)
		world.Start(t, append(append(env, own...), "TONEARM_ADMIN_LISTEN="+admins[name]), filepath.Join(bin, name))
	}
	s.Receive(t, "http://"+dispatcherAddr+"/events/s3", eventToken)
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

// addUser makes an account in the way an operator does, and logs in.
func (d *deployment) addUser(t *testing.T, email string) *world.User {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tonearm"), "user", "add", email, "--password-stdin")
	cmd.Env = append(os.Environ(), "TONEARM_USERS="+d.MySQL.FormatDSN())
	cmd.Stdin = strings.NewReader(world.Password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("user add: %v %s", err, out)
	}
	u := &world.User{T: t, Server: d.server, Email: email}
	u.Login()
	return u
}

// TestServices runs the four programs on the real servers, from a presigned PUT
// to the mail and the download, and prints what the servers counted meanwhile.
func TestServices(t *testing.T) {
	d := deploy(t)
	before := d.counts(t)
	u := d.addUser(t, "listener@example.org")
	video, size := makeVideo(t, "Über den Wolken.mp4", 7, 440)

	c := u.Create(filepath.Base(video), size)
	if !strings.HasPrefix(c.Upload.URL, "http://localhost:") {
		t.Errorf("the upload URL is not signed for the public address: %.40s", c.Upload.URL)
	}
	if err := world.Put(t.Context(), c.Upload, video); err != nil {
		t.Fatal(err)
	}
	c = u.Final(c.ID, 2*time.Minute)
	if c.State != conversion.Done || c.Attempt != 1 {
		t.Fatalf("state %s after attempt %d: %+v", c.State, c.Attempt, c.Error)
	}
	if c.MP3.Name != "Über den Wolken.mp3" {
		t.Errorf("the MP3 is called %q", c.MP3.Name)
	}
	waittest.Until(t, 30*time.Second, "the mail arrives", func() bool { return len(d.sink.Letters(t)) > 0 })
	l := d.sink.Letters(t)[0]
	if !strings.Contains(l.To, u.Email) || !strings.Contains(l.Text, c.MP3.ID) {
		t.Errorf("mail to %s does not bring the id %s:\n%s", l.To, c.MP3.ID, l.Text)
	}
	path := filepath.Join(t.TempDir(), "got.mp3")
	resp := download(t, l.Link(), path)
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
	if n := len(d.sink.Letters(t)); n != 1 {
		t.Errorf("%d mails", n)
	}
}
