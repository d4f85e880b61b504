package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tonearm/test/server"
)

// oldCommit is the version that an upgrade starts from. When a release is made,
// set it to the commit of the previous release: `git rev-parse
// v1.2.0^{commit}`. For a single run TONEARM_UPGRADE_FROM can name another
// commit.
const oldCommit = "8d3f7a0b7de255b5a239e647f0482e412f0e0456"

// commands are the programs of one version, by their folder.
type commands string

func (c commands) path(name string) string { return filepath.Join(string(c), name) }

// both are the programs of two versions.
type both struct{ before, after commands }

// versions returns the old programs, which are built if the cache does not have
// them, and the new ones, which make build has put into bin.
func versions(t *testing.T) both {
	t.Helper()
	if os.Getenv("TONEARM_TEST_UPGRADE") == "" {
		t.Skip("TONEARM_TEST_UPGRADE is not set: make upgrade-test")
	}
	v, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var built = sync.OnceValues(func() (both, error) {
	root, err := git(".", "rev-parse", "--show-toplevel")
	if err != nil {
		return both{}, err
	}
	after := commands(filepath.Join(root, "bin"))
	if _, err := os.Stat(after.path("tonearm")); err != nil {
		return both{}, fmt.Errorf("the new programs are not built, see make build: %w", err)
	}
	before, err := oldPrograms(root)
	return both{before, after}, err
})

// oldPrograms returns the folder of the old programs in the cache. They are
// built once for each commit, from the repository's history.
func oldPrograms(root string) (commands, error) {
	name := oldCommit
	if from := os.Getenv("TONEARM_UPGRADE_FROM"); from != "" {
		name = from
	}
	cache, err := server.Cache()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "upgrade")
	if bin := filepath.Join(cache, name, "bin"); isDir(bin) { // works without the history too
		return commands(bin), nil
	}
	commit, err := git(root, "rev-parse", "--verify", "--quiet", name+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("commit %s is not in this clone; git fetch --unshallow brings all of them, TONEARM_UPGRADE_FROM=COMMIT names another", name)
	}
	home := filepath.Join(cache, commit)
	bin := filepath.Join(home, "bin")
	if isDir(bin) {
		return commands(bin), nil
	}
	fmt.Fprintf(os.Stderr, "upgrade: building the programs of %.12s into %s, once\n", commit, bin)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(home, "build-") // in the same folder as bin, so that a rename is enough
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	for _, step := range []string{
		`mkdir src && git -C "$ROOT" archive --format=tar "$COMMIT" | tar -x -C src`,
		`cd src && go build -buildvcs=false -trimpath -o ../bin/ ./cmd/...`,
	} {
		cmd := exec.Command("sh", "-c", step)
		cmd.Dir, cmd.Env = work, append(os.Environ(), "ROOT="+root, "COMMIT="+commit, "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the programs of %s: %w\n%s", commit, err, out)
		}
	}
	return commands(bin), os.Rename(filepath.Join(work, "bin"), bin)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// git runs git in a folder and returns what it prints.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), errors.Join(err, errors.New(stderr.String())))
	}
	return strings.TrimSpace(string(out)), nil
}
