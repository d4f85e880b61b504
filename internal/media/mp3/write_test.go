package mp3

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// rewrite writes the frames of an MP3 anew.
func rewrite(t testing.TB, b []byte, kbps int, info Info) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out.mp3"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f, kbps)
	for frame, err := range Frames(bytes.NewReader(b)) {
		if err != nil {
			t.Fatal(err)
		}
		if w.Frames() == 0 && frame.IsInfo() {
			continue
		}
		if err := w.WriteFrame(frame.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(info); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if w.Size() != int64(len(out)) {
		t.Errorf("size %d, want %d", w.Size(), len(out))
	}
	return out
}

// decode returns the samples that ffmpeg plays: 32-bit floats, channels in turn.
func decode(t testing.TB, b []byte) []byte {
	t.Helper()
	pcm, err := tryDecode(t, b)
	if err != nil {
		t.Fatal(err)
	}
	return pcm
}

// tryDecode fails where ffmpeg complains of anything.
func tryDecode(t testing.TB, b []byte) ([]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.mp3") // from a pipe, ffmpeg would leave the padding in
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "pipe:1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pcm, err := cmd.Output()
	if err == nil && stderr.Len() > 0 {
		err = errors.New("ffmpeg complains")
	}
	if err != nil {
		return nil, fmt.Errorf("decode: %w: %s", err, stderr.String())
	}
	return pcm, nil
}

// TestWrite: ffmpeg plays the same frames in the same way behind our
// information frame as behind its own, with every version of MPEG, bit rate and
// mode.
func TestWrite(t *testing.T) {
	tests := []struct {
		rate, channels int
		kbps           int // 0: VBR 2
	}{
		{44100, 2, 0}, {44100, 1, 0}, {48000, 2, 0}, {32000, 1, 0},
		{44100, 2, 32}, {44100, 2, 128}, {44100, 1, 192}, {48000, 2, 320}, {32000, 2, 320}, {48000, 1, 32},
		{22050, 2, 0}, {22050, 1, 8}, {24000, 2, 64}, {16000, 1, 160},
		{11025, 2, 0}, {12000, 1, 8}, {8000, 2, 64}, {8000, 1, 8},
	}
	for _, tt := range tests {
		name := strconv.Itoa(tt.rate) + " Hz " + strconv.Itoa(tt.channels) + " " + strconv.Itoa(tt.kbps)
		t.Run(name, func(t *testing.T) {
			const samples = 50003
			args, mark := []string{"-ac", strconv.Itoa(tt.channels), "-q:a", "2"}, "Xing"
			if tt.kbps != 0 {
				args, mark = []string{"-ac", strconv.Itoa(tt.channels), "-b:a", strconv.Itoa(tt.kbps) + "k"}, "Info"
			}
			theirs := encodeMP3(t, strconv.Itoa(samples), strconv.Itoa(tt.rate), args...)
			ours := rewrite(t, theirs, tt.kbps, Info{Delay: EncoderDelay, Samples: samples})
			if got := len(decode(t, ours)); got != samples*4*tt.channels {
				t.Errorf("ffmpeg plays %d samples, want %d", got/4/tt.channels, samples)
			}
			if !bytes.Equal(decode(t, ours), decode(t, theirs)) {
				t.Error("ffmpeg plays something else")
			}
			s, err := Read(bytes.NewReader(ours))
			if err != nil || s.Samples != samples {
				t.Errorf("we read %+v, %v", s, err)
			}
			checkInfo(t, ours, mark)
		})
	}
}

// checkInfo reads the information frame as its description has it.
func checkInfo(t *testing.T, file []byte, mark string) {
	t.Helper()
	h, ok := parseHeader(binary.BigEndian.Uint32(file))
	if !ok {
		t.Fatal("no frame")
	}
	b, music := file[4+h.side:h.Size], file[h.Size:]
	if string(b[:4]) != mark || binary.BigEndian.Uint32(b[4:]) != 15 || string(b[120:129]) != "LAME3.100" {
		t.Errorf("marked %q, flags %d, by %q", b[:4], b[7], b[120:129])
	}
	if got := binary.BigEndian.Uint32(b[12:]); int(got) != len(file) {
		t.Errorf("counts %d bytes of %d", got, len(file))
	}
	if got := binary.BigEndian.Uint32(b[120+28:]); int(got) != len(file) {
		t.Errorf("LAME's tag counts %d bytes of %d", got, len(file))
	}
	if got, want := binary.BigEndian.Uint16(b[120+32:]), bitwiseCRC(music); got != want {
		t.Errorf("checksum of the music %04x, want %04x", got, want)
	}
	if got, want := binary.BigEndian.Uint16(b[120+34:]), bitwiseCRC(file[:4+h.side+154]); got != want {
		t.Errorf("checksum of the tag %04x, want %04x", got, want)
	}
	if h.Kbps != 0 && mark == "Info" && int(b[120+20]) != min(255, kbpsOf(t, music)) {
		t.Errorf("bit rate %d", b[120+20])
	}
	checkContents(t, file, b[16:116], h.Size)
}

// checkContents: each entry is the place of the frame that plays at its
// percent of the time.
func checkContents(t *testing.T, file, toc []byte, first int) {
	t.Helper()
	var places []int
	at := first
	for f, err := range Frames(bytes.NewReader(file[first:])) {
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, at)
		at += f.Size
	}
	for i := 1; i < 100; i++ {
		if want := places[i*len(places)/100] * 256 / len(file); int(toc[i]) != want {
			t.Fatalf("%d %% of the time is at %d/256, want %d", i, toc[i], want)
		}
	}
}

func kbpsOf(t *testing.T, music []byte) int {
	t.Helper()
	h, ok := parseHeader(binary.BigEndian.Uint32(music))
	if !ok {
		t.Fatal("no frame")
	}
	return h.Kbps
}

// bitwiseCRC is CRC-16/ARC as its definition has it.
func bitwiseCRC(b []byte) uint16 {
	var c uint16
	for _, x := range b {
		for bit := range 8 {
			low := c&1 ^ uint16(x>>bit&1)
			if c >>= 1; low != 0 {
				c ^= 0xa001
			}
		}
	}
	return c
}

func TestChecksum(t *testing.T) {
	if got := crc16(0, []byte("123456789")); got != 0xbb3d || bitwiseCRC([]byte("123456789")) != 0xbb3d {
		t.Errorf("got %04x, want the published bb3d", got)
	}
}

// TestContentsOfLongStreams: the table stays right when places are forgotten.
func TestContentsOfLongStreams(t *testing.T) {
	var c tally
	frame := make([]byte, 100)
	for range 5*maxMarks + 3 {
		c.add(frame)
	}
	if len(c.marks) > maxMarks {
		t.Errorf("%d places kept", len(c.marks))
	}
	toc := make([]byte, 100)
	c.contents(toc, 0)
	for i, got := range toc {
		if want := i * 256 / 100; int(got) < want-1 || int(got) > want {
			t.Errorf("%d %%: %d, want %d", i, got, want)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	b := encodeMP3(t, "5000", "44100", "-b:a", "64k")
	write := func(info Info) error {
		f, err := os.Create(filepath.Join(t.TempDir(), "x.mp3"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := NewWriter(f, 64)
		for frame, err := range Frames(bytes.NewReader(b)) {
			if err != nil {
				t.Fatal(err)
			}
			if err := w.WriteFrame(frame.Bytes); err != nil {
				t.Fatal(err)
			}
		}
		return w.Close(info)
	}
	for name, info := range map[string]Info{
		"more samples than the frames hold": {Delay: EncoderDelay, Samples: 5000 * 2},
		"too much padding":                  {Delay: EncoderDelay, Samples: 1},
		"too much delay":                    {Delay: 4096, Samples: 3000},
	} {
		if err := write(info); err == nil || !strings.Contains(err.Error(), "do not fit") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w := NewWriter(nil, 0)
	if err := w.WriteFrame([]byte("RIFF")); err == nil {
		t.Error("wrote what is no frame")
	}
	if err := w.Close(Info{}); err != nil {
		t.Errorf("nothing written: %v", err)
	}
}
