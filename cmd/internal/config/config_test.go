package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/dispatcher"
	"tonearm/gateway"
)

func TestCommand(t *testing.T) {
	ends := errors.New("lease lost")
	for name, tt := range map[string]struct {
		args []string
		want string // on standard error, but for the time
	}{
		"service that ends": {nil, `{"level":"ERROR","msg":"the service ends","error":"lease lost"}`},
		"unknown flag":      {[]string{"--nothing"}, `service: unknown flag: --nothing`},
	} {
		cmd := Command("service", "", "", func(*pflag.FlagSet) {}, func(*cobra.Command, *slog.Logger) error { return ends })
		var stderr strings.Builder
		cmd.SetErr(&stderr)
		cmd.SetArgs(tt.args)
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		got := regexp.MustCompile(`"time":"[^"]*",`).ReplaceAllString(strings.TrimSpace(stderr.String()), "")
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestUsersTLS(t *testing.T) {
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}))
	keyFile := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	empty := write("empty.pem", nil)

	for name, tt := range map[string]struct {
		files UsersTLS
		want  string // in the error; '' for none
	}{
		"none":            {UsersTLS{}, ""},
		"all":             {UsersTLS{CA: cert, Cert: cert, Key: keyFile}, ""},
		"authority alone": {UsersTLS{CA: cert}, ""},
		"missing file":    {UsersTLS{CA: filepath.Join(dir, "none.pem")}, "--users-ca: open"},
		"not PEM":         {UsersTLS{CA: empty}, "has no certificate"},
		"without a key":   {UsersTLS{Cert: cert}, "needed together"},
		"key alone":       {UsersTLS{CA: cert, Key: keyFile}, "needed together"},
		"key is another":  {UsersTLS{Cert: cert, Key: cert}, "--users-cert and --users-key:"},
	} {
		config, err := tt.files.Config()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if asked := tt.files != (UsersTLS{}); err == nil && (config != nil) != asked {
			t.Errorf("%s: TLS is %t, want %t", name, config != nil, asked)
		}
		if err == nil && config != nil && (config.InsecureSkipVerify || (config.RootCAs != nil) != (tt.files.CA != "") ||
			len(config.Certificates) > 0 != (tt.files.Cert != "")) {
			t.Errorf("%s: %+v", name, config)
		}
	}
}

// TestTranscoderEnv: a child in another folder finds the same ffmpeg and trusts the
// same authorities, and gets nothing else.
func TestTranscoderEnv(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("TONEARM_FFMPEG", "bin/ffmpeg")
	t.Setenv("TONEARM_GPU_FFMPEG", "ffmpeg-gpu")
	t.Setenv("SSL_CERT_DIR", "/etc/ca")
	t.Setenv("TONEARM_S3_SECRET_KEY", "secret")
	env := TranscoderEnv()
	if slices.ContainsFunc(env, func(v string) bool { return strings.Contains(v, "secret") }) {
		t.Errorf("a secret goes to transcoders: %q", env)
	}
	for _, want := range []string{"SSL_CERT_DIR=/etc/ca", "TONEARM_FFMPEG=" + filepath.Join(dir, "bin/ffmpeg"), "TONEARM_GPU_FFMPEG=ffmpeg-gpu"} {
		if !slices.Contains(env, want) {
			t.Errorf("%q has no %s", env, want)
		}
	}
}

// A wait of 0 is none, and no word for the default.
func TestInboxWait(t *testing.T) {
	for want, args := range map[time.Duration][]string{
		dispatcher.DefaultInboxWait: nil, 0: {"--inbox-wait", "0"}, time.Hour: {"--inbox-wait", "1h"},
	} {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		d := BindDispatcher(f, 0)
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		if got := d.Options("bucket").InboxWait; got != want {
			t.Errorf("%q: %v, want %v", args, got, want)
		}
	}
}

func TestTrustedProxies(t *testing.T) {
	for value, want := range map[string]string{
		"": "", " 127.0.0.1 , ::1,": "127.0.0.1/32,::1/128", "10.0.0.0/8,2001:db8::/32": "10.0.0.0/8,2001:db8::/32",
		"localhost": "error", "10.0.0.0/33": "error", "10.0.0.0/8;::1": "error",
	} {
		o := gateway.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}} // a later flag counts
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		Gateway(f, &o)
		err := f.Parse([]string{"--trusted-proxies", value})
		if got := f.Lookup("trusted-proxies").Value.String(); err == nil && got != want || (err != nil) != (want == "error") {
			t.Errorf("%q: %s, %v, want %s", value, got, err, want)
		}
	}
}
