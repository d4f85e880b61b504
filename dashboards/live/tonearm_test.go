package live

import (
	"bufio"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tonearm is a running `tonearm up`, and a person who uses it.
type tonearm struct {
	t                           *testing.T
	command, server, admin, dir string
	env                         []string // of the command line program
}

const (
	email    = "listener@example.org"
	password = "correct horse battery"
)

// startTonearm builds the command, runs the stack on embedded stores and makes
// an account.
func startTonearm(t *testing.T) *tonearm {
	t.Helper()
	s := &tonearm{t: t, dir: t.TempDir(), admin: freeAddr(t)}
	s.command = filepath.Join(s.dir, "tonearm")
	if out, code := run(t, "../..", nil, "go", "build", "-o", s.command, "./cmd/tonearm"); code != 0 {
		t.Fatalf("build: %s", out)
	}
	p := start(t, s.command, "up", "--data", filepath.Join(s.dir, "data"), "--listen", "127.0.0.1:0",
		"--admin-listen", s.admin, "--max-jobs", "3", "--target", "10s")
	eventually(t, time.Minute, "tonearm up serves", func() bool {
		p.running(t)
		lines := bufio.NewScanner(strings.NewReader(p.out.String()))
		for lines.Scan() {
			if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == "gateway" {
				s.server = f[1]
			}
		}
		status, _ := s.do("GET", "http://"+s.admin+"/readyz", "", "")
		return s.server != "" && status == http.StatusOK
	})
	if status, body := s.do("POST", s.server+"/v1/users", "", `{"email":"`+email+`","password":"`+password+`"}`); status != http.StatusCreated {
		t.Fatalf("make account: %d %s", status, body)
	}
	_, token := s.do("POST", s.server+"/login", password, "")
	s.env = []string{
		"TONEARM_SERVER=" + s.server, "TONEARM_TOKEN=" + strings.TrimSpace(token), "HOME=" + s.dir,
		"XDG_STATE_HOME=" + filepath.Join(s.dir, "state"), "XDG_CONFIG_HOME=" + filepath.Join(s.dir, "config"),
	}
	return s
}

// do sends one request, with Basic auth if password is not empty. Status 0
// means that nobody answered.
func (s *tonearm) do(method, url, password, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if password != "" {
		req.SetBasicAuth(email, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// exposed returns the names and the text of Tonearm's own metrics. The names of
// a histogram's series come without their endings.
func (s *tonearm) exposed() (names map[string]bool, text string) {
	s.t.Helper()
	status, text := s.do("GET", "http://"+s.admin+"/metrics", "", "")
	if status != http.StatusOK {
		s.t.Fatalf("metrics: %d %s", status, text)
	}
	names = map[string]bool{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "#" && f[1] == "TYPE" && strings.HasPrefix(f[2], "tonearm_") {
			names[f[2]] = true
		}
	}
	return names, text
}
