package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tonearm/cmd/tonearm/internal/journal"
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
