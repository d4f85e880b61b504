package mediatest

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Audio generates an audio file of exactly that many samples in the format of its
// name. wave is what ffmpeg's aevalsrc takes: an expression for each channel,
// "|" between them.
func Audio(t testing.TB, path, wave string, rate, samples int, args ...string) {
	t.Helper()
	in := []string{"-f", "lavfi", "-i", "aevalsrc='" + wave + "':s=" + strconv.Itoa(rate) + ",atrim=end_sample=" + strconv.Itoa(samples)}
	if err := Make(t.Context(), ".", append(append(in, args...), path)...); err != nil {
		t.Fatal(err)
	}
}

// Samples decodes an audio file as a player would and returns its samples by
// channel; full scale is 1. args stand before the file.
func Samples(t testing.TB, path string, args ...string) [][]float64 {
	t.Helper()
	channels := 1
	if bytes.Contains(run(t, append(args, "-i", "file:"+path, "-t", "0", "-f", "null", "-")...), []byte("stereo,")) {
		channels = 2
	}
	args = append([]string{"-v", "error"}, args...)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(args, "-nostdin", "-i", "file:"+path, "-f", "f32le", "-c:a", "pcm_f32le", "-")...)
	pcm, err := cmd.Output()
	if err != nil {
		t.Fatalf("decode %s: %v", path, err)
	}
	out := make([][]float64, channels)
	for i := 0; i+4 <= len(pcm); i += 4 {
		c := i / 4 % channels
		out[c] = append(out[c], float64(math.Float32frombits(binary.LittleEndian.Uint32(pcm[i:]))))
	}
	return out
}

var (
	reIntegrated = regexp.MustCompile(`I: +(-?[\d.]+) LUFS`)
	reTruePeak   = regexp.MustCompile(`True peak:\s+Peak: +(-?[\d.]+) dBFS`)
)

// Loudness measures an audio file: LUFS, and the true peak in dBTP.
func Loudness(t testing.TB, path string) (lufs, truePeak float64) {
	t.Helper()
	out := run(t, "-i", "file:"+path, "-af", "ebur128=peak=true", "-f", "null", "-")
	last := func(re *regexp.Regexp) float64 {
		all := re.FindAllSubmatch(out, -1)
		if len(all) == 0 {
			t.Fatalf("no loudness in %s", out)
		}
		v, err := strconv.ParseFloat(string(all[len(all)-1][1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return last(reIntegrated), last(reTruePeak)
}

// run returns what ffmpeg says.
func run(t testing.TB, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, out)
	}
	return out
}

// Count is how many samples per channel a player plays of an audio file with one
// channel, of any length.
func Count(t testing.TB, path string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-i", "file:"+path, "-f", "s16le", "-ac", "1", "-")
	var pcm listener
	cmd.Stdout = &pcm
	if err := cmd.Run(); err != nil {
		t.Fatalf("decode %s: %v", path, err)
	}
	return int(pcm.bytes / 2)
}

// Trim decodes the first samples of an audio file into another.
func Trim(t testing.TB, from, to string, samples int) {
	t.Helper()
	run(t, "-y", "-i", "file:"+from, "-af", "atrim=end_sample="+strconv.Itoa(samples), to)
}

// Packets lists size and checksum of each packet of the first audio track. args
// stand before the file.
func Packets(t testing.TB, path string, args ...string) []string {
	t.Helper()
	out := run(t, append(append([]string{"-v", "error"}, args...), "-i", "file:"+path, "-map", "0:a:0", "-c", "copy", "-f", "framecrc", "-")...)
	var packets []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, ","); len(f) >= 6 {
			packets = append(packets, strings.TrimSpace(f[4])+strings.TrimSpace(f[5]))
		}
	}
	return packets
}

// CutEdit sets the duration in the one edit list of an MP4 or MOV, in ticks of
// the movie's clock.
func CutEdit(t testing.TB, path string, ticks uint32) {
	t.Helper()
	editEdit(t, path, 12, ticks)
}

// SkipEdit sets how much of the media the one edit list of an MP4 or MOV leaves
// out at the beginning, in ticks of the track's clock.
func SkipEdit(t testing.TB, path string, ticks uint32) {
	t.Helper()
	editEdit(t, path, 16, ticks)
}

// editEdit writes a field of the edit list.
func editEdit(t testing.TB, path string, offset int, value uint32) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte("elst"))
	if i < 0 {
		t.Fatalf("%s has no edit list", path)
	}
	binary.BigEndian.PutUint32(b[i+offset:], value)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
