package mediatest

import (
	"bytes"
	"encoding/binary"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// Sound generates a sound file of exactly that many samples in the format of its
// name. wave is what ffmpeg's aevalsrc takes: an expression for each channel,
// "|" between them.
func Sound(t testing.TB, path, wave string, rate, samples int, args ...string) {
	t.Helper()
	in := []string{"-f", "lavfi", "-i", "aevalsrc='" + wave + "':s=" + strconv.Itoa(rate) + ",atrim=end_sample=" + strconv.Itoa(samples)}
	if err := Make(t.Context(), ".", append(append(in, args...), path)...); err != nil {
		t.Fatal(err)
	}
}

// Samples decodes a sound file as a player would and returns its samples by
// channel; full scale is 1. args stand before the file.
func Samples(t testing.TB, path string, args ...string) [][]float64 {
	t.Helper()
	channels := 1
	if bytes.Contains(run(t, append(args, "-i", "file:"+path, "-t", "0", "-f", "null", "-")...), []byte("stereo,")) {
		channels = 2
	}
	args = append([]string{"-v", "error"}, args...)
	cmd := exec.CommandContext(t.Context(), FFmpeg(t), append(args, "-nostdin", "-i", "file:"+path, "-f", "f32le", "-c:a", "pcm_f32le", "-")...)
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

// Loudness measures a sound file: LUFS, and the true peak in dBTP.
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
	out, err := exec.CommandContext(t.Context(), FFmpeg(t), append([]string{"-nostdin"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, out)
	}
	return out
}
