package encode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp3"
	"tonearm/internal/media/plan"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/unfit"
)

// testFrames is a chunk of the tests: five seconds at 44.1 kHz.
const testFrames = 196

// wave writes PCM, as mediatest.Music makes it, into a file.
func wave(t testing.TB, pcm []byte, rate, channels int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound.wav")
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "f32le", "-ar", strconv.Itoa(rate),
		"-ac", strconv.Itoa(channels), "-i", "pipe:0", "-c:a", "pcm_f32le", path)
	cmd.Stdin = bytes.NewReader(pcm)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// opened is a file to read with an ffmpeg.
func opened(t testing.TB, program, path string) *probe.Input {
	t.Helper()
	in, err := probe.Open(ffmpeg.Program{Path: program}, path)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func toEncode(t testing.TB, source string, p plan.Plan) parallel {
	in := opened(t, mediatest.FFmpeg(t), source)
	return parallel{
		program:  in.Program,
		play:     in.Play,
		decode:   ffmpeg.Command{Args: []string{"-map", "0:a:0"}, Timeout: 10 * time.Minute},
		plan:     p,
		target:   filepath.Join(t.TempDir(), "frames.mp3"),
		maxBytes: 1 << 30,
		frames:   testFrames,
	}
}

// encodeAll returns the bytes that e makes, and how many seams are in them.
func encodeAll(t testing.TB, e parallel) ([]byte, int) {
	t.Helper()
	o, cost, err := e.run(t.Context())
	if err != nil || o.Err != nil {
		t.Fatalf("encode: %v, %v: %s", err, o.Err, o.Tail())
	}
	b, err := os.ReadFile(e.target)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(e.target))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left in the folder, %v", len(left), err)
	}
	return b, cost.Seams
}

// played returns what a decoder plays of an MP3.
func played(t testing.TB, b []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.mp3")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), mediatest.FFmpeg(t), "-v", "error", "-i", path, "-f", "f32le", "pipe:1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pcm, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("decode: %v: %s", err, stderr.String())
	}
	return pcm
}

// TestParallel: the bytes do not depend on the number of workers, and a decoder
// plays what it plays of a single encoder's frames.
func TestParallel(t *testing.T) {
	vbr := func(rate, channels int) plan.Plan { return plan.Plan{Rate: rate, Channels: channels, Quality: 2} }
	cbr := func(rate, channels, kbps int) plan.Plan { return plan.Plan{Rate: rate, Channels: channels, Kbps: kbps} }
	tests := []struct {
		rate, channels int // of the source
		plan           plan.Plan
	}{
		{44100, 2, vbr(44100, 2)},
		{48000, 2, cbr(44100, 2, 128)}, // another rate
		{48000, 2, vbr(48000, 1)},      // mono of stereo
		{24000, 1, vbr(24000, 1)},
		{44100, 1, cbr(22050, 1, 32)},
		{16000, 2, cbr(16000, 2, 64)},
		{8000, 1, cbr(8000, 1, 16)},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d Hz %d to %d Hz %d %d", tt.rate, tt.channels, tt.plan.Rate, tt.plan.Channels, tt.plan.Kbps), func(t *testing.T) {
			frame := mp3.FrameSamples(tt.plan.Rate)
			seconds := 500.4 * float64(frame) / float64(tt.plan.Rate)
			e := toEncode(t, wave(t, mediatest.Music(tt.rate, tt.channels, seconds), tt.rate, tt.channels), tt.plan)
			e.workers = 1
			one, seams := encodeAll(t, e)
			if seams != 2 {
				t.Errorf("%d seams", seams)
			}
			for _, workers := range []int{2, 4} {
				e.workers = workers
				if got, _ := encodeAll(t, e); !bytes.Equal(got, one) {
					t.Errorf("other bytes with %d workers", workers)
				}
			}
			e.frames = 1 << 20
			whole, _ := encodeAll(t, e)
			plain, ours := played(t, whole), played(t, one)
			if len(plain) != len(ours) {
				t.Fatalf("a decoder plays %d bytes of %d", len(ours), len(plain))
			}
			if d := mediatest.Compare(plain, plain, ours, frame*4*tt.plan.Channels); d.Frames != 0 {
				t.Errorf("a decoder plays something else: %+v", d)
			}
			if s, err := mp3.Read(bytes.NewReader(one)); err != nil || math.Abs(s.Seconds()-seconds) > 1.5/float64(tt.plan.Rate) {
				t.Errorf("%v s of %v, %v", s.Seconds(), seconds, err)
			}
		})
	}
}

// TestParallelLengths: the audio has exactly as many samples as its source. If
// it is only one chunk, its frames are those of an encoder that gets it
// directly from the decoder.
func TestParallelLengths(t *testing.T) {
	const frame, rate = 576, 16000
	edge := (testFrames + tailFrames) * frame
	pcm := mediatest.Music(rate, 1, float64(2*edge)/rate)
	for _, samples := range []int{1, 575, 576, 577, 5000, edge - 1, edge, edge + 1, testFrames*2*frame - 1, edge + testFrames*frame + 1} {
		source := wave(t, pcm[:samples*4], rate, 1)
		e := toEncode(t, source, plan.Plan{Rate: rate, Channels: 1, Kbps: 32})
		b, seams := encodeAll(t, e)
		if s, err := mp3.Read(bytes.NewReader(b)); err != nil || s.Samples != int64(samples) {
			t.Errorf("%d samples became %d, %v", samples, s.Samples, err)
		}
		if got := len(played(t, b)) / 4; got != samples && samples > 1 { // of a single sample ffmpeg plays dozens, also behind its own header
			t.Errorf("of %d samples a decoder plays %d", samples, got)
		}
		if (seams == 0) != (samples <= edge) {
			t.Errorf("%d samples: %d seams", samples, seams)
		}
		if seams > 0 {
			continue
		}
		args := append([]string{"-v", "error", "-i", source}, encoderArgs(e.plan)...)
		direct, err := exec.CommandContext(t.Context(), mediatest.FFmpeg(t), append(args, "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", "pipe:1")...).Output()
		if err != nil || !bytes.HasSuffix(b, direct) {
			t.Errorf("%d samples: other frames than those of one encoder, %v", samples, err)
		}
	}
}

// TestParallelNothing: a source without a sample of audio makes an empty file,
// and the decoder says why.
func TestParallelNothing(t *testing.T) {
	source := filepath.Join(t.TempDir(), "text.wav")
	if err := os.WriteFile(source, []byte("no sound"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := toEncode(t, source, plan.Plan{Rate: 44100, Channels: 2, Quality: 2})
	o, _, err := e.run(t.Context())
	if err != nil || o.Err == nil {
		t.Errorf("got %v, %v", o.Err, err)
	}
	if info, err := os.Stat(e.target); err != nil || info.Size() != 0 {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestParallelFails(t *testing.T) {
	source := wave(t, mediatest.Music(16000, 1, 30), 16000, 1)
	p := plan.Plan{Rate: 16000, Channels: 1, Kbps: 64}

	e := toEncode(t, source, p)
	e.maxBytes = 10000
	var refused *unfit.Error
	if _, _, err := e.run(t.Context()); !errors.As(err, &refused) || refused.Code != conversion.CodeLimitExceeded {
		t.Errorf("too large: got %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e = toEncode(t, source, p)
	e.progress = func(float64) { cancel() }
	if _, _, err := e.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}

	e = toEncode(t, source, p)
	e.target = filepath.Join(t.TempDir(), "none", "x")
	if _, _, err := e.run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: got %v", err)
	}

	broken := filepath.Join(t.TempDir(), "ffmpeg") // decodes, but encodes nothing
	script := "#!/bin/sh\ncase \"$*\" in *libmp3lame*) exit 3;; esac\nexec " + mediatest.FFmpeg(t) + ` "$@"` + "\n"
	if err := os.WriteFile(broken, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	e = toEncode(t, source, p)
	in := opened(t, broken, source)
	e.program, e.play = in.Program, in.Play
	if _, _, err := e.run(t.Context()); err == nil {
		t.Error("nobody missed the encoder")
	}
}

// TestParallelWithoutSeam: if there is no space for a chunk's reservoir, the
// chunk is encoded again without a reservoir.
func TestParallelWithoutSeam(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	var noise []byte // fills frames to the last byte
	for range testFrames * 2 * 1152 * 2 {
		noise = binary.LittleEndian.AppendUint32(noise, math.Float32bits(rng.Float32()*2-1))
	}
	e := toEncode(t, wave(t, noise, 48000, 2), plan.Plan{Rate: 48000, Channels: 2, Kbps: 320})
	var chunks []*chunk
	s := splitter{dir: t.TempDir(), frame: e.frameBytes(), length: testFrames, slots: newSlots(9), emit: func(c *chunk) { chunks = append(chunks, c) }}
	if _, err := s.split(t.Context(), bytes.NewReader(noise)); err != nil || len(chunks) != 3 || !chunks[2].none.Load() {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	chunks = chunks[:2]
	f, err := os.Create(e.target)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	j := joining{e: e, w: mp3.NewWriter(f, 320)}
	j.joiner = mp3.NewJoiner(j.w)
	for i, c := range chunks {
		if c.run, c.err = e.encodeChunk(t.Context(), c); c.err != nil {
			t.Fatal(c.err)
		}
		for _, frame := range c.run[c.lead:] {
			if i == 1 {
				frame.Bytes[4], frame.Bytes[5] = 0xff, frame.Bytes[5]|0x80 // begins 511 bytes before
			}
		}
		close(c.done)
		if err := j.add(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if cost, err := j.finish(testFrames * 2 * 1152); err != nil || cost.Seams != 1 {
		t.Fatalf("%+v, %v", cost, err)
	}
	b, err := os.ReadFile(e.target)
	if err != nil {
		t.Fatal(err)
	}
	if got := played(t, b); len(got) != len(noise) {
		t.Errorf("a decoder plays %d bytes, want %d", len(got), len(noise))
	}
}
