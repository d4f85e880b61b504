package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/test/world"
)

// TestConvertCorpus lets the CLI convert a folder of every kind of source.
func TestConvertCorpus(t *testing.T) {
	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0")
	owner := world.NewUser(t, u.server, "corpus@example.org")
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	corpus := makeCorpus(t, elsewhere.URL)
	out := t.TempDir()
	args := []string{"convert", "--json", "--out", out, "--server", u.server}
	for _, s := range corpus {
		args = append(args, s.path)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tonearm"), args...)
	cmd.Env = append(os.Environ(), "TONEARM_TOKEN="+owner.Token, "XDG_CONFIG_HOME="+t.TempDir())
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
	good, bad, sounds := 0, 0, 0
	for _, s := range corpus {
		r := results[s.path]
		if r.Sent != nil {
			sounds++
		}
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
	if n := reached.Load(); n > 0 {
		t.Errorf("hostile sources made %d requests to another host", n)
	}
	fmt.Printf("%d sources converted, %d refused; of %d only the sound was sent\n", good, bad, sounds)
	if good < 20 || bad < 9 || sounds == 0 {
		t.Errorf("the corpus holds %d good and %d bad sources; of %d only the sound was sent", good, bad, sounds)
	}
}
