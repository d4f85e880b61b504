package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"tonearm/internal/embedded"
	"tonearm/internal/mail/mailtest"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/waittest"
)

// pingEnv names the server that this program only reaches once: the system's
// authorities are read once in the life of a process.
const pingEnv = "TONEARM_TEST_PING"

func TestMain(m *testing.M) {
	embedded.Main()
	if what := os.Getenv(pingEnv); what != "" {
		if err := ping(what, os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ping reaches a server by the flags that services have for it.
func ping(what string, args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var s Stores
	f := pflag.NewFlagSet(what, pflag.ContinueOnError)
	s.BindRecords(f)
	s.BindUsers(f)
	s.BindQueue(f)
	s.BindS3(f)
	mails := SMTP(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	switch what {
	case "redis":
		q, err := s.OpenQueue()
		if err != nil {
			return err
		}
		return errors.Join(q.Ping(ctx), q.Close())
	case "mysql":
		u, err := s.OpenUsers(log)
		if err != nil {
			return err
		}
		defer u.Close()
		return u.Ping(ctx)
	case "mongodb":
		r, err := s.OpenRecords(log)
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Ping(ctx)
	case "s3":
		o, err := s.OpenObjects(log)
		if err != nil {
			return err
		}
		return o.Ping(ctx)
	case "smtp":
		m, err := smtpmail.New(*mails)
		if err != nil {
			return err
		}
		return m.Ping(ctx)
	}
	return errors.New("which server?")
}

// TestPrivateAuthority: every server may have a certificate of a private authority.
// SSL_CERT_DIR and SSL_CERT_FILE make it known; without them, and under another name
// than the certificate's, no connection is made.
func TestPrivateAuthority(t *testing.T) {
	ca := newAuthority(t)
	ours := filepath.Join(ca.dir, "ca")
	for _, server := range []struct {
		name  string
		start func(t *testing.T) (args []string, authority string) // 127.0.0.1 in the arguments is the server's name
	}{
		{"redis", func(t *testing.T) ([]string, string) { return []string{"--queue=" + ca.redis(t)}, ours }},
		{"mongodb", func(t *testing.T) ([]string, string) {
			return []string{"--records=mongodb://" + ca.before(t, address(given(t, "TONEARM_TEST_FERRETDB"))) + "/?tls=true"}, ours
		}},
		{"mysql", func(t *testing.T) ([]string, string) {
			dsn, authority := given(t, "TONEARM_TEST_MYSQL"), filepath.Join(t.TempDir(), "ca")
			pem, err := os.ReadFile(filepath.Join(given(t, "TONEARM_TEST_MYSQL_CERTIFICATES"), "ca.pem"))
			check(t, errors.Join(err, os.MkdirAll(authority, 0o700), os.WriteFile(filepath.Join(authority, "ca.pem"), pem, 0o600)))
			return []string{"--users=" + dsn + "mysql?tls=true"}, authority
		}},
		{"s3", func(t *testing.T) ([]string, string) {
			target, access, secret := os.Getenv("TONEARM_TEST_S3"), "tonearm", "tonearm-secret"
			if target == "" {
				store, err := embedded.StartS3(t.Context(), embedded.S3Options{Dir: t.TempDir()})
				check(t, err)
				t.Cleanup(store.Close)
				target, access, secret = store.Endpoint(), store.AccessKey(), store.SecretKey()
			}
			return []string{"--s3-endpoint=https://" + ca.before(t, address(target)), "--s3-access-key=" + access, "--s3-secret-key=" + secret}, ours
		}},
		{"smtp", func(t *testing.T) ([]string, string) {
			sink, authority := mailtest.NewSink(t, mailtest.SinkOptions{}), t.TempDir()
			check(t, os.WriteFile(filepath.Join(authority, "ca.pem"), sink.CertPEM, 0o600))
			return []string{"--smtp-host=127.0.0.1", fmt.Sprintf("--smtp-port=%d", sink.Port), "--mail-from=a@example.org"}, authority
		}},
	} {
		t.Run(server.name, func(t *testing.T) {
			args, authority := server.start(t)
			reach(t, server.name, args, "", "SSL_CERT_DIR="+authority)
			reach(t, server.name, args, "", "SSL_CERT_FILE="+filepath.Join(authority, "ca.pem"))
			reach(t, server.name, args, "certificate signed by unknown authority")
			if server.name == "mongodb" {
				reach(t, server.name, []string{args[0] + "&tlsCAFile=" + filepath.Join(authority, "ca.pem")}, "")
			}
			if server.name == "mysql" {
				reach(t, server.name, []string{strings.TrimSuffix(args[0], "?tls=true"), "--users-ca=" + filepath.Join(authority, "ca.pem")}, "")
			}
			if authority == ours { // these certificates are for 127.0.0.1 alone
				for i := range args {
					args[i] = strings.Replace(args[i], "127.0.0.1", "localhost", 1)
				}
				reach(t, server.name, args, "match localhost", "SSL_CERT_DIR="+authority)
			}
		})
	}
}

// reach pings a server in a process with this environment; want is in the error, and
// empty for none.
func reach(t *testing.T, what string, args []string, want string, env ...string) {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), pingEnv + "=" + what}, env...)
	out, err := cmd.CombinedOutput()
	if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
		t.Errorf("with %q: %v: %s, want %q", env, err, out, want)
	}
}

// given is a variable that test/servers sets.
func given(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" && os.Getenv("TONEARM_TEST_REQUIRE") != "" {
		t.Fatal(name + " is not set")
	}
	if value == "" {
		t.Skip(name + " is not set")
	}
	return value
}

// address is the host and port of a URL.
func address(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return strings.TrimRight(rest, "/")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority is a certificate authority, and a certificate of it for 127.0.0.1.
type authority struct {
	dir  string // with server.pem and server-key.pem; ca.pem is alone in the folder ca
	pair tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	check(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, rootKey)
	check(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	check(t, err)
	a.write(t, "ca/ca.pem", &pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	a.write(t, "server.pem", &pem.Block{Type: "CERTIFICATE", Bytes: leafDER})
	a.write(t, "server-key.pem", &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	a.pair = tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}
	return a
}

func (a *authority) write(t *testing.T, name string, block *pem.Block) {
	t.Helper()
	path := filepath.Join(a.dir, name)
	check(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, pem.EncodeToMemory(block), 0o600)))
}

// redis starts a Redis that takes nothing but TLS and a password, and returns its URL.
func (a *authority) redis(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("TONEARM_TEST_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	addr := l.Addr().String()
	check(t, l.Close())
	_, port, _ := net.SplitHostPort(addr)
	pem := func(name string) string { return filepath.Join(a.dir, name) }
	cmd := exec.CommandContext(t.Context(), program, "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("bind 127.0.0.1\nport 0\ntls-port %s\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\ntls-auth-clients no\nsave \"\"\nrequirepass secret\ndir %s\n",
		port, pem("server.pem"), pem("server-key.pem"), pem("ca/ca.pem"), t.TempDir()))
	cmd.Stdout = t.Output()
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	waittest.Until(t, 30*time.Second, "Redis", func() bool {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "rediss://:secret@" + addr + "/0"
}

// before puts TLS before a server, as a proxy in front of it does, and returns the
// address.
func (a *authority) before(t *testing.T, target string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	secure := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.pair}, MinVersion: tls.VersionTLS12})
	t.Cleanup(func() { secure.Close() })
	go func() {
		for {
			c, err := secure.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				server, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", target)
				if err != nil {
					return
				}
				var both sync.WaitGroup
				both.Go(func() { _, _ = io.Copy(server, c); server.Close() })
				both.Go(func() { _, _ = io.Copy(c, server); c.Close() })
				both.Wait()
			}()
		}
	}()
	return l.Addr().String()
}
