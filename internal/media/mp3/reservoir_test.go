package mp3

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// makeFrame makes a frame of MPEG-1 stereo at 48 kHz with size random bytes of
// main data, which begin so many bytes before its payload.
func makeFrame(rng *rand.Rand, index, begin, size int) Frame {
	head := uint32(0xfffb0400) | uint32(index)<<12
	h, ok := parseHeader(head)
	if !ok {
		panic("no frame header")
	}
	f := Frame{Header: h, Bytes: make([]byte, h.Size)}
	for i := range f.Bytes {
		f.Bytes[i] = byte(rng.Uint32())
	}
	binary.BigEndian.PutUint32(f.Bytes, head)
	clear(f.sideInfo())
	f.setMainDataBegin(begin)
	at := 9 + 3 + 8 // of the first granule's length, in bits
	for part, left := 0, size*8; part < 4; part++ {
		n := min(left, 4095)
		for b := range 12 {
			f.sideInfo()[(at+b)/8] |= byte(n>>(11-b)&1) << (7 - (at+b)%8)
		}
		left -= n
		at += 59
	}
	return f
}

// line makes frames one after the other, as an encoder does.
func line(rng *rand.Rand, n int) []Frame {
	var frames []Frame
	reservoir := 0
	for range n {
		index := 1 + rng.IntN(topIndex)
		f := makeFrame(rng, index, 0, 0)
		space := reservoir + f.Size - f.payload()
		size := min(2000, rng.IntN(space+1)) // four parts of 4095 bits hold no more
		frames = append(frames, makeFrame(rng, index, reservoir, size))
		reservoir = min(511, space-size)
	}
	return frames
}

// mainData returns each frame's main data, as a decoder finds it.
func mainData(frames []Frame) [][]byte {
	var out [][]byte
	var stream []byte
	for _, f := range frames {
		start := len(stream) - f.mainDataBegin()
		stream = append(stream, f.Bytes[f.payload():]...)
		out = append(out, bytes.Clone(stream[start:start+f.mainDataSize()]))
	}
	return out
}

// TestReservoir: every frame keeps its main data, and the reservoir is where the
// next frame looks for it.
func TestReservoir(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	made, raised, refused := 0, 0, 0
	for range 3000 {
		frames := line(rng, 1+rng.IntN(8))
		before := mainData(frames)
		want := make([]byte, rng.IntN(512))
		for i := range want {
			want[i] = byte(rng.Uint32())
		}
		p, ok := planReservoir(frames, len(want))
		if !ok {
			refused++
			continue
		}
		size := total(frames)
		p.apply(frames, want)
		if got := total(frames) - size; got != p.bytes {
			t.Fatalf("%d bytes more, want %d", got, p.bytes)
		}
		var stream []byte
		for i, got := range mainData(frames) {
			if !bytes.Equal(got, before[i]) {
				t.Fatalf("frame %d of %d has other main data after %+v", i, len(frames), p)
			}
		}
		for _, f := range frames {
			if h, ok := parseHeader(binary.BigEndian.Uint32(f.Bytes)); !ok || h != f.Header || len(f.Bytes) != h.Size {
				t.Fatalf("header %+v of %d bytes, want %+v", h, len(f.Bytes), f.Header)
			}
			stream = append(stream, f.Bytes[f.payload():]...)
		}
		if got := stream[max(0, len(stream)-len(want)):]; !bytes.Equal(got, want) {
			t.Fatalf("the next frame finds something else after %+v", p)
		}
		made++
		if len(p.raised) > 1 {
			raised++
		}
	}
	if made < 1000 || raised < 50 || refused == 0 {
		t.Errorf("%d plans, %d that raise several frames, %d refused: too few to tell", made, raised, refused)
	}
}

func total(frames []Frame) int {
	n := 0
	for _, f := range frames {
		n += len(f.Bytes)
	}
	return n
}

// TestCheapestSeam: among the frames at the beginning of a run, the seam is put
// where it costs nothing.
func TestCheapestSeam(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	full := makeFrame(rng, 5, 0, 0)
	first := make([]Frame, 20)
	second := make([]Frame, 20)
	for i := range first {
		first[i] = makeFrame(rng, 5, 0, full.Size-full.payload()) // no byte is free
		second[i] = makeFrame(rng, 5, 100, full.Size-full.payload())
	}
	second[9] = makeFrame(rng, 5, 0, 10)
	w := NewWriter(newFile(t), 0)
	j := NewJoiner(w)
	if err := errors.Join(j.Append(first, 0, 10), j.Append(second, 4, 16)); err != nil {
		t.Fatal(err)
	}
	cost, err := j.Close()
	if err != nil || cost != (Cost{Seams: 1}) || w.Frames() != 26 {
		t.Errorf("%+v, %d frames, %v", cost, w.Frames(), err)
	}
}

// TestNoSeam: if no bit rate is high enough, the run is refused, and another
// run that needs nothing is accepted in its place.
func TestNoSeam(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	top := makeFrame(rng, topIndex, 0, 0)
	payload := top.Size - top.payload()
	var first, bad, good []Frame
	for range 20 {
		first = append(first, makeFrame(rng, topIndex, 0, payload))
		bad = append(bad, makeFrame(rng, topIndex, 300, payload))
		good = append(good, makeFrame(rng, topIndex, 0, payload))
	}
	w := NewWriter(newFile(t), 320)
	j := NewJoiner(w)
	if err := j.Append(first, 0, 10); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(bad, 5, 10); !errors.Is(err, ErrNoSeam) {
		t.Errorf("got %v", err)
	}
	if err := j.Append(good, 5, 15); err != nil {
		t.Fatal(err)
	}
	cost, err := j.Close()
	if err != nil || cost != (Cost{Seams: 1}) || w.Frames() != 25 {
		t.Errorf("%+v, %d frames, %v", cost, w.Frames(), err)
	}
}

// TestAfterEmptyReservoir: behind a run without a reservoir there is always space.
func TestAfterEmptyReservoir(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for index := 1; index < topIndex; index++ {
		var frames []Frame
		for range 200 {
			f := makeFrame(rng, index, 0, 0)
			frames = append(frames, makeFrame(rng, index, 0, f.Size-f.payload()))
		}
		if _, ok := planReservoir(frames, 511); !ok {
			t.Errorf("no space in frames of %d kbit/s", frames[0].Kbps)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	run := []Frame{makeFrame(rng, 5, 0, 10), makeFrame(rng, 5, 200, 10), makeFrame(rng, 5, 0, 10)}
	for name, err := range map[string]error{
		"fewer frames than promised":  NewJoiner(nil).Append(run, 1, 3),
		"sound before the beginning":  NewJoiner(nil).Append(run, 1, 1),
		"a negative number of frames": NewJoiner(nil).Append(run, -1, 1),
	} {
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func newFile(t *testing.T) io.WriteSeeker {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "x.mp3"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// FuzzRun: whatever an encoder writes, taking it to pieces and joining it with
// itself ends with frames or an error.
func FuzzRun(f *testing.F) {
	b := lame(f, make([]byte, 4410*4), 44100, 1, 0)
	f.Add(b, 0, 2)
	f.Add(b[:len(b)/2], 1, 1)
	rng := rand.New(rand.NewPCG(1, 6))
	var wild []byte
	for _, frame := range line(rng, 9) {
		wild = append(wild, frame.Bytes...)
	}
	f.Add(wild, 2, 4)
	f.Fuzz(func(t *testing.T, b []byte, lead, own int) {
		first, err := Run(bytes.Clone(b))
		if err != nil {
			return
		}
		second, err := Run(b)
		if err != nil {
			t.Fatal(err)
		}
		size := total(first)
		if size != len(b) {
			return // tags around it
		}
		w := NewWriter(newFile(t), 0)
		j := NewJoiner(w)
		if j.Append(first, 0, len(first)/2) != nil || j.Append(second, lead, own) != nil {
			return
		}
		if _, err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}
