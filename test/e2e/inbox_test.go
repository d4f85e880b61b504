package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// mc runs the real MinIO client with a configuration of its own.
type mc struct {
	t      *testing.T
	path   string
	config string
}

func newMC(t *testing.T, endpoint, accessKey, secretKey string) *mc {
	t.Helper()
	path := os.Getenv("TONEARM_TEST_MC")
	if path == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") != "" {
			t.Fatal("TONEARM_TEST_MC is not set")
		}
		t.Skip("TONEARM_TEST_MC is not set: go run ./test/servers -- go test ./test/e2e")
	}
	m := &mc{t: t, path: path, config: t.TempDir()}
	m.run("alias", "set", "tonearm", endpoint, accessKey, secretKey)
	return m
}

func (m *mc) run(args ...string) string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), m.path, append([]string{"--config-dir", m.config, "--disable-pager"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("mc %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

var shareLine = regexp.MustCompile(`(?m)^(?:Share: )?curl (.*)$`)

// dropAll drops files with mc, one of them by the form that mc share prints,
// and waits until each owner has an MP3.
func dropAll(t *testing.T, m *mc, bucket string, users []*user) {
	t.Helper()
	video, _ := makeVideo(t, "clip.mp4", 3, 440)
	names := []string{"plain.mp4", "two words.mp4", "nr #7.mp4"}
	for _, u := range users {
		for _, name := range names {
			m.run("cp", "--quiet", video, fmt.Sprintf("tonearm/%s/inbox/%s/%s", bucket, u.email, name))
		}
	}
	shared := users[0]
	out := m.run("share", "upload", fmt.Sprintf("tonearm/%s/inbox/%s/shared.mp4", bucket, shared.email))
	line := shareLine.FindString(out)
	if line == "" {
		t.Fatalf("mc share upload printed no curl line:\n%s", out)
	}
	line = strings.TrimPrefix(line, "Share: ")
	line = strings.Replace(line, "<FILE>", "'"+video+"'", 1)
	curl := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, "curl ", "curl -fsS ", 1))
	if got, err := curl.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	for i, u := range users {
		want := len(names)
		if i == 0 {
			want++
		}
		var list api.Conversions
		eventually(t, 2*time.Minute, fmt.Sprintf("the %d drops of %s are done", want, u.email), func() bool {
			status, body := u.do("GET", "/v1/conversions", nil, &list)
			if status != http.StatusOK {
				t.Fatalf("list: %d %s", status, body)
			}
			done := 0
			for _, c := range list.Conversions {
				if c.State == conversion.Failed {
					t.Fatalf("%s failed: %+v", c.Filename, c.Error)
				}
				if c.State == conversion.Done {
					done++
				}
			}
			return done == want
		})
		found := map[string]bool{}
		for _, c := range list.Conversions {
			found[c.Filename] = true
		}
		for _, name := range names {
			if !found[name] {
				t.Errorf("%s: no conversion of %q among %v", u.email, name, found)
			}
		}
	}
}

var dropUsers = []string{"a+b@example.org", "plain@example.org"}

// TestInboxEmbedded drops files with the real mc into the embedded store.
func TestInboxEmbedded(t *testing.T) {
	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0")
	var users []*user
	for _, email := range dropUsers {
		users = append(users, newUser(t, u.server, email))
	}
	dropAll(t, newMC(t, u.s3, u.accessKey, u.secretKey), "tonearm", users)
	if n := len(outbox(t, u.dir)); n > 7 {
		t.Errorf("%d mails for 7 drops", n)
	}
}

// TestInboxMinIO does the same on a real MinIO, with the services as processes
// of their own.
func TestInboxMinIO(t *testing.T) {
	d := deploy(t)
	var users []*user
	for _, email := range dropUsers {
		users = append(users, d.addUser(t, email))
	}
	dropAll(t, newMC(t, d.s3, "tonearm", "tonearm-secret"), d.name, users)
}

// TestConvertCorpus lets the CLI convert a folder of every kind of source.
func TestConvertCorpus(t *testing.T) {
	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0")
	owner := newUser(t, u.server, "corpus@example.org")
	corpus := makeCorpus(t)
	out := t.TempDir()
	args := []string{"convert", "--json", "--out", out, "--server", u.server}
	for _, s := range corpus {
		args = append(args, s.path)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tonearm"), args...)
	cmd.Env = append(os.Environ(), "TONEARM_TOKEN="+owner.token, "XDG_CONFIG_HOME="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d (%v), want 1 since some files must fail\n%s", code, err, stderr.String())
	}
	results := readResults(t, stdout.Bytes())
	if len(results) != len(corpus) {
		t.Fatalf("%d lines for %d files\n%s\n%s", len(results), len(corpus), stdout.String(), stderr.String())
	}
	good, bad := 0, 0
	for _, s := range corpus {
		r := results[s.path]
		if s.code != "" {
			bad++
			if r.State != string(conversion.Failed) || r.Error == nil || r.Error.Code != s.code {
				t.Errorf("%s: %s %+v, want failed with %s", s.name, r.State, r.Error, s.code)
			}
			continue
		}
		good++
		if r.State != string(conversion.Done) {
			t.Errorf("%s: %s %+v", s.name, r.State, r.Error)
			continue
		}
		heard := listen(t, r.MP3)
		if d := heard.seconds - s.seconds; d < -0.05 || d > 0.05 {
			t.Errorf("%s: %.3f s, want %.3f s", s.name, heard.seconds, s.seconds)
		}
		if s.hz > 0 && (heard.hz < s.hz*0.97 || heard.hz > s.hz*1.03) {
			t.Errorf("%s: a tone of %.1f Hz, want %.1f Hz", s.name, heard.hz, s.hz)
		}
	}
	fmt.Printf("%d sources converted, %d refused\n", good, bad)
	if good < 20 || bad < 9 {
		t.Errorf("the corpus holds %d good and %d bad sources", good, bad)
	}
}
