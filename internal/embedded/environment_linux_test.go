package embedded_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/embedded"
)

// TestChildEnvironment: the store's process has none of the secrets that this one may
// have in its environment, and no other variable that it does not need.
func TestChildEnvironment(t *testing.T) {
	t.Setenv("TONEARM_SMTP_PASSWORD", "canary")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary")
	t.Setenv("TMPDIR", t.TempDir())
	_, pids := start(t, embedded.S3Options{Dir: t.TempDir(), WebhookURL: "http://127.0.0.1:1/", WebhookToken: "canary"})
	pid := <-pids
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "canary") {
			t.Errorf("%s holds a secret", file)
		}
		if file != "environ" {
			continue
		}
		var names []string
		for variable := range strings.SplitSeq(strings.TrimRight(string(b), "\x00"), "\x00") {
			name, _, _ := strings.Cut(variable, "=")
			if !strings.HasPrefix(name, "GO") {
				names = append(names, name)
			}
		}
		if slices.Sort(names); !slices.Equal(names, []string{"TMPDIR", "TONEARM_EMBEDDED_CHILD"}) {
			t.Errorf("its variables are %q", names)
		}
	}
}
