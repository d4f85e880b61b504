package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// lineWriter hands on each line that is printed.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- strings.TrimSpace(string(p))
	return len(p), nil
}

func TestLines(t *testing.T) {
	printed := make(lineWriter)
	cmd := &cobra.Command{}
	cmd.SetErr(printed)
	l := newLines(cmd, time.Millisecond)
	s := &status{name: "a.mp4"}
	s.set("uploading", 12_100_000, 28_000_000)
	remove := l.add(s)
	if got, want := <-printed, "a.mp4: uploading 43% (12.1 MB of 28.0 MB)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.setClock("converting", 65, 3700)
	for got := range printed {
		if got == "a.mp4: converting 1% (1:05 of 1:01:40)" {
			break
		}
	}
	s.set("queued", 0, 0)
	for got := range printed {
		if got == "a.mp4: queued" {
			break
		}
	}
	go func() { // lines on their way
		for range printed {
		}
	}()
	remove()
	l.close()
	close(printed)
}

func TestNames(t *testing.T) {
	for video, want := range map[string]string{
		"a.mp4": "a.mp3", "folder/b.c.mkv": "b.c.mp3", "no extension": "no extension.mp3", ".mp4": ".mp4.mp3",
		"/x/Ü – 'q' \"z\".webm": "Ü – 'q' \"z\".mp3",
	} {
		if got := mp3Name(video); got != want {
			t.Errorf("%s: got %s, want %s", video, got, want)
		}
	}
	long := strings.Repeat("ü", 125) + ".mp3" // 254 bytes
	if got := numbered(long, 1); got != long {
		t.Errorf("a name that fits was cut: %s", got)
	}
	if got := numbered(long, 10); len(got) > 255 || !strings.HasSuffix(got, "ü (10).mp3") {
		t.Errorf("got %d bytes: %s", len(got), got)
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 12_345_678: "12.3 MB", 6_000_000_000: "6.0 GB"} {
		if got := byteSize(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
