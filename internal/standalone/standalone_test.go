package standalone_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/dispatcher"
	"tonearm/gateway"
	"tonearm/internal/api"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
	"tonearm/internal/embedded"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/standalone"
	"tonearm/internal/waittest"
)

// transcoder is the real program, built once.
var transcoder string

func TestMain(m *testing.M) {
	embedded.Main()
	if len(os.Args) == 4 && os.Args[1] == hostArg {
		host(os.Args[2], os.Args[3])
	}
	dir, err := os.MkdirTemp("", "tonearm-standalone-")
	if err != nil {
		panic(err)
	}
	transcoder = filepath.Join(dir, "transcoder")
	build := exec.Command("go", "build", "-o", transcoder, "tonearm/cmd/transcoder")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	code := 1
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the transcoder:", err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func options(t *testing.T) standalone.Options {
	return standalone.Options{
		Data: t.TempDir(), Listen: "127.0.0.1:0", Transcoder: []string{transcoder},
		S3:         s3blob.Options{Bucket: "tonearm"},
		Gateway:    gateway.Options{OpenRegistration: true},
		Dispatcher: dispatcher.Options{MaxJobs: map[conversion.Class]int{conversion.CPU: 1}},
		Log:        slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// running starts an instance and returns its addresses once it serves. stop
// ends the instance and waits for that.
func running(t *testing.T, o standalone.Options) (a standalone.Addresses, stop func()) {
	t.Helper()
	started, ended := make(chan standalone.Addresses, 1), make(chan error, 1)
	o.Started = func(a standalone.Addresses) { started <- a }
	s, err := standalone.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Errorf("an orderly stop: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	select {
	case a = <-started:
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	}
	return a, stop
}

// TestConvert runs everything in this process and converts a file; then it runs
// once more on the same directory.
func TestConvert(t *testing.T) {
	o := options(t)
	video := filepath.Join(t.TempDir(), "tone.mp4")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "3", "-c:v", "mpeg4", "-c:a", "aac", video).CombinedOutput()
	if err != nil {
		t.Fatalf("make video: %v %s", err, out)
	}

	a, stop := running(t, o)
	c := login(t, a.PublicURL, true)
	made := convert(t, c, video)
	if made.State != conversion.Done || made.MP3 == nil || made.MP3.Duration < 2.9 || made.MP3.Duration > 3.2 {
		t.Fatalf("got %s, %+v, %+v", made.State, made.MP3, made.Error)
	}
	mp3, err := os.Create(filepath.Join(t.TempDir(), "tone.mp3"))
	if err != nil {
		t.Fatal(err)
	}
	defer mp3.Close()
	if err := c.Download(t.Context(), *made.MP3, mp3, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if n := mediatest.Count(t, mp3.Name()); n < 143_000 || n > 147_000 {
		t.Errorf("the MP3 has %d samples, want 3 s of 48 kHz", n)
	}
	resp, err := http.Get(a.Admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("readyz: %s", resp.Status)
	}
	waittest.Until(t, 10*time.Second, "one mail", func() bool {
		mails, err := filepath.Glob(filepath.Join(o.Data, "outbox", "*.eml"))
		return err == nil && len(mails) == 1
	})
	if len(processes(t, o.Data)) == 0 {
		t.Error("the object store's process is not found")
	}
	stop()
	if left := processes(t, o.Data); len(left) > 0 {
		t.Errorf("processes that were left: %q", left)
	}

	a, _ = running(t, o)
	c = login(t, a.PublicURL, false)
	again, err := c.Conversion(t.Context(), made.ID)
	if err != nil || again.MP3 == nil || again.MP3.ID != made.MP3.ID {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
}

// TestInboxKey: the file is for its owner alone, and a shell that reads it has a
// key with which an upload below inbox/ works.
func TestInboxKey(t *testing.T) {
	o := options(t)
	a, _ := running(t, o)
	st, err := os.Stat(a.InboxKey)
	if err != nil || st.Mode().Perm() != 0o600 || a.InboxKey != filepath.Join(o.Data, "inbox.env") {
		t.Fatalf("%s: %v, %v", a.InboxKey, st, err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && env`, "sh", a.InboxKey).Output()
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[name] = value
	}
	if env["AWS_ENDPOINT_URL"] != a.S3.Endpoint || env["AWS_REGION"] != "us-east-1" || env["AWS_ACCESS_KEY_ID"] == a.S3.AccessKey {
		t.Errorf("got %s, %s, and the root key: %t", env["AWS_ENDPOINT_URL"], env["AWS_REGION"], env["AWS_ACCESS_KEY_ID"] == a.S3.AccessKey)
	}
	store, err := minio.New(strings.TrimPrefix(env["AWS_ENDPOINT_URL"], "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""), Region: env["AWS_REGION"],
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"inbox/a@example.org/x.mp4": true, "uploads/x": false} {
		if _, err := store.PutObject(t.Context(), a.S3.Bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{}); (err == nil) != want {
			t.Errorf("upload %s: %v, want success: %t", key, err, want)
		}
	}
}

// TestAddressInUse: the error names the flag that chooses another address.
func TestAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for flag, spoil := range map[string]func(*standalone.Options){
		"listen":        func(o *standalone.Options) { o.Listen = addr },
		"admin-listen":  func(o *standalone.Options) { o.AdminListen = addr },
		"events-listen": func(o *standalone.Options) { o.EventsListen = addr },
		"s3-listen":     func(o *standalone.Options) { o.S3Listen = addr },
	} {
		o := options(t)
		spoil(&o)
		s, err := standalone.New(o)
		if err != nil {
			t.Fatal(err)
		}
		want := "another program uses " + addr + ": stop it, or choose another address with --" + flag + " ("
		if err := s.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestDataInUse: a second instance on a directory is refused.
func TestDataInUse(t *testing.T) {
	o := options(t)
	running(t, o)
	s, err := standalone.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another process uses") {
		t.Errorf("got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*standalone.Options){
		"no data":       func(o *standalone.Options) { o.Data = "" },
		"no log":        func(o *standalone.Options) { o.Log = nil },
		"no transcoder": func(o *standalone.Options) { o.Transcoder = nil },
	} {
		o := options(t)
		spoil(&o)
		if _, err := standalone.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestRunRefuses: options that a service refuses end the run, and nothing is
// left.
func TestRunRefuses(t *testing.T) {
	o := options(t)
	o.Dispatcher.MaxJobs = nil
	s, err := standalone.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "max jobs") {
		t.Errorf("got %v", err)
	}
	if left := processes(t, o.Data); len(left) > 0 {
		t.Errorf("processes that were left: %q", left)
	}
}

const email, password = "a@example.org", "correct horse battery"

func login(t *testing.T, server string, create bool) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	if create {
		if _, err := c.CreateUser(t.Context(), api.NewUser{Email: email, Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	token, err := c.Login(t.Context(), email, password)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = client.New(client.Options{Server: server, Token: token.AccessToken}); err != nil {
		t.Fatal(err)
	}
	return c
}

// convert uploads a video and returns its conversion once that has ended.
func convert(t *testing.T, c *client.Client, video string) api.Conversion {
	t.Helper()
	made := begin(t, c, video)
	var err error
	for !made.State.Terminal() {
		if made, err = c.Wait(t.Context(), made.ID, made.Revision); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// begin uploads a video.
func begin(t *testing.T, c *client.Client, video string) api.Conversion {
	t.Helper()
	content, err := os.ReadFile(video)
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.Create(t.Context(), rand.Text(), api.NewConversion{Filename: "tone.mp4", Size: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	if made, err = c.Send(t.Context(), made, bytes.NewReader(content), func(int64) {}); err != nil {
		t.Fatal(err)
	}
	return made
}

// processes lists the processes that work below a directory.
func processes(t *testing.T, dir string) (found []string) {
	t.Helper()
	cwds, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(cwds) == 0 {
		t.Skip("no /proc here")
	}
	for _, cwd := range cwds {
		if to, err := os.Readlink(cwd); err == nil && strings.HasPrefix(to, dir+string(filepath.Separator)) {
			found = append(found, cwd+" -> "+to)
		}
	}
	return found
}
