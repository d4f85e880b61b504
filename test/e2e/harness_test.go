package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/waittest"
)

// bin is the folder of the five commands, built once.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	if strings.HasPrefix(flag.Lookup("test.run").Value.String(), "TestCluster") {
		os.Exit(m.Run()) // needs no commands, and runs where nothing can be built
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

// program is a running command whose output is kept.
type program struct {
	cmd *exec.Cmd
	out waittest.Buffer
	end chan struct{} // closed when it has ended
	err error         // set then
}

// start runs a command in a process group of its own and ends it with the test.
func start(t *testing.T, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(name, args...), end: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.end) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(name), tail(p.out.String(), 8000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return s
}

func (p *program) ended() bool {
	select {
	case <-p.end:
		return true
	default:
		return false
	}
}

// stop ends the program as an operator would, and by force if that takes long.
func (p *program) stop() {
	if p.ended() {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
	<-p.end
	force.Stop()
}

// up is a running `tonearm up`.
type up struct {
	*program
	dir, server, s3, accessKey, secretKey string
}

// startUp runs `tonearm up` on dir and waits until it serves.
func startUp(t *testing.T, dir string, args ...string) *up {
	t.Helper()
	p := start(t, nil, filepath.Join(bin, "tonearm"), append([]string{"up", "--data", dir}, args...)...)
	u := &up{program: p, dir: dir}
	waittest.Until(t, time.Minute, "tonearm up serves", func() bool {
		if p.ended() {
			t.Fatalf("tonearm up ended: %v", p.err)
		}
		lines := bufio.NewScanner(strings.NewReader(p.out.String()))
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			switch {
			case len(f) == 2 && f[0] == "gateway":
				u.server = f[1]
			case len(f) == 9 && strings.HasPrefix(lines.Text(), "  for mc"):
				u.s3, u.accessKey, u.secretKey = f[6], f[7], f[8]
			}
		}
		return u.server != "" && u.secretKey != ""
	})
	return u
}

// user is somebody with an account who talks to a gateway by plain HTTP.
type user struct {
	t                    *testing.T
	server, email, token string
}

const password = "correct horse battery"

// newUser makes an account and logs in.
func newUser(t *testing.T, server, email string) *user {
	t.Helper()
	u := &user{t: t, server: server, email: email}
	status, body := u.do("POST", "/v1/users", api.NewUser{Email: email, Password: password}, nil)
	if status != http.StatusCreated {
		t.Fatalf("make account: %d %s", status, body)
	}
	u.login()
	return u
}

func (u *user) login() {
	u.t.Helper()
	req, _ := http.NewRequestWithContext(u.t.Context(), "POST", u.server+"/login", nil)
	req.SetBasicAuth(u.email, password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		u.t.Fatalf("login: %d %s", resp.StatusCode, body)
	}
	u.token = strings.TrimSpace(string(body))
}

// do sends one request and returns status and body; into, where not nil, gets
// the decoded answer of a success. Status 0 means that nobody answered.
func (u *user) do(method, path string, body, into any) (int, string) {
	u.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			u.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(u.t.Context(), method, u.server+path, r)
	if err != nil {
		u.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if u.token != "" {
		req.Header.Set("Authorization", "Bearer "+u.token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	if into != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(got, into); err != nil {
			u.t.Fatalf("%s %s: %v in %s", method, path, err, got)
		}
	}
	return resp.StatusCode, string(got)
}

// create asks for a conversion.
func (u *user) create(filename string, size int64) api.Conversion {
	u.t.Helper()
	var c api.Conversion
	if status, body := u.do("POST", "/v1/conversions", api.NewConversion{Filename: filename, Size: size}, &c); status != http.StatusCreated {
		u.t.Fatalf("create: %d %s", status, body)
	}
	return c
}

// put uploads a file by the presigned request of up.
func put(ctx context.Context, up *api.Upload, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, up.Method, up.URL, f)
	if err != nil {
		return err
	}
	for name, value := range up.Headers {
		req.Header.Set(name, value)
	}
	req.ContentLength = info.Size()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return fmt.Errorf("upload: %s %s", resp.Status, body)
	}
	return nil
}

// final waits until a conversion is final.
func (u *user) final(id string, limit time.Duration) api.Conversion {
	u.t.Helper()
	var c api.Conversion
	waittest.Until(u.t, limit, "conversion "+id+" is final", func() bool {
		status, body := u.do("GET", "/v1/conversions/"+id+"?wait=20", nil, &c)
		if status != 0 && status != http.StatusOK && status != http.StatusServiceUnavailable {
			u.t.Fatalf("get conversion: %d %s", status, body)
		}
		return status == http.StatusOK && c.State.Terminal()
	})
	return c
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
