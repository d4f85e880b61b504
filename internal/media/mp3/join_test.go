package mp3

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/media/mediatest"
)

// coding is one way to encode.
type coding struct{ rate, channels, kbps int } // VBR 2 where kbps is 0

func (c coding) String() string { return fmt.Sprintf("%d Hz, %d, %d", c.rate, c.channels, c.kbps) }

// frame is the size in bytes of the PCM of a frame.
func (c coding) frame() int { return FrameSamples(c.rate) * c.channels * 4 }

// cut is how PCM is cut into chunks, in frames. They are short here, so that
// there are many seams.
type cut struct{ length, lead int }

var (
	long  = cut{length: 196, lead: 147} // an encoder has settled when its frames begin to count
	short = cut{length: 98, lead: 49}   // it has not always settled: seams need free space
)

// inChunks encodes PCM chunk by chunk.
func inChunks(t testing.TB, c coding, by cut, pcm []byte, options ...string) (runs [][]Frame, leads []int) {
	t.Helper()
	for first := 0; ; first += by.length {
		lead := min(by.lead, first)
		end := (first + by.length + Lookahead + 2) * c.frame()
		runs = append(runs, mustRun(t, lame(t, pcm[(first-lead)*c.frame():min(end, len(pcm))], c.rate, c.channels, c.kbps, options...)))
		leads = append(leads, lead)
		if end >= len(pcm) {
			return runs, leads
		}
	}
}

// join makes one file of runs.
func join(t testing.TB, c coding, by cut, samples int, runs [][]Frame, leads []int) ([]byte, Cost) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "joined.mp3"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f, c.kbps)
	j := NewJoiner(w)
	for i, run := range runs {
		own := by.length
		if i == len(runs)-1 {
			own = len(run) - leads[i]
		}
		if err := j.Append(run, leads[i], own); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
	cost, err := j.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(Info{Delay: EncoderDelay, Samples: int64(samples)}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b, cost
}

// samples is the number of samples per channel of the PCM.
func (c coding) samples(pcm []byte) int { return len(pcm) / 4 / c.channels }

// pcm returns PCM of about that many frames.
func (c coding) pcm(frames int) []byte {
	return mediatest.Music(c.rate, c.channels, (float64(frames)+0.37)*float64(FrameSamples(c.rate))/float64(c.rate))
}

// verdict compares a file with one that a single encoder made of the PCM.
func verdict(t testing.TB, c coding, pcm, file []byte) (mediatest.Difference, error) {
	t.Helper()
	whole := rewrite(t, lame(t, pcm, c.rate, c.channels, c.kbps), c.kbps, Info{Delay: EncoderDelay, Samples: int64(c.samples(pcm))})
	plain := decode(t, whole)
	if len(plain) != len(pcm) {
		t.Fatalf("a single encoder gives %d samples of %d", c.samples(plain), c.samples(pcm))
	}
	if _, err := Read(bytes.NewReader(file)); err != nil {
		return mediatest.Difference{}, err
	}
	ours, err := tryDecode(t, file)
	if err != nil {
		return mediatest.Difference{}, err
	}
	if len(ours) != len(pcm) {
		return mediatest.Difference{}, fmt.Errorf("a decoder plays %d samples of %d", c.samples(ours), c.samples(pcm))
	}
	d := mediatest.Compare(pcm, plain, ours, c.frame())
	if d.Noise > 1.02 || d.Click > 1.5 {
		return d, fmt.Errorf("it sounds otherwise: %+v", d)
	}
	return d, nil
}

// everyCoding lists all bit rates of each version of MPEG, and the other sample
// rates and modes.
func everyCoding() []coding {
	var all []coding
	add := func(rate, channels int, kbps ...int) {
		for _, k := range kbps {
			all = append(all, coding{rate, channels, k})
		}
	}
	add(44100, 2, 0)
	add(44100, 2, kbpsMPEG1[1:15]...)
	add(22050, 2, 0)
	add(22050, 2, kbpsMPEG2[1:15]...)
	add(8000, 1, 0)
	add(8000, 1, kbpsMPEG2[1:9]...)
	add(44100, 1, 0, 64, 320)
	add(48000, 2, 0, 96, 256)
	add(32000, 2, 0, 64)
	add(24000, 1, 0, 48)
	add(16000, 2, 0, 8)
	add(12000, 1, 0, 32)
	add(11025, 2, 64)
	return all
}

// TestSeams: chunks begin so near to the end of their predecessors that
// encoders disagree about the bit reservoir. Joined frames must still be a
// valid stream of the same length, and no noisier than that of a single
// encoder.
func TestSeams(t *testing.T) {
	raised := 0
	for _, c := range everyCoding() {
		t.Run(c.String(), func(t *testing.T) {
			pcm := c.pcm(215)
			runs, leads := inChunks(t, c, short, pcm)
			file, cost := join(t, c, short, c.samples(pcm), runs, leads)
			if cost.Seams != 2 {
				t.Errorf("%d seams", cost.Seams)
			}
			if _, err := verdict(t, c, pcm, file); err != nil {
				t.Error(err)
			}
			raised += cost.Raised
		})
	}
	if raised == 0 {
		t.Error("no seam needed space: the test tests less than it should")
	}
}

// TestSame: with chunks that begin early enough a decoder plays, to the last
// bit, what it plays of a single encoder's frames.
func TestSame(t *testing.T) {
	for _, c := range []coding{
		{44100, 2, 0}, {48000, 2, 0}, {44100, 1, 0}, {24000, 1, 0},
		{44100, 2, 64}, {44100, 2, 128}, {48000, 2, 192}, {44100, 2, 320}, {22050, 2, 32},
	} {
		t.Run(c.String(), func(t *testing.T) {
			pcm := c.pcm(500)
			runs, leads := inChunks(t, c, long, pcm)
			file, cost := join(t, c, long, c.samples(pcm), runs, leads)
			if d, err := verdict(t, c, pcm, file); err != nil || d.Frames != 0 || cost.Seams != 2 {
				t.Errorf("%+v, %+v, %v", d, cost, err)
			}
		})
	}
}

// TestSpoiledSeam spoils a seam in every possible way, which must be noticed.
func TestSpoiledSeam(t *testing.T) {
	c := coding{44100, 2, 128}
	pcm := c.pcm(500)
	for name, spoil := range map[string]func(frames []Frame, seam int) []Frame{
		"as it is": func(frames []Frame, _ int) []Frame { return frames },
		"the reservoir not moved": func(frames []Frame, seam int) []Frame {
			putReservoir(frames[:seam], make([]byte, frames[seam].mainDataBegin()))
			return frames
		},
		"the reservoir a byte off": func(frames []Frame, seam int) []Frame {
			frames[seam].setMainDataBegin(frames[seam].mainDataBegin() - 1)
			return frames
		},
		"a frame lost": func(frames []Frame, seam int) []Frame { return append(frames[:seam:seam], frames[seam+1:]...) },
		"a frame twice": func(frames []Frame, seam int) []Frame {
			return append(frames[:seam:seam], frames[seam-1:]...)
		},
		"another place of the sound": func(frames []Frame, seam int) []Frame {
			return append(append(frames[:seam:seam], frames[seam+1]), append([]Frame{frames[seam]}, frames[seam+2:]...)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			runs, leads := inChunks(t, c, long, pcm)
			file, _ := join(t, c, long, c.samples(pcm), runs, leads)
			_, music, _ := splitInfo(t, file)
			frames := mustRun(t, music)
			seam := long.length
			for ; frames[seam].mainDataBegin() < 8; seam++ { // one whose main data begins before it
			}
			frames = spoil(frames, seam)
			_, err := verdict(t, c, pcm, together(t, c, pcm, frames))
			if good := name == "as it is"; good != (err == nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// splitInfo splits a file behind its information frame.
func splitInfo(t *testing.T, file []byte) (info, music []byte, h Header) {
	t.Helper()
	h, ok := parseHeader(binary.BigEndian.Uint32(file))
	if !ok {
		t.Fatal("no frame")
	}
	return file[:h.Size], file[h.Size:], h
}

// together writes frames behind an information frame. It is right about
// everything except what the test did to the frames.
func together(t *testing.T, c coding, pcm []byte, frames []Frame) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "x.mp3"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f, c.kbps)
	for _, frame := range frames {
		if err := w.WriteFrame(frame.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	samples := c.samples(pcm)
	if err := w.Close(Info{Delay: EncoderDelay, Samples: int64(samples)}); err != nil {
		return nil // a decoder will say so
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}
