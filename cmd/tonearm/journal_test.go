package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/internal/client"
)

// TestOldKeys fixes the names under which earlier versions kept the keys of
// unfinished files.
func TestOldKeys(t *testing.T) {
	for _, tt := range []struct {
		size int
		args []string
		want string
	}{
		{3, nil, "8bc7086e286c8227f8613b33ee7c5b62"},
		{multipartAbove + 1, nil, "cf942aa4ca259a025f061885f87e24b7"},
		{3, []string{"--notify", "none"}, "1ad29d89ed182a1262dbe18adf8c9033"},
		{3, []string{"--preset", "podcast", "--cover", "none"}, "4c21e5c379d46f9f58e43c82312d78ee"},
		{3, []string{"--preset", "voice", "--bitrate", "128", "--sample-rate", "44100", "--channels", "2", "--track", "pt-BR",
			"--start", "0.1", "--end", "1:00:00", "--loudness", "-16", "--true-peak", "-1.5", "--title", "t", "--artist", "a", "--album", "b",
			"--date", "2026", "--genre", "g", "--comment", "c", "--track-number", "3/12", "--cover", "12.5", "--chapters", "drop",
			"--copy", "never", "--notify", "none"}, "ca4550179c188959a9734518a6e21ee6"},
	} {
		cmd := &cobra.Command{}
		var o options
		o.bind(cmd)
		if err := cmd.ParseFlags(tt.args); err != nil {
			t.Fatal(err)
		}
		if err := o.check(cmd); err != nil {
			t.Fatal(err)
		}
		const server, file = "https://tonearm.example.org", "/videos/holiday.mp4"
		dir := t.TempDir()
		key := uuid.NewString()
		if err := os.WriteFile(filepath.Join(dir, tt.want), []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		source := journal.Source{Server: server, Path: file, Size: int64(tt.size), ModTime: time.Unix(1772366400, 5).UnixNano()}
		if got := journal.Old(dir).Key(source, o.request(title(file), int64(tt.size), false)); got != key {
			t.Errorf("%d bytes, %q: the key was not found", tt.size, tt.args)
		}
	}
}

// TestOldEntry goes on with a file that an earlier version has begun: testdata/state is
// what that version left when its server was gone. All of the file is sent, as that
// version would, though only the sound would be sent now.
func TestOldEntry(t *testing.T) {
	const server, path, request = "http://127.0.0.1:1", "/tmp/videos/holiday.mp4", `{"filename":"holiday.mp4","size":18,"options":{}}`
	g := receiving(t, server)
	k := sound(t, server)
	var err error
	if k.client, err = client.New(client.Options{Server: server, Transport: elsewhere(g.Listener.Addr().String())}); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	if err := os.CopyFS(state, os.DirFS("testdata/state")); err != nil {
		t.Fatal(err)
	}
	k.old = journal.Old(filepath.Join(state, "conversions"))
	entries, err := os.ReadDir(string(k.old))
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	kept, err := os.ReadFile(filepath.Join(string(k.old), entries[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Unix(1772366400, 0)
	if err := os.Chtimes(k.video.Name(), begun, begun); err != nil {
		t.Fatal(err)
	}
	k.file.Abs, k.file.Path = path, path
	if k.file.Info, err = k.video.Stat(); err != nil {
		t.Fatal(err)
	}
	if err := k.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(g.keys) != 1 || g.keys[0] != strings.TrimSpace(string(kept)) || g.bodies[0] != request || g.sent != "pictures and sound" {
		t.Fatalf("asked for %s under the keys %q, want %s under %q; sent %q", g.bodies, g.keys, request, kept, g.sent)
	}
	if left, _ := os.ReadDir(string(k.old)); len(left) > 0 {
		t.Errorf("%s is left over", left[0].Name())
	}
	k = k.again()
	if e, err := k.entry(t.Context(), false); err != nil || e.State != journal.Sent || e.Key != g.keys[0] {
		t.Errorf("the journal has %+v, %v", e, err)
	}
}

// elsewhere is an address that all requests go to.
type elsewhere string

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = string(e)
	return http.DefaultTransport.RoundTrip(r)
}
