package mediatest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// encode runs ffmpeg: inputs, then the words of args, then the file.
func encode(t testing.TB, path string, inputs []string, args string, last ...string) {
	t.Helper()
	words := append(append([]string{}, inputs...), strings.Fields(args)...)
	words = append(append(words, last...), "file:"+path)
	if err := Make(t.Context(), filepath.Dir(path), words...); err != nil {
		t.Fatal(err)
	}
}

// wave is an input of an expression for each channel, "|" between them. layout
// may be empty.
func wave(expression string, rate int, seconds float64, layout string) []string {
	c := ""
	if layout != "" {
		c = "c=" + layout + ":"
	}
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("aevalsrc='%s':%ss=%d:d=%g", expression, c, rate, seconds)}
}

// sine is the expression of a tone.
func sine(level, hz float64) string { return fmt.Sprintf("%g*sin(2*PI*%g*t)", level, hz) }

// both joins inputs.
func both(inputs ...[]string) (all []string) {
	for _, i := range inputs {
		all = append(all, i...)
	}
	return all
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, parts ...[]byte) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// raw is what ffmpeg encodes, as a stream of frames in a format such as adts.
func raw(t testing.TB, format string, input []string, args string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raw")
	encode(t, path, input, args+" -f "+format)
	return content(t, path)
}

// text writes a file beside path and returns its path.
func text(t testing.TB, name, s string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, []byte(s))
	return path
}

// chapters is a metadata file of ffmpeg with tags (lines of key=value) and
// chapters, the last of which ends at end.
func chapters(t testing.TB, tags string, end float64, list ...Chapter) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(";FFMETADATA1\n" + tags)
	for i, c := range list {
		until := end
		if i+1 < len(list) {
			until = list[i+1].At
		}
		fmt.Fprintf(&b, "[CHAPTER]\nTIMEBASE=1/1000\nSTART=%.0f\nEND=%.0f\ntitle=%s\n", c.At*1000, until*1000, c.Title)
	}
	return text(t, "chapters", b.String())
}

// adtsSeconds is how long the frames of an ADTS stream last, each of 1024
// samples at its own rate.
func adtsSeconds(b []byte) (seconds float64) {
	rates := []float64{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}
	for at := 0; at+7 <= len(b); {
		seconds += 1024 / rates[b[at+2]>>2&15]
		at += int(b[at+3]&3)<<11 | int(b[at+4])<<3 | int(b[at+5])>>5
	}
	return seconds
}

// packetSeconds is how long the packets of a raw stream last.
func packetSeconds(t testing.TB, b []byte, format string, samples, rate int) float64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raw")
	write(t, path, b)
	return float64(len(Packets(t, path, "-f", format))*samples) / float64(rate)
}

// inPieces completes what is right for pieces one after the other, each with a
// tone of its own.
func (w *Want) inPieces(pieces ...Part) {
	made := In(pieces...)
	w.Seconds, w.Sound = made.Seconds, made.Sound
}

func hz(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
