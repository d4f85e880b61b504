package ffmpeg

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestSaid writes an output in pieces of all sizes.
func TestSaid(t *testing.T) {
	const before = "ffmpeg version 5\n    built with gcc\nInput #0, matroska,webm, from 'x':\n"
	const streams = "  Duration: 00:00:05.00, start: 0.000000\n  Chapters:\n  Stream #0:0: Audio: aac\n"
	text := "    COMMENT         : " + strings.Repeat("word ", 50) + "\n"
	all := before + "  Metadata:\n" + strings.Repeat(text, 3000) + streams + "Output #0, mp3, to 'y':\n" + "    I: -16 LUFS\n" + "the end"
	short := before + "  Metadata:\n" + streams
	for range 20 {
		described := ""
		s := said{described: func(stderr string) { described += stderr }}
		for rest := all; rest != ""; {
			n := min(len(rest), 1+rand.IntN(5000))
			if n, err := s.Write([]byte(rest[:n])); err != nil || n == 0 {
				t.Fatal(n, err)
			}
			rest = rest[n:]
		}
		if got, want := s.String(), short+"Output #0, mp3, to 'y':\n    I: -16 LUFS\nthe end"; got != want {
			t.Fatalf("got %q", got)
		}
		if !strings.HasPrefix(described, short) || strings.Contains(described, "LUFS") {
			t.Fatalf("described as %q", described)
		}
	}
	var s said
	for range 100 {
		if _, err := s.Write([]byte(strings.Repeat("a line\n", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.String(); len(got) > stderrHead+stderrTail+10 || !strings.HasSuffix(got, "a line\n") {
		t.Errorf("%d bytes are kept", len(got))
	}
}
