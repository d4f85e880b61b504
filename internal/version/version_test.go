package version

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"tonearm/internal/waittest"
	"tonearm/test/world"
)

func TestOfCommit(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for name, tt := range map[string]struct {
		settings []debug.BuildSetting
		want     string
	}{
		"nothing known":       {nil, "dev"},
		"a commit":            {[]debug.BuildSetting{revision, {Key: "vcs.modified", Value: "false"}}, "0123456789ab"},
		"uncommitted changes": {[]debug.BuildSetting{modified, revision}, "0123456789ab-dirty"},
	} {
		if got := ofCommit(tt.settings); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

const stamp = "v9.8.7-test"

// ldflags returns the linker flags of a build file, with the version filled in.
func ldflags(t *testing.T, file, variable string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, m := range regexp.MustCompile(`-ldflags ['"]([^'"]*)['"]`).FindAllSubmatch(text, -1) {
		flags = append(flags, strings.ReplaceAll(string(m[1]), variable, stamp))
	}
	if len(flags) == 0 {
		t.Fatalf("%s has no -ldflags", file)
	}
	return flags
}

// TestStamp builds the programs with the flags of the Makefile, and asks each
// one for its version in every way it has.
func TestStamp(t *testing.T) {
	flags := ldflags(t, "../../Makefile", "$(VERSION)")
	for _, f := range append(flags, ldflags(t, "../../scripts/images", "$version")...) {
		if !strings.HasSuffix(f, flags[0]) {
			t.Errorf("-ldflags %q does not end as the Makefile's first one, %q", f, flags[0])
		}
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", flags[0], "-o", bin, "tonearm/cmd/...", "tonearm/kustomize/makesecrets")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	data := filepath.Join(t.TempDir(), "data")
	records, queue := "--records=mongodb://127.0.0.1:1", "--queue=redis://127.0.0.1:1"
	users, s3 := "--users=u:p@tcp(127.0.0.1:1)/tonearm", "--s3-endpoint=http://127.0.0.1:1"
	keys := world.SigningKey(t)
	for program, args := range map[string][]string{ // that make it serve metrics, with no store to be reached
		"tonearm":     {"up", "--listen=127.0.0.1:0", "--data=" + data},
		"gateway":     {records, users, queue, s3, "--signing-keys=" + keys},
		"dispatcher":  {records, users, queue, s3, "--dispatcher-url=http://127.0.0.1:1", "--event-token=" + strings.Repeat("t", 16), "--attempt-key=" + strings.Repeat("ab", 32)},
		"notifier":    {records, queue, "--signing-keys=" + keys, "--smtp-host=127.0.0.1"},
		"transcoder":  nil,
		"makesecrets": nil,
	} {
		t.Run(program, func(t *testing.T) {
			path := filepath.Join(bin, program)
			wantLine(t, program, path, "--version")
			if program == "tonearm" {
				wantLine(t, program, path, "version")
			}
			if args != nil {
				wantMetric(t, path, args...)
			}
		})
	}
}

// wantLine runs a command that prints the version.
func wantLine(t *testing.T, program string, command ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).Output()
	if err != nil || !strings.HasPrefix(string(out), program+" version "+stamp+" go1.") {
		t.Errorf("%s: got %q, %v", strings.Join(command, " "), out, err)
	}
}

// listening is the log line of the admin listener, as text and as JSON. It is
// the first part that starts.
var listening = regexp.MustCompile(`listening"?,? ?"?address"?[=:]"?([0-9.]+:\d+)`)

// wantMetric runs a service and reads the version from its metrics.
func wantMetric(t *testing.T, path string, args ...string) {
	t.Helper()
	p := world.Start(t, []string{"TONEARM_FFMPEG=true"}, path, append(args, "--admin-listen=127.0.0.1:0")...)
	var metrics string
	waittest.Until(t, 10*time.Second, "it listens", func() bool {
		if p.Ended() {
			t.Fatalf("it ended: %v\n%s", p.Err, p.Out.String())
		}
		if m := listening.FindStringSubmatch(p.Out.String()); m != nil {
			metrics = "http://" + m[1] + "/metrics"
		}
		return metrics != ""
	})
	want := fmt.Sprintf("tonearm_build_info{goversion=%q,version=%q} 1", runtime.Version(), stamp)
	var got []string
	waittest.Until(t, 10*time.Second, "metrics", func() bool {
		got = exposed(t, metrics)
		return len(got) > 0
	})
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q once", got, want)
	}
}

// exposed returns the lines of tonearm_build_info.
func exposed(t *testing.T, url string) (found []string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return nil // it listens and does not serve yet
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "tonearm_build_info") {
			found = append(found, lines.Text())
		}
	}
	return found
}
