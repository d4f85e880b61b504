package e2e

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// bin is the folder of the five commands, built once.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := flag.Lookup("test.run").Value.String()
	if strings.HasPrefix(chosen, "TestCluster") || strings.HasPrefix(chosen, "TestNode") {
		os.Exit(m.Run()) // these need no commands, and also run where nothing can be built
	}
	dir, err := os.MkdirTemp("", "tonearm-e2e-")
	if err != nil {
		panic(err)
	}
	bin = dir
	build := exec.Command("go", "build", "-o", dir, "tonearm/cmd/...")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the commands:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// up is a running `tonearm up`.
type up struct {
	*world.Program
	dir, server, s3 string
	admin           string // URL of /metrics
	inbox, root     s3Key
}

// startUp runs `tonearm up` on dir and waits until it serves.
func startUp(t *testing.T, dir string, args ...string) *up {
	t.Helper()
	p := world.Start(t, nil, filepath.Join(bin, "tonearm"), append([]string{"up", "--data", dir}, args...)...)
	u := &up{Program: p, dir: dir}
	waittest.Until(t, time.Minute, "tonearm up serves", func() bool {
		if p.Ended() {
			t.Fatalf("tonearm up ended: %v", p.Err)
		}
		lines := bufio.NewScanner(strings.NewReader(p.Out.String()))
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			switch {
			case len(f) == 2 && f[0] == "gateway":
				u.server = f[1]
			case len(f) == 2 && f[0] == "admin":
				u.admin = f[1]
			case len(f) == 2 && f[0] == "store":
				u.s3 = f[1]
			case len(f) == 2 && f[0] == "inbox-key":
				u.inbox = inboxKey(t, f[1])
			}
		}
		return u.server != "" && u.admin != "" && u.inbox.Secret != ""
	})
	b, err := os.ReadFile(filepath.Join(dir, "s3", "s3.json"))
	if err == nil {
		err = json.Unmarshal(b, &u.root)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// s3Key is a key of the embedded object store.
type s3Key struct {
	Access string `json:"access_key"`
	Secret string `json:"secret_key"`
}

// inboxKey reads the file with the key that may only upload below inbox/.
func inboxKey(t *testing.T, path string) (key s3Key) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && echo "$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY"`, "sh", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	key.Access, key.Secret, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	return key
}

// download fetches url without credentials, following redirects.
func download(t *testing.T, url, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("download: %s", resp.Status)
	}
	return resp
}

// makeVideo makes a short video with a tone, and returns its path and size.
func makeVideo(t *testing.T, name string, seconds, hz int) (path string, size int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=%d:sample_rate=48000", hz),
		"-t", fmt.Sprint(seconds), "-c:v", "mpeg4", "-c:a", "aac", "-b:a", "128k", path).CombinedOutput()
	if err != nil {
		t.Fatalf("make video: %v %s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, info.Size()
}
