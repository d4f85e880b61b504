package mp3

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

// TestGather puts everything that is found in MP3 files between frames and behind
// them.
func TestGather(t *testing.T) {
	b := encodeMP3(t, "44100", "44100", "-b:a", "128k", "-id3v2_version", "0")
	var frames [][]byte
	for f, err := range Frames(bytes.NewReader(b)) {
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, bytes.Clone(f.Bytes))
	}
	first, second := slices.Concat(frames[:20]...), slices.Concat(frames[20:]...)
	id3 := append([]byte{'I', 'D', '3', 4, 0, 0, 0, 0, 2, 4}, bytes.Repeat([]byte{0xff, 0xfb}, 130)...)
	v1 := append([]byte("TAG"), make([]byte, 125)...)
	little := binary.LittleEndian
	ape := func(flags uint32) []byte {
		return append(little.AppendUint32(little.AppendUint32(little.AppendUint32([]byte("APETAGEX\xd0\x07\x00\x00"), 50+32), 1), flags), make([]byte, 8)...)
	}
	items := bytes.Repeat([]byte{0xff, 0xfb}, 25)
	behind := append(bytes.Clone(items), ape(0)...)
	both := slices.Concat(ape(1<<31|1<<29), items, ape(1<<31))
	recounted := bytes.Clone(b)
	info, ok := parseHeader(binary.BigEndian.Uint32(b))
	if !ok {
		t.Fatal("no frame")
	}
	at := 4 + info.side + infoFrames
	binary.BigEndian.PutUint32(recounted[at:], 7)
	tests := []struct {
		name       string
		file       []byte
		tags, junk int64
		miscounted bool
	}{
		{"nothing", b, 0, 0, false},
		{"a tag before", slices.Concat(id3, b), 0, 0, false},
		{"junk before", slices.Concat(make([]byte, 24), b), 0, 0, false},
		{"ID3v1 behind", slices.Concat(b, v1), 0, 0, false},
		{"ID3v2 between", slices.Concat(first, id3, second), int64(len(id3)), 0, false},
		{"ID3v1 and ID3v2 between", slices.Concat(first, v1, id3, second), int64(len(v1) + len(id3)), 0, false},
		{"APE between", slices.Concat(first, both, second), int64(len(both)), 0, false},
		{"APE and ID3v1 behind", slices.Concat(b, behind, v1), int64(len(behind)), 0, false},
		{"junk between, with the beginning of a frame", slices.Concat(first, items, second), 0, int64(len(items)), false},
		{"junk behind", slices.Concat(b, items), 0, int64(len(items)), false},
		{"a wrong count of frames", recounted, 0, 0, true},
		{"a wrong count of frames, and bytes are missing", recounted[:len(b)-len(slices.Concat(frames[len(frames)-2:]...))], 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bytes.NewReader(tt.file)
			f, err := Find(r, r.Size())
			whole := len(tt.file) >= len(b)
			if err != nil || f.Tags != tt.tags || f.Junk != tt.junk || f.Miscounted != tt.miscounted ||
				whole && (f.Frames != int64(len(frames))-1 || math.Abs(f.Seconds-1) > 1e-6) {
				t.Errorf("got %+v, %v", f, err)
			}
			if !whole {
				return
			}
			var out bytes.Buffer
			if err := Gather(&out, r, r.Size(), f.Frames); err != nil || !bytes.Equal(out.Bytes(), b) {
				t.Errorf("%d bytes were gathered of %d, %v", out.Len(), len(b), err)
			}
		})
	}
}

// FuzzGather: what is gathered is nothing but frames, however hostile the file.
func FuzzGather(f *testing.F) {
	f.Add([]byte("ID3\x04\x00\x00\x00\x00\x00\x00TAGAPETAGEX\xff\xfb\x90\x00"))
	f.Add(append([]byte{0xff, 0xfb, 0x90, 0x00}, make([]byte, 413)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		found, err := Find(r, r.Size())
		if err != nil || found.Seconds < 0 || found.Tags < 0 || found.Junk < 0 || found.Tags+found.Junk > r.Size() {
			t.Fatalf("%+v, %v", found, err)
		}
		var out bytes.Buffer
		if err := Gather(&out, r, r.Size(), -1); err != nil || int64(out.Len()) > r.Size() {
			t.Fatalf("%d bytes, %v", out.Len(), err)
		}
	})
}
