package encode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"tonearm/internal/media/mp3"
)

// counted returns n bytes in which each group of four holds its own position.
func counted(n int) []byte {
	b := make([]byte, 0, n+4)
	for i := 0; len(b) < n; i++ {
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
	}
	return b[:n]
}

// slowReader reads a few bytes at a time, never the same number.
type slowReader struct {
	r   io.Reader
	rng *rand.Rand
}

func (s slowReader) Read(p []byte) (int, error) {
	return s.r.Read(p[:1+s.rng.IntN(min(len(p), 5000))])
}

// TestSplit: chunks hold their stretch of the PCM and what they share with
// their neighbours, whatever the length and however it comes.
func TestSplit(t *testing.T) {
	const frame, length = 16, 400
	const chunkBytes, tail = length * frame, tailFrames * frame
	for _, size := range []int{
		0, 4, frame, chunkBytes, chunkBytes + tail - 4, chunkBytes + tail, chunkBytes + tail + 4,
		2 * chunkBytes, 2*chunkBytes + tail, 2*chunkBytes + tail + 4, 5*chunkBytes + 12345,
	} {
		pcm := counted(size)
		var got []*chunk
		s := splitter{dir: t.TempDir(), frame: frame, length: length, slots: newSlots(99), emit: func(c *chunk) { got = append(got, c) }}
		n, err := s.split(t.Context(), slowReader{bytes.NewReader(pcm), rand.New(rand.NewPCG(1, 1))})
		if err != nil || n != int64(size) {
			t.Fatalf("%d bytes: %d, %v", size, n, err)
		}
		want := 0
		for first := 0; want == 0 && size > 0 || first+tail < size; first += chunkBytes {
			want++
		}
		if last := len(got) - 1; last >= 0 && got[last].none.Load() {
			got[last].pcm.Close()
			got = got[:last]
		}
		if len(got) != want {
			t.Fatalf("%d bytes: %d chunks, want %d", size, len(got), want)
		}
		for i, c := range got {
			lead := min(leadFrames, i*length)
			from, to := (i*length-lead)*frame, min((i+1)*chunkBytes+tail, size)
			if c.last != (i == want-1) || c.lead != lead {
				t.Errorf("%d bytes: chunk %d: last %v, lead %d", size, i, c.last, c.lead)
			}
			if content := contentOf(t, c); !bytes.Equal(content, pcm[from:to]) {
				t.Errorf("%d bytes: chunk %d has %d bytes, want %d from %d on", size, i, len(content), to-from, from)
			}
		}
	}
}

func contentOf(t *testing.T, c *chunk) []byte {
	t.Helper()
	defer c.pcm.Close()
	b, err := io.ReadAll(c.pcm.Follow())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestChunkFrames: chunks are even in number, about equal, and bounded; a short
// audio has none.
func TestChunkFrames(t *testing.T) {
	for _, rate := range []int{8000, 24000, 32000, 44100, 48000} {
		frame := float64(mp3.FrameSamples(rate)) / float64(rate) // seconds
		for frames := 2; frames < 30000; frames += 7 {
			n := chunkFrames(float64(frames)*frame, rate)
			if n == 0 {
				if frames >= 2*shortest+1 {
					t.Fatalf("%d Hz: %d frames are no chunks", rate, frames)
				}
				continue
			}
			chunks := (frames + n - 1) / n
			last := frames - (chunks-1)*n
			if n%period != 0 || n < shortest || n > longest+2*period || chunks%2 != 0 || last < n-leadFrames-chunks*period || last+leadFrames > n {
				t.Fatalf("%d Hz: %d frames: %d chunks of %d, the last of %d", rate, frames, chunks, n, last)
			}
		}
	}
}

func TestSplitFails(t *testing.T) {
	broken := errors.New("broken")
	var got []*chunk
	s := splitter{dir: t.TempDir(), frame: 16, length: 400, slots: newSlots(9), emit: func(c *chunk) { got = append(got, c) }}
	if _, err := s.split(t.Context(), io.MultiReader(bytes.NewReader(counted(1000)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if len(got) != 1 {
		t.Fatalf("%d chunks", len(got))
	}
	if b, err := io.ReadAll(got[0].pcm.Follow()); len(b) != 1000 || !errors.Is(err, broken) {
		t.Errorf("whoever reads the chunk gets %d bytes, %v", len(b), err)
	}
	s = splitter{dir: t.TempDir() + "/none", frame: 16, length: 400, slots: newSlots(9)}
	if _, err := s.split(t.Context(), bytes.NewReader(counted(1000))); err == nil {
		t.Error("stored PCM in a folder that is not there")
	}
}
