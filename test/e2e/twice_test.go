package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// clipTree makes n short videos, each with other content, in folders of 50.
func clipTree(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	one := filepath.Join(t.TempDir(), "clip.mp4")
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:duration=0.3",
		"-c:a", "aac", one).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("%03d", i/50), fmt.Sprintf("clip %05d.mp4", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		box := binary.BigEndian.AppendUint32(nil, 12)
		box = append(box, "free"...)
		box = binary.BigEndian.AppendUint32(box, uint32(i)) //nolint:gosec // small
		if err := os.WriteFile(path, append(bytes.Clone(b), box...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sitting is a user with a tree of clips.
type sitting struct {
	*testing.T
	server, token   string
	tree, out, home string
}

func (s *sitting) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "tonearm"), append(args, "--server", s.server)...)
	cmd.Env = append(os.Environ(), "TONEARM_TOKEN="+s.token, "HOME="+s.home, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=")
	return cmd
}

func (s *sitting) convert(args ...string) *exec.Cmd {
	return s.command(append([]string{"convert", "--recursive", s.tree, "--out", s.out, "--json"}, args...)...)
}

// stop converts the tree, and ends the command with a signal once some files are
// done.
func (s *sitting) stop(done int, signal os.Signal) {
	s.Helper()
	cmd := s.convert()
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for n := 0; lines.Scan(); {
		if n++; n == done {
			_ = cmd.Process.Signal(signal)
		}
	}
	_ = cmd.Wait()
}

// whole converts the tree. It returns the seconds that took, and the most memory of
// the command in MB.
func (s *sitting) whole(args ...string) (results map[string]result, seconds float64, peak int64) {
	s.Helper()
	cmd := s.convert(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		s.Fatalf("%v\n%s", err, stderr.String())
	}
	return readResults(s.T, stdout.Bytes()), time.Since(began).Seconds(), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss / 1024
}

func (s *sitting) conversions() int {
	s.Helper()
	b, err := s.command("list", "--json", "--limit", "0").Output()
	if err != nil {
		s.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

// requests returns how many requests the gateway has answered, by route.
func requests(t *testing.T, u *up) map[string]int {
	t.Helper()
	resp, err := http.Get(u.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n := map[string]int{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if m := served.FindStringSubmatch(lines.Text()); m != nil {
			v, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			n[m[1]] += int(v)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

var served = regexp.MustCompile(`^tonearm_http_requests_total\{.*route="([^"]*)".*\} (\S+)$`)

// TestTwice converts a tree of clips with a command that is killed and interrupted
// in between, and then once more. TONEARM_TEST_CLIPS says how many clips there are.
func TestTwice(t *testing.T) {
	clips := 150
	if s := os.Getenv("TONEARM_TEST_CLIPS"); s != "" {
		clips, _ = strconv.Atoi(s)
	}
	sink := world.StartSink(t, nil)
	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0", "--log-level", "warn",
		"--smtp-host", sink.Host, "--smtp-port", sink.Port, "--smtp-tls", "none")
	s := &sitting{t, u.server, world.NewUser(t, u.server, "twice@example.org").Token, clipTree(t, clips), t.TempDir(), t.TempDir()}

	began := time.Now()
	s.stop(clips/3, syscall.SIGKILL)
	s.stop(2*clips/3, os.Interrupt)
	first, _, peak := s.whole()
	fmt.Printf("%d clips, killed and interrupted in between: %.1f s, %d MB at most, requests to the gateway %v\n",
		clips, time.Since(began).Seconds(), peak, requests(t, u))
	mp3s, _ := filepath.Glob(filepath.Join(s.out, "*", "*.mp3"))
	if n := s.conversions(); len(first) != clips || n != clips || len(mp3s) != clips {
		t.Fatalf("%d clips gave %d lines, %d conversions and %d MP3s", clips, len(first), n, len(mp3s))
	}

	// One MP3 is missing: it is downloaded.
	if err := os.Remove(mp3s[0]); err != nil {
		t.Fatal(err)
	}
	second, _, _ := s.whole()
	if _, err := os.Stat(mp3s[0]); err != nil {
		t.Error(err)
	}
	for file, r := range second {
		if r.MP3ID != first[file].MP3ID || r.MP3 != first[file].MP3 {
			t.Errorf("%s: got %+v, before %+v", file, r, first[file])
		}
	}
	if n := s.conversions(); n != clips {
		t.Errorf("%d conversions, want %d", n, clips)
	}

	// A mail that somebody asked for comes after all that nobody asked for.
	extra := filepath.Join(t.TempDir(), "extra.mp4")
	if err := os.Link(filepath.Join(s.tree, "000", "clip 00000.mp4"), extra); err != nil {
		t.Fatal(err)
	}
	if said, err := s.command("convert", extra, "--out", s.out, "--notify", "email").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	waittest.Until(t, time.Minute, "the mail has come", func() bool { return len(sink.Letters(t)) > 0 })
	if n := len(sink.Letters(t)); n != 1 {
		t.Errorf("%d mails, want the one", n)
	}

	// Nothing is left to do: the command needs no server.
	u.Stop()
	third, seconds, peak := s.whole("--retry-for", "0")
	fmt.Printf("the same command again: %.2f s, %d MB at most, without a server\n", seconds, peak)
	if len(third) != clips {
		t.Errorf("%d lines, want %d", len(third), clips)
	}
	if left, _ := filepath.Glob(filepath.Join(s.home, ".local/state/tonearm/conversions/*")); len(left) > 0 {
		t.Errorf("%d keys are left over: %s", len(left), left[0])
	}
}
