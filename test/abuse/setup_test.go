// Package abuse attacks a running Tonearm with a corpus of hostile inputs, and
// proves that the tests of single defenses notice when one is taken out.
package abuse

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

var update = flag.Bool("update", false, "write testdata/expected.txt anew")

// bin is the folder of the commands, built once.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "tonearm-abuse-")
	if err != nil {
		panic(err)
	}
	bin = dir
	build := exec.Command("go", "build", "-tags", "nokubernetes", "-o", dir, "tonearm/cmd/tonearm", "tonearm/cmd/transcoder")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the commands:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// site is a running `tonearm up` and what is around it.
type site struct {
	t                    *testing.T
	up                   *world.Program
	data                 string
	server, events, s3   string
	admin                string
	ada, eve             *world.User // eve attacks, ada has something to lose
	conversion           api.Conversion
	processes            *processes
	canary               string       // URL of a server that nobody may ask
	asked                atomic.Int64 // how often somebody did
	secret               string       // a WAV file outside the site's folder; a title that appears nowhere else is in it
	tone, toneless, text []byte       // videos with and without sound, and no video
}

const secretTitle = "canary-4f1d7c"

// start begins one.
func start(t *testing.T, flags ...string) *site {
	t.Helper()
	s := &site{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.listen()
	s.media()
	args := []string{"up", "--data", s.data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--events-listen", "127.0.0.1:0"}
	s.up = world.Start(t, []string{planted, "HOME=" + t.TempDir(), "XDG_CONFIG_HOME=", "XDG_STATE_HOME="}, filepath.Join(bin, "tonearm"), append(args, flags...)...)
	s.processes = watch(t, s.up.Cmd.Process.Pid)
	waittest.Until(t, time.Minute, "tonearm up serves", func() bool {
		if s.up.Ended() {
			t.Fatalf("tonearm up ended: %v\n%s", s.up.Err, s.up.Out.String())
		}
		lines := bufio.NewScanner(strings.NewReader(s.up.Out.String()))
		for lines.Scan() {
			if f := strings.Fields(lines.Text()); len(f) == 2 {
				switch f[0] {
				case "gateway":
					s.server = f[1]
				case "admin":
					s.admin = f[1]
				case "store":
					s.s3 = f[1]
				case "events":
					s.events = f[1]
				}
			}
		}
		return s.server != "" && s.admin != "" && s.s3 != ""
	})
	s.ada, s.eve = world.NewUser(t, s.server, "ada@example.org"), world.NewUser(t, s.server, "eve@example.org")
	s.conversion = s.upload(s.ada, "ada.mp4", s.tone)
	if got := s.end(s.ada, s.conversion); got != "done" {
		t.Fatalf("a good file is %s", got)
	}
	return s
}

// listen starts the canary: whatever connects to it counts, and gets sound.
func (s *site) listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.canary = "http://" + l.Addr().String() + "/secret.wav"
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.asked.Add(1)
			c.Close()
		}
	}()
	s.t.Cleanup(func() { l.Close() })
}

// media makes the files that others are made of.
func (s *site) media() {
	dir := s.t.TempDir()
	s.secret = filepath.Join(dir, "secret.wav")
	ffmpeg(s.t, "-f", "lavfi", "-i", "sine=frequency=1000:duration=2", "-metadata", "title="+secretTitle, s.secret)
	s.tone = made(s.t, "a.mp4")
	s.toneless = made(s.t, "silent.mp4", "-an")
	s.text = bytes.Repeat([]byte("This is no media.\n"), 200)
}

// made is a file of two seconds with a tone and a picture, as the name's ending says.
func made(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	ffmpeg(t, append(append([]string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=2",
		"-f", "lavfi", "-i", "color=size=64x48:rate=10:duration=2", "-map", "0", "-map", "1"}, args...), "-fflags", "+bitexact", "-flags", "+bitexact", path)...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ffmpeg(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y", "-threads", "1"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, out)
	}
}

// upload sends a file and returns its conversion.
func (s *site) upload(u *world.User, name string, content []byte) (c api.Conversion) {
	s.t.Helper()
	status, body := u.Do("POST", "/v1/conversions", api.NewConversion{Filename: name, Size: int64(len(content))}, &c)
	if status != http.StatusCreated {
		s.t.Fatalf("create %q: %d %s", name, status, body)
	}
	if status, body := s.put(c.Upload, content); status != http.StatusOK {
		s.t.Fatalf("upload %q: %d %s", name, status, body)
	}
	return c
}

// put sends content by a presigned request.
func (s *site) put(up *api.Upload, content []byte) (int, string) {
	header := http.Header{}
	for name, value := range up.Headers {
		header.Set(name, value)
	}
	return s.ask(up.Method, up.URL, header, content)
}

// ask sends one request, without credentials of its own, and follows no redirect.
// Status 0 means that there was no answer.
func (s *site) ask(method, url string, header http.Header, body []byte) (int, string) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	maps.Copy(req.Header, header)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(got)
}

// api asks the gateway as somebody in a network of its own.
func (s *site) api(method, path, token string, header http.Header, body []byte) string {
	h := http.Header{"X-Forwarded-For": {s.network()}}
	maps.Copy(h, header)
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	if body != nil && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	return answer(s.ask(method, s.server+path, h, body))
}

var networks atomic.Int64

// network is an address that nobody had before.
func (s *site) network() string {
	n := networks.Add(1)
	return fmt.Sprintf("198.18.%d.%d", n/250, n%250+1)
}

// answer is the status and, where the body tells one, the code.
func answer(status int, body string) string {
	var p struct{ Code string }
	if json.Unmarshal([]byte(body), &p) == nil && p.Code != "" {
		return fmt.Sprint(status, " ", p.Code)
	}
	if _, rest, ok := strings.Cut(body, "<Code>"); ok {
		code, _, _ := strings.Cut(rest, "<")
		return fmt.Sprint(status, " ", code)
	}
	return fmt.Sprint(status)
}

// end waits for the end of a conversion: "done" or the code of its failure.
func (s *site) end(u *world.User, c api.Conversion) string {
	c = u.Final(c.ID, 3*time.Minute)
	if c.Error != nil {
		return string(c.Error.Code)
	}
	return string(c.State)
}

// input is one of the corpus.
type input struct {
	name string
	try  func(*site) string // what came of it, in a few words
}

// group is a part of the corpus.
type group struct {
	name   string
	inputs func(*testing.T) []input
}

// expected reads what is to come of each input, by group and name.
func expected(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, want, ok := strings.Cut(strings.TrimRight(line, "\n"), " → "); ok {
			all[name] = want
		}
	}
	return all
}

func writeExpected(t *testing.T, got map[string]string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("What comes of each hostile input. `go test ./test/abuse -update` writes it; read the difference.\n\n")
	for _, name := range slices.Sorted(maps.Keys(got)) {
		fmt.Fprintf(&b, "%s → %s\n", name, got[name])
	}
	if err := os.WriteFile("testdata/expected.txt", []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
