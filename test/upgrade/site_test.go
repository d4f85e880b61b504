package upgrade

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// site is one installation, its one user, and every file that it ever accepted.
type site struct {
	t       *testing.T
	server  string // URL of the gateway
	places  int    // attempts that may run at a time
	user    *world.User
	home    []string // environment of the command line, whose login and journal are there
	dir     string   // of files
	front   *world.Front
	sink    *world.Sink
	records records
	objects func() int            // MP3s in the store
	outbox  func() []world.Letter // mails that are written as files; may be nil
	files   []*file
}

// file is one upload and the result that it must have.
type file struct {
	what string
	key  string // Idempotency-Key; "" where the command line drew it
	body api.NewConversion
	conv api.Conversion   // as created, or as seen last
	want conversion.State // final state
	code conversion.Code
	args []string // of tonearm convert

	ended bool
	shown map[string]any // how the API has shown it since it ended
	link  string         // presigned, to the MP3
}

// records are the documents of the conversions. They are read and written
// directly, without any program.
type records interface {
	count() int
	document(id string) string
	value(id, path string) any
	set(id, path string, value any)
}

// running are the programs of one version.
type running struct {
	gate     *gate
	programs []*world.Program
}

func (r running) end(how func(*world.Program)) {
	for _, p := range r.programs {
		how(p)
	}
}

// limit is how long one file among others may take on a slow machine.
const limit = 90 * time.Second

func newSite(t *testing.T, store string) *site {
	t.Helper()
	dir := t.TempDir()
	mediatest.Video(t, filepath.Join(dir, "talk.mp4"), 3, 440)
	if err := mediatest.Make(t.Context(), dir, "-i", "talk.mp4", "-an", "-c", "copy", "silent.mp4"); err != nil {
		t.Fatal(err)
	}
	return &site{
		t: t, dir: dir, front: world.StartFront(t, store), sink: world.StartSink(t, nil),
		home: []string{"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"), "XDG_STATE_HOME=" + filepath.Join(dir, "state")},
	}
}

func (s *site) source(name string) string { return filepath.Join(s.dir, name) }

// join makes the user's account and logs in, also with a program of the command
// line.
func (s *site) join(bin commands) {
	s.t.Helper()
	s.user = world.NewUser(s.t, s.server, "owner@example.org")
	login := world.Command(s.t, s.home, bin.path("tonearm"), "login", "--server", s.server, "--user", s.user.Email, "--password-stdin")
	login.Stdin = strings.NewReader(world.Password)
	if out, err := login.CombinedOutput(); err != nil {
		s.t.Fatalf("login: %v %s", err, out)
	}
}

// create announces a file.
func (s *site) create(what, name string, more api.NewConversion) *file {
	s.t.Helper()
	info, err := os.Stat(s.source(name))
	if err != nil {
		s.t.Fatal(err)
	}
	more.Filename, more.Size = name, info.Size()
	f := &file{what: what, key: world.RandomHex(8), body: more, want: conversion.Done}
	status, c := s.user.CreateUnder(f.key, f.body)
	if status != http.StatusCreated {
		s.t.Fatalf("%s: created with status %d", what, status)
	}
	f.conv = c
	s.files = append(s.files, f)
	return f
}

// send uploads a file as the answer to its creation says.
// unknownAccount is the answer of the embedded store of a version before 0.2 to a URL
// that a later version signed: it does not know the services' accounts. Clients ask for
// another URL then.
const unknownAccount = "XAdminUserNotFound"

func (s *site) send(f *file) {
	s.t.Helper()
	err := world.Put(s.t.Context(), f.conv.Upload, s.source(f.conv.Filename))
	if err != nil && strings.Contains(err.Error(), unknownAccount) {
		var fresh api.Upload
		if status, body := s.user.Do("POST", "/v1/conversions/"+f.conv.ID+"/parts", struct{}{}, &fresh); status != http.StatusOK {
			s.t.Fatalf("%s: %d %s", f.what, status, body)
		}
		err = world.Put(s.t.Context(), &fresh, s.source(f.conv.Filename))
	}
	if err != nil {
		s.t.Fatalf("%s: %v", f.what, err)
	}
}

func (s *site) upload(what, name string, more api.NewConversion) *file {
	s.t.Helper()
	f := s.create(what, name, more)
	s.send(f)
	return f
}

// cli starts tonearm convert for a file in dir, whose name is its own.
func (s *site) cli(bin commands, name string, env []string, args ...string) *world.Program {
	s.t.Helper()
	args = append([]string{"convert", s.source(name), "--json", "--out", s.source("out")}, args...)
	return world.Start(s.t, append(s.home, env...), bin.path("tonearm"), args...)
}

// result waits until tonearm convert has ended, and returns the id of its one
// file.
func (s *site) result(p *world.Program, exit int) string {
	s.t.Helper()
	<-p.End
	if got := p.Cmd.ProcessState.ExitCode(); got != exit {
		s.t.Fatalf("tonearm convert: exit code %d, want %d: %s", got, exit, p.Out.String())
	}
	var line struct{ ID string }
	for text := range strings.Lines(p.Out.String()) {
		if strings.HasPrefix(text, "{") {
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	if line.ID == "" {
		s.t.Fatalf("tonearm convert told no id: %s", p.Out.String())
	}
	return line.ID
}

// convert converts a new file with the command line.
func (s *site) convert(what string, bin commands, env []string, args ...string) *file {
	s.t.Helper()
	name := s.copy("cli", 0)
	f := &file{what: what, want: conversion.Done}
	f.conv.ID = s.result(s.cli(bin, name, env, args...), 0)
	s.files = append(s.files, f)
	return f
}

// copy makes a video with a unique name. It is filled up to size bytes with
// data that players skip, and of which tonearm convert does not know that.
func (s *site) copy(kind string, size int64) string {
	s.t.Helper()
	name := fmt.Sprintf("%s-%d.mp4", kind, len(s.files))
	b, err := os.ReadFile(s.source("talk.mp4"))
	if err != nil {
		s.t.Fatal(err)
	}
	if left := size - int64(len(b)); left > 0 {
		b = append(b, byte(left>>24), byte(left>>16), byte(left>>8), byte(left), 'j', 'u', 'n', 'k')
	}
	if err := os.WriteFile(s.source(name), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if size > 0 {
		if err := os.Truncate(s.source(name), size); err != nil {
			s.t.Fatal(err)
		}
	}
	return name
}

var noMail = api.NewConversion{Notify: conversion.NotifyNone}

// settle brings a file to each possible end.
func (s *site) settle(bin commands) {
	s.t.Helper()
	s.convert("done, with options", bin, nil, "--preset", "voice", "--bitrate", "64", "--start", "0:01", "--cover", "poster", "--notify", "none")
	s.upload("done, mailed", "talk.mp4", api.NewConversion{})
	failed := s.upload("failed", "silent.mp4", api.NewConversion{})
	failed.want, failed.code = conversion.Failed, conversion.CodeNoAudio
	canceled := s.create("canceled", "talk.mp4", noMail)
	canceled.want = conversion.Canceled
	if status, body := s.user.Do("POST", "/v1/conversions/"+canceled.conv.ID+"/cancel", nil, nil); status != http.StatusOK {
		s.t.Fatalf("cancel: %d %s", status, body)
	}
	for _, f := range s.files {
		s.end(f)
	}
	s.mailed()
}

// unfinished are files that other programs must bring to their ends.
type unfinished struct {
	awaited, owed, queued *file
	running               []*file
	half                  *file // sent in parts, and the last parts are missing
}

const (
	big      = 66 << 20 // bytes that tonearm convert sends in parts
	bigParts = 5        // of 16 MiB
	sent     = 2
)

// leave makes a file in each unfinished state. away is the mood in which the
// mail server accepts no mail. running is how many attempts are stopped in the
// middle; if they take all places, one more file waits behind them.
func (s *site) leave(bin commands, g *gate, away world.Mood, running int) unfinished {
	s.t.Helper()
	u := unfinished{awaited: s.create("awaited", "talk.mp4", api.NewConversion{Options: &conversion.Options{Start: 1}})}

	name := s.copy("big", big)
	taken, _, _ := s.front.Parts()
	s.front.LetPass(sent)
	options := []string{"--notify", "none", "--start", "0:01"}
	p := s.cli(bin, name, nil, options...)
	waittest.Until(s.t, limit, "some parts are stored and others on their way", func() bool {
		now, _, held := s.front.Parts()
		return now-taken == sent && held > 0 || p.Ended()
	})
	p.Cmd.Process.Signal(syscall.SIGINT)
	const interrupted = 130
	u.half = &file{what: "half sent", want: conversion.Done, args: append([]string{name}, options...)}
	u.half.conv.ID = s.result(p, interrupted)
	s.front.LetPass(-1)
	if status, body := s.user.Do("GET", "/v1/conversions/"+u.half.conv.ID, nil, &u.half.conv); status != http.StatusOK {
		s.t.Fatalf("half sent: get: %d %s", status, body)
	}
	s.files = append(s.files, u.half)

	s.sink.Become(away)
	u.owed = s.upload("mail owed", "talk.mp4", api.NewConversion{})
	if away == world.Hang {
		waittest.Until(s.t, limit, "a mail is on its way", func() bool { return s.sink.Hanging() > 0 })
	} else {
		s.refused(u.owed)
	}

	g.catch(running)
	for range running {
		u.running = append(u.running, s.upload("running", "talk.mp4", api.NewConversion{Options: &conversion.Options{Cover: "poster"}}))
	}
	waittest.Until(s.t, limit, "attempts are in the middle", g.caught)
	if running == s.places {
		u.queued = s.upload("queued", "talk.mp4", api.NewConversion{})
		s.noticed(u.queued)
	}
	return u
}

// refused waits until the mail server has temporarily refused the file's mail.
func (s *site) refused(f *file) {
	s.t.Helper()
	waittest.Until(s.t, limit, "the mail server has been tried", func() bool {
		reason, _ := s.records.value(f.conv.ID, "notice.reason").(string)
		return reason != ""
	})
}

// noticed waits until the file's upload has been noticed and its work is
// waiting.
func (s *site) noticed(f *file) {
	s.t.Helper()
	waittest.Until(s.t, limit, "the upload is noticed", func() bool {
		return s.records.value(f.conv.ID, "state") == string(conversion.Queued)
	})
}

// finish brings to its end what others left, and checks everything.
func (s *site) finish(bin commands, u unfinished) {
	s.t.Helper()
	s.sink.Become(world.Accept)
	for _, f := range s.files {
		if f.key == "" {
			continue
		}
		if status, c := s.user.CreateUnder(f.key, f.body); status != http.StatusOK || c.ID != f.conv.ID {
			s.t.Errorf("%s: the same request again got %d and conversion %s, want 200 and %s", f.what, status, c.ID, f.conv.ID)
		}
	}
	s.send(u.awaited)
	taken, _, _ := s.front.Parts()
	if id := s.result(s.cli(bin, u.half.args[0], nil, u.half.args[1:]...), 0); id != u.half.conv.ID {
		s.t.Errorf("half sent: the same command again made conversion %s, want %s", id, u.half.conv.ID)
	}
	if now, _, _ := s.front.Parts(); now-taken != bigParts-sent {
		s.t.Errorf("half sent: %d parts were sent to finish it, want %d", now-taken, bigParts-sent)
	}
	s.convert("one more", bin, nil)
	for _, f := range s.files {
		s.end(f)
	}
	for _, f := range u.running {
		if f.conv.Attempt < 2 {
			s.t.Errorf("running: done by attempt %d, which ended with its program", f.conv.Attempt)
		}
	}
	s.mailed()
	s.check()
}
