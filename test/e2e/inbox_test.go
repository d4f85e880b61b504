package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// mc runs the real MinIO client with its own configuration.
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

// dropAll drops files with mc, one of them by the form that mc share prints (with
// the keys of root), and waits until each owner has an MP3.
func dropAll(t *testing.T, m, root *mc, bucket string, users []*world.User) {
	t.Helper()
	video, _ := makeVideo(t, "clip.mp4", 3, 440)
	names := []string{"plain.mp4", "two words.mp4", "nr #7.mp4"}
	for _, u := range users {
		for _, name := range names {
			m.run("cp", "--quiet", video, fmt.Sprintf("tonearm/%s/inbox/%s/%s", bucket, u.Email, name))
		}
	}
	shared := users[0]
	out := root.run("share", "upload", fmt.Sprintf("tonearm/%s/inbox/%s/shared.mp4", bucket, shared.Email))
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
		waittest.Until(t, 2*time.Minute, fmt.Sprintf("the %d drops of %s are done", want, u.Email), func() bool {
			status, body := u.Do("GET", "/v1/conversions", nil, &list)
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
				t.Errorf("%s: no conversion of %q among %v", u.Email, name, found)
			}
		}
	}
}

var dropUsers = []string{"a+b@example.org", "plain@example.org"}

// TestInboxEmbedded drops files with the real mc into the embedded store.
func TestInboxEmbedded(t *testing.T) {
	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0")
	var users []*world.User
	for _, email := range dropUsers {
		users = append(users, world.NewUser(t, u.server, email))
	}
	dropAll(t, newMC(t, u.s3, u.inbox.Access, u.inbox.Secret), newMC(t, u.s3, u.root.Access, u.root.Secret), "tonearm", users)
	if n := len(world.Outbox(t, u.dir)); n > 7 {
		t.Errorf("%d mails for 7 drops", n)
	}
}

// TestInboxMinIO does the same with a real MinIO and a process for each
// service.
func TestInboxMinIO(t *testing.T) {
	d := deploy(t)
	var users []*world.User
	for _, email := range dropUsers {
		users = append(users, d.addUser(t, email))
	}
	m := newMC(t, d.S3, "tonearm", "tonearm-secret")
	dropAll(t, m, m, d.Name, users)
}
