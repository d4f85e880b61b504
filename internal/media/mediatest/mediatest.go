// Package mediatest makes small media files for tests with ffmpeg, and hears
// what a decoder plays of an MP3.
package mediatest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// Sample is one file of the corpus.
type Sample struct {
	Name      string // base name of Path; not always plain ASCII
	Path      string
	Seconds   float64         // of the audio track that is converted by default
	ToneHz    float64         // of that audio, 0 for silence or none
	Unchecked bool            // the file promises no length
	WantCode  conversion.Code // '' for a good file
}

// FFmpeg returns the path of the ffmpeg under test, which TONEARM_TEST_FFMPEG
// may override.
func FFmpeg(t testing.TB) string {
	t.Helper()
	name := cmp.Or(os.Getenv("TONEARM_TEST_FFMPEG"), "ffmpeg")
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("ffmpeg is needed: %v", err)
	}
	return path
}

// Make runs ffmpeg, the installed one and without any guard, in dir.
func Make(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y", "-threads", "1"}, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ffmpeg %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return nil
}

// Video makes a video of some seconds with a tone, in the format of its name.
func Video(t testing.TB, path string, seconds, toneHz float64, args ...string) {
	t.Helper()
	args = append(append(inputs(seconds, seconds, toneHz, 48000), args...), path)
	if err := Make(t.Context(), filepath.Dir(path), args...); err != nil {
		t.Fatal(err)
	}
}

func inputs(picture, audio, toneHz float64, rate int) []string {
	return append(pictures(picture), tone(audio, toneHz, rate)...)
}

func pictures(seconds float64) []string {
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=64x48:rate=10:duration=%g", seconds)}
}

func tone(seconds, hz float64, rate int) []string {
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=%g:sample_rate=%d:duration=%g", hz, rate, seconds)}
}

// Tone decodes an audio file and returns its length in seconds and, unless it is
// silent, the frequency of its tone in the first minute.
func Tone(t testing.TB, path string) (seconds, hz float64) {
	t.Helper()
	const rate = 48000
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-i", "file:"+path, "-f", "s16le", "-ac", "1", "-ar", fmt.Sprint(rate), "-")
	var stderr bytes.Buffer
	var pcm listener
	cmd.Stdout, cmd.Stderr = &pcm, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("decode %s: %v: %s", path, err, stderr.String())
	}
	n := len(pcm.head) / 2
	samples := make([]float64, n)
	for i := range samples {
		samples[i] = float64(int16(binary.LittleEndian.Uint16(pcm.head[2*i:])))
	}
	return float64(pcm.bytes/2) / rate, frequency(samples[n/4:n*3/4], rate)
}

// listener counts what it hears and remembers the beginning.
type listener struct {
	bytes int64
	head  []byte
}

func (l *listener) Write(p []byte) (int, error) {
	const minute = 60 * 48000 * 2
	l.bytes += int64(len(p))
	l.head = append(l.head, p[:min(len(p), max(0, minute-len(l.head)))]...)
	return len(p), nil
}

// frequency counts the crossings of zero, ignoring levels that noise can reach;
// 0 for silence.
func frequency(samples []float64, rate int) float64 {
	var peak float64
	for _, s := range samples {
		peak = math.Max(peak, math.Abs(s))
	}
	if peak < 300 { // -40 dB
		return 0
	}
	below, first, last, crossings := false, -1, -1, 0
	for i, s := range samples {
		switch {
		case s < -peak/4:
			below = true
		case s > peak/4 && below:
			below = false
			if first < 0 {
				first = i
			} else {
				crossings++
			}
			last = i
		}
	}
	if crossings == 0 {
		return 0
	}
	return float64(crossings) * float64(rate) / float64(last-first)
}
