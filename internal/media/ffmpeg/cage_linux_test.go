//go:build !race

package ffmpeg

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tonearm/internal/media/ffmpeg/cage"
)

var update = flag.Bool("update", false, "write the table of escapes into docs/security.md")

// TestMain lets the test binary stand in for a transcoder and for an ffmpeg that was
// taken over.
func TestMain(m *testing.M) {
	switch {
	case slices.Contains(os.Args, escapeArg):
		escape(os.Args)
	case len(os.Args) == 3 && os.Args[1] == confineArg:
		confine(os.Args[2])
	}
	os.Exit(m.Run())
}

const confineArg = "tonearm-confine"

// hidden is what a transcoder does for itself; see cage.Hide. It counts as a measure
// here.
const hidden cage.Measure = "hidden parent"

// confined is what the stand-in for a transcoder is to do.
type confined struct {
	User    int // 0 for root
	Dir     string
	Program string
	Without []cage.Measure
}

// confine runs the trials as a transcoder runs ffmpeg, and prints what they print.
func confine(text string) {
	var c confined
	must(json.Unmarshal([]byte(text), &c))
	if c.User > 0 {
		must(syscall.Setgroups(nil))
		must(syscall.Setresgid(c.User, c.User, c.User))
		must(syscall.Setresuid(c.User, c.User, c.User))
	}
	if !slices.Contains(c.Without, hidden) {
		must(cage.Hide())
	} else {
		must(unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)) // a change of the user hides it, too
	}
	t := target{
		Keys: filepath.Join(c.Dir, "keys"), Job: filepath.Join(c.Dir, "other", "source"), Dir: filepath.Join(c.Dir, "work"),
		Outside: c.Dir + "-outside", Unix: filepath.Join(c.Dir, "socket"), Abstract: "@" + c.Dir,
		Parent: os.Getpid(), Descriptor: 50, Lock: 3, Output: 1 << 20,
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(err)
	_ = os.Remove(t.Unix)
	for _, name := range []string{t.Unix, t.Abstract} {
		_, err := net.Listen("unix", name)
		must(err)
	}
	must(os.Chmod(t.Unix, 0o777)) //nolint:gosec // everybody may connect
	t.TCP, t.UDP = tcp.Addr().(*net.TCPAddr).Port, udp.LocalAddr().(*net.UDPAddr).Port
	secret, err := unix.Open(t.Keys, unix.O_RDONLY, 0)
	must(err)
	must(unix.Dup3(secret, t.Descriptor, 0)) // as if somebody forgot O_CLOEXEC
	lock, err := os.OpenFile(filepath.Join(c.Dir, "lock"), os.O_RDONLY|os.O_CREATE, 0o600)
	must(err)
	p := Program{Path: c.Program, ExtraFiles: []*os.File{lock}, without: c.Without}
	run := func(t target) {
		for _, dir := range []string{t.Dir, t.Outside} {
			_ = os.Remove(filepath.Join(dir, "new")) // of the run before
		}
		for _, name := range []string{"source", "removable"} {
			must(os.WriteFile(filepath.Join(t.Dir, name), []byte("a source"), 0o600))
		}
		text, err := json.Marshal(t)
		must(err)
		var out bytes.Buffer
		_, err = p.Run(context.Background(), Command{
			Input: File(filepath.Join(t.Dir, "source")), Args: []string{escapeArg, string(text), Target(filepath.Join(t.Dir, "out"))},
			Stdout: &out, Timeout: time.Minute, MaxBytes: t.Output,
		})
		if t.Alone != "" { // the program may have been replaced, or died
			word := "died"
			if strings.Contains(out.String(), "escaped") {
				word = "escaped"
			}
			fmt.Printf("%s\t%s\n", t.Alone, word)
			return
		}
		must(err)
		_, _ = io.Copy(os.Stdout, &out)
	}
	run(t)
	for _, way := range trials {
		if way.solo {
			t.Alone = way.name
			run(t)
		}
	}
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// tried makes all trials without some measures, as a user or as root. It returns which
// of them worked.
func tried(t *testing.T, base, program string, user int, without []cage.Measure) map[string]bool {
	t.Helper()
	c := confined{User: user, Dir: filepath.Join(base, fmt.Sprint(user)), Program: program, Without: without}
	text, err := json.Marshal(c)
	must(err)
	cmd := exec.CommandContext(t.Context(), program, confineArg, string(text))
	cmd.Env = append(os.Environ(), "TONEARM_SECRET="+canary)
	cmd.Dir = base
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("user %d without %v: %v: %s", user, without, err, stderr.String())
	}
	worked := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name, word, _ := strings.Cut(strings.TrimSpace(line), "\t")
		worked[name] = word == "escaped"
	}
	if len(worked) != len(trials) {
		t.Fatalf("user %d without %v: %d of %d trials were made: %s", user, without, len(worked), len(trials), stderr.String())
	}
	return worked
}

// prepare makes what the trials look for.
func prepare(t *testing.T, users ...int) (base, program string) {
	t.Helper()
	base, err := os.MkdirTemp("", "escapes") // not in t.TempDir, which other users cannot enter
	must(err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	must(os.Chmod(base, 0o755)) //nolint:gosec // another user comes here
	self, err := os.ReadFile("/proc/self/exe")
	must(err)
	program = filepath.Join(base, "program")
	must(os.WriteFile(program, self, 0o755)) //nolint:gosec // likewise
	for _, user := range users {
		dir := filepath.Join(base, fmt.Sprint(user))
		must(os.MkdirAll(dir+"-outside/sub", 0o777))
		must(os.Chmod(dir+"-outside", 0o777)) //nolint:gosec // everybody writes there
		for _, d := range []string{"", "other", "work"} {
			must(os.MkdirAll(filepath.Join(dir, d), 0o700))
		}
		for _, f := range []string{"keys", "other/source"} {
			must(os.WriteFile(filepath.Join(dir, f), []byte("secret"), 0o600))
		}
		must(filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
			if err != nil || user == os.Getuid() {
				return err
			}
			return os.Chown(path, user, user)
		}))
	}
	return base, program
}

// all are the measures of the table.
var all = append(slices.Clone(cage.Measures), hidden)

// base are measures that another one stands on, as root and as a user: without them
// it is refused, or is something else. What they stop themselves does not count for it.
func base(m cage.Measure, user int) []cage.Measure {
	switch {
	case m == cage.Files || m == cage.SystemCalls:
		return []cage.Measure{cage.NoNew}
	case m == cage.Threads && user == 0:
		return []cage.Measure{cage.OtherUser}
	case m == cage.Threads:
		return []cage.Measure{cage.Network} // both have a user namespace, which stops more
	}
	return nil
}

// except returns all measures but some.
func except(some ...cage.Measure) []cage.Measure {
	return slices.DeleteFunc(slices.Clone(all), func(m cage.Measure) bool { return slices.Contains(some, m) })
}

// TestEscapes runs a program in ffmpeg's place that tries to get out. In the cage it must
// not succeed. With no measure it must, or the trial shows nothing. With one measure alone
// it shows what that one stops. The table of docs/security.md says the same.
func TestEscapes(t *testing.T) {
	users := []int{os.Getuid()}
	if users[0] == 0 {
		users = append(users, 12345)
	}
	dir, program := prepare(t, users...)
	stops := map[cage.Measure]bool{}
	stopped := map[int]map[string][]string{}
	for _, user := range users {
		stopped[user] = map[string][]string{}
		for name, worked := range tried(t, dir, program, user, nil) {
			if worked {
				t.Errorf("user %d: %s: it works in the cage", user, name)
			}
		}
		free := tried(t, dir, program, user, all)
		for _, w := range trials {
			if free[w.name] == (w.never != "") && user == 0 {
				t.Errorf("%s: works without a cage: %t", w.name, free[w.name])
			}
		}
		for _, m := range all {
			before := free
			if on := base(m, user); on != nil {
				before = tried(t, dir, program, user, except(on...))
			}
			for name, worked := range tried(t, dir, program, user, except(append(base(m, user), m)...)) {
				if before[name] && !worked {
					stopped[user][name] = append(stopped[user][name], string(m))
					stops[m] = true
				}
			}
		}
	}
	taken, err := cage.Look(t.Context(), program, false)
	for _, m := range taken {
		if m.Refused == cage.LeftOut {
			t.Errorf("%s is left out", m.Measure)
		}
	}
	if _, refused := cage.Said(taken); err != nil || refused != "" || len(users) < 2 {
		t.Skipf("this machine refuses some measures, so the table cannot be checked: %s, %v", refused, err)
	}
	for _, m := range all {
		if !stops[m] {
			t.Errorf("%s stops nothing", m)
		}
	}
	checkTable(t, stopped[users[0]], stopped[users[1]])
}

// checkTable compares the table of docs/security.md with what was seen, or writes it. A
// newer kernel may stop more.
func checkTable(t *testing.T, root, user map[string][]string) {
	t.Helper()
	const path, begin, end = "../../../docs/security.md", "| it tries to | as root | as a user |\n|---|---|---|\n", "\n\n"
	doc, err := os.ReadFile(path)
	must(err)
	head, rest, found := strings.Cut(string(doc), begin)
	table, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no table of escapes", path)
	}
	cell := func(stopped []string, w trial) string {
		if len(stopped) == 0 {
			return cmp.Or(w.never, "may not anyway")
		}
		return strings.Join(stopped, ", ")
	}
	if *update {
		var rows []string
		for _, w := range trials {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s |", w.name, cell(root[w.name], w), cell(user[w.name], w)))
		}
		must(os.WriteFile(path, []byte(head+begin+strings.Join(rows, "\n")+end+tail), 0o644)) //nolint:gosec // a document
		return
	}
	rows := strings.Split(table, "\n")
	if len(rows) != len(trials) {
		t.Fatalf("the table has %d rows, want %d: run the test with -update", len(rows), len(trials))
	}
	for i, w := range trials {
		cells := strings.Split(strings.Trim(rows[i], "| "), " | ")
		if len(cells) != 3 || cells[0] != w.name {
			t.Errorf("row %q, want that of %q: run the test with -update", rows[i], w.name)
			continue
		}
		for j, seen := range [][]string{root[w.name], user[w.name]} {
			for claim := range strings.SplitSeq(cells[j+1], ", ") {
				if said := cell(nil, w); claim != said && !slices.Contains(seen, claim) || claim == said && len(seen) > 0 {
					t.Errorf("%s: the table says %q, seen was %q: run the test with -update", w.name, claim, seen)
				}
			}
		}
	}
}
