package main

import (
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/spf13/cobra"
)

// TestJournalNames fixes the names of entries: they find an upload again that
// another version began.
func TestJournalNames(t *testing.T) {
	for _, tt := range []struct {
		size int
		copy int
		args []string
		want string
	}{
		{3, 0, nil, "8bc7086e286c8227f8613b33ee7c5b62"},
		{3, 1, nil, "4795b5f8f5bfeea4d26eadf08c992aa7"},
		{multipartAbove + 1, 0, nil, "cf942aa4ca259a025f061885f87e24b7"},
		{3, 0, []string{"--notify", "none"}, "1ad29d89ed182a1262dbe18adf8c9033"},
		{3, 0, []string{"--preset", "podcast", "--cover", "none"}, "4c21e5c379d46f9f58e43c82312d78ee"},
		{3, 0, []string{"--preset", "voice", "--bitrate", "128", "--sample-rate", "44100", "--channels", "2", "--track", "pt-BR",
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
		st, err := fstest.MapFS{"holiday.mp4": {Data: make([]byte, tt.size), ModTime: time.Unix(1772366400, 5)}}.Stat("holiday.mp4")
		if err != nil {
			t.Fatal(err)
		}
		const file = "/videos/holiday.mp4"
		e := journal{t.TempDir()}.entry("https://tonearm.example.org", file, st, o.request(file, st.Size()), tt.copy)
		if got := filepath.Base(e.path); got != tt.want {
			t.Errorf("%d bytes, copy %d, %q: got %s, want %s", tt.size, tt.copy, tt.args, got, tt.want)
		}
	}
}
