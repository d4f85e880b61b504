package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"tonearm/test/world"
)

// TestDoctor finds nothing wrong with `tonearm up`, and leaves nothing behind.
func TestDoctor(t *testing.T) {
	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0")
	owner := world.NewUser(t, u.server, "doctor@example.org")
	tonearm := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tonearm"), append(args, "--server", u.server)...)
		cmd.Env = append(os.Environ(), "TONEARM_TOKEN="+owner.Token, "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	out := tonearm("doctor")
	for _, what := range []string{"server", "clock", "login", "store", "browsers", "notifications", "conversion", "download", "disk here"} {
		if !regexp.MustCompile(`(?m)^ok +` + what + ` `).MatchString(out) {
			t.Errorf("%s is not all right:\n%s", what, out)
		}
	}
	if left := tonearm("list", "--json"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
