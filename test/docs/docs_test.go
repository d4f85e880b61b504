package docs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tonearm/bench/link"
	"tonearm/internal/waittest"
)

// least is the part of all blocks, in percent, that is run here or by the
// cluster test.
const least = 80

// read returns all blocks below root that carry one of the marks.
func read(t *testing.T, root string, marks ...Mark) []Block {
	t.Helper()
	paths, err := Documents(root)
	if err != nil {
		t.Fatal(err)
	}
	var all []Block
	for _, path := range paths {
		blocks, err := Blocks(root, path)
		if err != nil {
			t.Error(err)
		}
		for _, b := range blocks {
			if slices.Contains(marks, b.Mark) {
				all = append(all, b)
			}
		}
	}
	return all
}

func TestDocuments(t *testing.T) {
	here := read(t, "../..", "")
	cluster := read(t, "../..", Cluster)
	away := read(t, "../..", Cloud, Root)
	for _, b := range here {
		fmt.Printf("run      %s\n", b)
	}
	for _, b := range append(cluster, away...) {
		fmt.Printf("%-8s %s\n", b.Mark, b)
	}
	all := len(here) + len(cluster) + len(away)
	part := 100 * (len(here) + len(cluster)) / max(all, 1)
	fmt.Printf("%d blocks: %d run here, %d in the cluster test, %d nowhere: %d %% are run\n",
		all, len(here), len(cluster), len(away), part)
	if part < least {
		t.Errorf("%d %% of all blocks are run, want at least %d %%", part, least)
	}
	for _, b := range cluster {
		if !slices.Contains(ClusterDocuments, b.File) {
			t.Errorf("%s: the cluster test runs only the blocks of %s", b, strings.Join(ClusterDocuments, ", "))
		}
	}
}

// TestVersion: the overlays name the images of the version that the changelog
// has at its top.
func TestVersion(t *testing.T) {
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	newest := regexp.MustCompile(`(?m)^## (\d+\.\d+\.\d+)`).FindSubmatch(changelog)
	if newest == nil {
		t.Fatal("the changelog has no version")
	}
	paths, err := filepath.Glob("../../kustomize/overlays/*/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tags := 0
	for _, path := range append(paths, "../../kustomize/base/kustomization.yaml") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`newTag: (\S+?)\}`).FindAllSubmatch(content, -1) {
			tags++
			if got, want := string(m[1]), "v"+string(newest[1]); got != want && got != "dev" {
				t.Errorf("%s has the tag %s, want %s", path, got, want)
			}
		}
	}
	if tags < 10 {
		t.Errorf("%d tags found", tags)
	}
}

// TestBlocks runs all blocks in each of the ways in which somebody may.
func TestBlocks(t *testing.T) {
	for _, name := range []string{"bash", "zsh"} {
		for _, way := range []string{"script", "paste"} {
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				s := &shell{name: name, paste: way == "paste", dir: w.dir, env: w.env, network: w.network, limit: 5 * time.Minute}
				blocks := read(t, w.dir, "")
				if err := s.run(t, blocks); err != nil {
					t.Fatal(err)
				}
				w.check(t, blocks)
			})
		}
	}
}

// world is a machine on which the documents are followed.
type world struct {
	dir     string // a copy of the repository
	env     []string
	network *link.Namespace // its own where this process may make one
	log     waittest.Buffer
	output  waittest.Buffer
}

// newWorld copies the repository and starts `tonearm up` in it, as `make up`
// does. It ends with the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("TONEARM_TEST_DOCS") == "" {
		t.Skip("TONEARM_TEST_DOCS is not set: make docs-test")
	}
	w := &world{dir: filepath.Join(t.TempDir(), "tonearm")}
	copyRepository(t, w.dir)
	tools := filepath.Join(t.TempDir(), "tools")
	if err := os.Mkdir(tools, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.Getenv("TONEARM_TEST_MC"), filepath.Join(tools, "mc")); err != nil {
		t.Fatal(err)
	}
	w.env = append(goEnv(t), "PATH="+tools+":"+os.Getenv("PATH")) // nothing else of this machine's, such as AWS_ variables
	var err error
	if w.network, err = link.NewNamespace(); err != nil && !errors.Is(err, link.ErrUnsupported) {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.network.Close() })
	w.up(t)
	return w
}

func (w *world) up(t *testing.T) {
	t.Helper()
	up := exec.Command("bin/tonearm", "up")
	up.Dir, up.Env = w.dir, w.env
	up.Stdout, up.Stderr = &w.output, &w.log
	if err := w.network.Start(up); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = up.Wait() }()
	t.Cleanup(func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("tonearm up:\n%s%s", w.output.String(), w.log.String()[max(0, len(w.log.String())-2000):])
		}
	})
	waittest.Until(t, time.Minute, "tonearm up is ready", func() bool {
		select {
		case <-ended:
			t.Fatal("tonearm up has ended: is its port taken? As root the test has a network of its own")
		default:
		}
		return strings.Contains(w.output.String(), "gateway")
	})
}

// dropped finds the videos that blocks upload into the inbox.
var dropped = regexp.MustCompile(`inbox/you@example\.org/(\w+\.mp4)`)

// check looks at what the reader has left behind.
func (w *world) check(t *testing.T, blocks []Block) {
	t.Helper()
	var code strings.Builder
	for _, b := range blocks {
		code.WriteString(b.Code)
	}
	drops := dropped.FindAllStringSubmatch(code.String(), -1)
	if len(drops) < 4 {
		t.Errorf("%d videos are uploaded into the inbox, want those of mc, aws, rclone and s3cmd", len(drops))
	}
	for _, m := range drops {
		waittest.Until(t, time.Minute, "a mail says that "+m[1]+" is ready", func() bool {
			mails, err := filepath.Glob(filepath.Join(w.dir, ".tonearm", "outbox", "*.eml"))
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(mails, func(path string) bool {
				mail, err := os.ReadFile(path)
				return err == nil && bytes.Contains(mail, []byte(`The MP3 of "`+m[1]+`" is ready.`))
			})
		})
	}
	if log := w.log.String(); strings.Contains(log, "level=ERROR") {
		t.Error("there is an error in the log")
	}
}

// copyRepository copies all files that git does not ignore, and the programs.
func copyRepository(t *testing.T, dir string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	for _, name := range []string{"tonearm", "gateway", "dispatcher", "notifier", "transcoder"} {
		names = append(names, filepath.Join("bin", name))
	}
	for _, name := range names {
		from, to := filepath.Join(root, name), filepath.Join(dir, name)
		info, err := os.Lstat(from)
		if errors.Is(err, os.ErrNotExist) { // removed and not yet committed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			t.Fatal(err)
		}
		if info.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink(from)
			if err := errors.Join(err, os.Symlink(target, to)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		b, err := os.ReadFile(from)
		if err := errors.Join(err, os.WriteFile(to, b, info.Mode().Perm())); err != nil {
			t.Fatal(err)
		}
	}
}

// goEnv is where Go keeps its files, which a new home would hide.
func goEnv(t *testing.T) []string {
	t.Helper()
	env := []string{"LANG=C.UTF-8"}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS", "GOSUMDB", "GOTOOLCHAIN"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+string(bytes.TrimSpace(out)))
	}
	return env
}

// TestDemo runs the scripts of `make demo` by other shells than this machine's.
func TestDemo(t *testing.T) {
	w := newWorld(t)
	makeDemo := exec.Command("make", "demo")
	makeDemo.Dir, makeDemo.Env = w.dir, append(slices.Clip(w.env), "HOME="+t.TempDir())
	if out, err := makeDemo.CombinedOutput(); err != nil {
		t.Fatalf("make demo: %v\n%s", err, out)
	}
	for _, shell := range []string{"dash", "busybox sh"} {
		t.Run(shell, func(t *testing.T) {
			run := func(path, script string, args ...string) (string, error) {
				words := append(strings.Fields(shell), append([]string{filepath.Join(w.dir, "scripts", script)}, args...)...)
				program, err := exec.LookPath(words[0])
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(program, words[1:]...)
				cmd.Env = append(os.Environ(), "PATH="+path)
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if out, err := run(os.Getenv("PATH"), "setup", "ffmpeg", "curl", "jq"); err != nil || out != "" {
				t.Errorf("setup where nothing is missing: %v\n%s", err, out)
			}
			if out, err := run(os.Getenv("PATH"), "demo"); err != nil {
				t.Errorf("demo: %v\n%s", err, out)
			}
			bare := folderOf(t, "awk", "cat", "dirname", "id", "mktemp", "rm", "tail")
			if out, err := run(bare, "setup", "ffmpeg"); err == nil || !strings.Contains(out, "missing: ffmpeg") {
				t.Errorf("setup without a package manager: %v\n%s", err, out)
			}
			if out, err := run(bare, "demo"); err == nil || !strings.Contains(out, "ffmpeg is missing") {
				t.Errorf("demo without ffmpeg: %v\n%s", err, out)
			}
		})
	}
}

// folderOf returns a folder that has these programs and nothing else.
func folderOf(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err := errors.Join(err, os.Symlink(path, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGuards breaks a document in ways that once stood in one.
func TestGuards(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, shell string
		paste       bool
		code        string
		prints      []string
		want        string // in the error
	}{
		{name: "a line fails", shell: "bash", code: "true\nfalse\ntrue\n", want: "README.md:1: exit status 1"},
		{name: "a pasted line fails", shell: "zsh", paste: true, code: "true\nfalse\ntrue\n", want: "README.md:1: a command ended with status 1"},
		{name: "a variable without a value", shell: "bash", code: "echo $NOWHERE_SET\n", want: "NOWHERE_SET"},
		{name: "prints something else", shell: "bash", code: "echo 12 MP3s\n", prints: []string{"… videos"}, want: "does not print"},
		{name: "a comment in zsh", shell: "zsh", paste: true, code: "true # it's done\n", want: "README.md:1"},
		{name: "a command reads the lines that follow", shell: "bash", paste: true, want: "no end after",
			code: "ffmpeg -y -v error -f lavfi -i sine=duration=10000 -f null -\ntrue\n"},
		{name: "rclone without quotes", shell: "bash", want: "README.md:1: ", code: ". .tonearm/inbox.env\n" +
			"ffmpeg -nostdin -y -v error -f lavfi -i sine=duration=1 a.mp4\n" +
			"rclone copy a.mp4 :s3,provider=Other,endpoint=$AWS_ENDPOINT_URL,access_key_id=$AWS_ACCESS_KEY_ID,secret_access_key=$AWS_SECRET_ACCESS_KEY:tonearm/inbox/you@example.org/\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shell{name: tt.shell, paste: tt.paste, dir: w.dir, env: w.env, network: w.network, limit: 10 * time.Second}
			b := Block{File: "README.md", Line: 1, Code: tt.code, Prints: tt.prints}
			err := s.run(t, []Block{b})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q in it", err, tt.want)
			}
		})
	}
}
