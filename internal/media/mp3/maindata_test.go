package mp3

import (
	"bytes"
	"os/exec"
	"strconv"
	"testing"
)

// lame encodes 32-bit floats, channels in turn: kbit/s, or VBR 2 where 0.
func lame(t testing.TB, pcm []byte, rate, channels, kbps int, args ...string) []byte {
	t.Helper()
	in := []string{"-v", "error", "-threads", "1", "-f", "f32le", "-ar", strconv.Itoa(rate), "-ac", strconv.Itoa(channels), "-i", "pipe:0", "-c:a", "libmp3lame"}
	if kbps == 0 {
		in = append(in, "-q:a", "2")
	} else {
		in = append(in, "-b:a", strconv.Itoa(kbps)+"k")
	}
	in = append(append(in, args...), "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", "pipe:1")
	cmd := exec.Command("ffmpeg", in...)
	cmd.Stdin = bytes.NewReader(pcm)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("encode: %v: %s", err, stderr.String())
	}
	return out
}

func mustRun(t testing.TB, b []byte) []Frame {
	t.Helper()
	run, err := Run(b)
	if err != nil {
		t.Fatal(err)
	}
	return run
}
