package live

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// media makes the batch's files once.
type media struct {
	t   *testing.T
	dir string
}

func (m media) path(name string) string { return filepath.Join(m.dir, name) }

func (m media) ffmpeg(name string, args ...string) string {
	m.t.Helper()
	args = append([]string{"-v", "error", "-nostdin"}, append(args, m.path(name))...)
	if out, err := exec.CommandContext(m.t.Context(), "ffmpeg", args...).CombinedOutput(); err != nil {
		m.t.Fatalf("ffmpeg %v: %v %s", args, err, out)
	}
	return m.path(name)
}

// video makes a video of that many seconds, with a tone.
func (m media) video(name string, seconds, hz int) string {
	return m.ffmpeg(name, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=%d:sample_rate=48000", hz),
		"-t", fmt.Sprint(seconds), "-c:v", "mpeg4", "-c:a", "aac", "-b:a", "128k")
}

// half makes a file from the first half of another one's bytes.
func (m media) half(name, of string) string {
	b, err := os.ReadFile(of)
	if err == nil {
		err = os.WriteFile(m.path(name), b[:len(b)/2], 0o600)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return m.path(name)
}

func (m media) text(name string) string {
	if err := os.WriteFile(m.path(name), []byte(strings.Repeat("This is no video.\n", 1000)), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return m.path(name)
}

// outcome is a line of `tonearm convert --json`.
type outcome struct {
	File  string
	ID    string
	State string
	Error *struct{ Code string }
}

// convert converts files with these options and returns the outcome of each, by
// its name.
func (s *tonearm) convert(files []string, options ...string) map[string]outcome {
	s.t.Helper()
	args := append([]string{"convert", "--json", "--force", "--notify", "email", "--out", s.t.TempDir()}, append(options, files...)...)
	out, _ := run(s.t, s.dir, s.env, s.command, args...)
	all := map[string]outcome{}
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			s.t.Fatalf("%v in %s", err, lines.Text())
		}
		all[filepath.Base(o.File)] = o
	}
	if len(all) != len(files) {
		s.t.Fatalf("%d files gave %s", len(files), out)
	}
	return all
}

// done converts files and checks that all of them are done.
func (s *tonearm) done(files []string, options ...string) map[string]outcome {
	s.t.Helper()
	all := s.convert(files, options...)
	for name, o := range all {
		if o.State != "done" {
			s.t.Fatalf("%s is %s: %+v", name, o.State, o.Error)
		}
	}
	return all
}

// batch sends a little of everything: good files with several options, one that
// wants a GPU although there is none, bad ones, one that is canceled while it
// runs, one that is deleted, and requests that are refused. It returns how many
// mails are owed.
func (s *tonearm) batch() (mails int) {
	s.t.Helper()
	m := media{s.t, s.t.TempDir()}
	var good []string
	for i, seconds := range []int{3, 30, 8, 60, 15, 5} {
		good = append(good, m.video(fmt.Sprintf("good%d.mp4", i), seconds, 300+100*i))
	}
	whole := m.video("whole.mkv", 20, 440)
	bad := map[string]string{
		m.text("text.mp4"):          "not_media",
		m.half("broken.mkv", whole): "truncated",
		m.ffmpeg("silent.mp4", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "3", "-c:v", "mpeg4"): "no_audio",
	}
	s.refused()
	for _, options := range [][]string{
		{}, {"--preset", "voice", "--start", "1"}, {"--bitrate", "192", "--loudness=-16"}, {"--end", "2", "--cover", "none", "--chapters", "drop"},
	} {
		mails += len(s.done(good, options...))
	}
	mails += len(s.done(good[:2], "--cover", "poster"))
	for file, code := range bad { // whole, since the command itself refuses to send a file that was cut off
		if o := s.convert([]string{file}, "--send", "whole")[filepath.Base(file)]; o.State != "failed" || o.Error == nil || o.Error.Code != code {
			s.t.Fatalf("%s is %s: %+v; want %s", file, o.State, o.Error, code)
		}
		mails++
	}
	s.cancel(m)
	gone := s.done(good[:1], "--vbr-quality", "5", "--notify", "none")["good0.mp4"]
	run(s.t, s.dir, s.env, s.command, "rm", gone.ID)
	s.refused()
	return mails
}

// cancel ends the conversion of an hour of sound as soon as it runs.
func (s *tonearm) cancel(m media) {
	s.t.Helper()
	minute := m.ffmpeg("minute.mkv", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "60", "-c:a", "aac")
	hour := m.ffmpeg("hour.mkv", "-stream_loop", "179", "-i", minute, "-c", "copy")
	o := s.convert([]string{hour}, "--no-wait")["hour.mkv"]
	state := func(want string) func() bool {
		return func() bool {
			out, _ := run(s.t, s.dir, s.env, s.command, "get", o.ID, "--json")
			return strings.Contains(out, `"state":"`+want+`"`)
		}
	}
	eventually(s.t, time.Minute, "the long file runs", state("running"))
	run(s.t, s.dir, s.env, s.command, "cancel", o.ID)
	eventually(s.t, time.Minute, "it is canceled", state("canceled"))
}

// refused sends requests that the gateway refuses.
func (s *tonearm) refused() {
	s.t.Helper()
	for _, r := range []struct {
		method, path, password, body string
		want                         int
	}{
		{"POST", "/login", "a wrong password", "", http.StatusUnauthorized},
		{"GET", "/v1/conversions", "", "", http.StatusUnauthorized},
		{"GET", "/no/such/path", "", "", http.StatusNotFound},
		{"POST", "/v1/users", "", `{"email":"nobody"}`, http.StatusUnprocessableEntity},
	} {
		if status, body := s.do(r.method, s.server+r.path, r.password, r.body); status != r.want {
			s.t.Errorf("%s %s: %d %s", r.method, r.path, status, body)
		}
	}
}
