package mp4

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// index is a file that is nothing but an index with these tracks.
func index(t *testing.T, traks ...[]byte) *Movie {
	t.Helper()
	moov := [][]byte{appendBox(nil, "mvhd", make([]byte, 12), fields(1000), make([]byte, 84))}
	b := appendBox(appendBox(nil, "ftyp", []byte("isom\x00\x00\x00\x00")), "moov", append(moov, traks...)...)
	m, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func fields(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// trak is a track with a second of samples and an edit list.
func trak(id uint32, handler string, edits []byte, more ...[]byte) []byte {
	stbl := appendBox(nil, "stbl", appendBox(nil, "stts", fields(0, 1, 1000, 1)))
	mdia := appendBox(nil, "mdia",
		appendBox(nil, "mdhd", make([]byte, 12), fields(1000, 1000), make([]byte, 4)),
		appendBox(nil, "hdlr", make([]byte, 8), []byte(handler), make([]byte, 12)),
		appendBox(nil, "minf", stbl))
	tkhd := appendBox(nil, "tkhd", []byte{0, 0, 0, 1}, make([]byte, 8), fields(id), make([]byte, 68))
	return appendBox(nil, "trak", append([][]byte{tkhd, appendBox(nil, "edts", appendBox(nil, "elst", edits)), mdia}, more...)...)
}

// edits are n of them, each of the same moment.
func edits(n int) []byte {
	b := fields(0, uint32(n))
	for range n {
		b = append(b, fields(1, 0, 1<<16)...)
	}
	return b
}

func TestOveredited(t *testing.T) {
	for _, handler := range []string{"soun", "vide", "text"} {
		for n, want := range map[int]bool{1: false, MaxEdits: false, MaxEdits + 1: true, 20_000: true} {
			m := index(t, trak(1, "soun", edits(1)), trak(2, handler, edits(n)))
			if len(m.Tracks) != 2 {
				t.Fatalf("%d tracks", len(m.Tracks))
			}
			if m.Overedited() != want {
				t.Errorf("%d edits of a track of %s: overedited is %v", n, handler, !want)
			}
			if kept := len(m.Tracks[1].Edits); kept > MaxEdits {
				t.Errorf("%d edits are kept", kept)
			}
		}
	}
}

// TestTrack: of two tracks with one id the first counts, and none where there is no
// index.
func TestTrack(t *testing.T) {
	m := index(t, trak(1, "soun", edits(1)), trak(2, "vide", edits(1)), trak(2, "text", edits(1)))
	for id, want := range map[uint32]string{1: "soun", 2: "vide"} {
		if got := m.Track(id); got == nil || got.Handler != want {
			t.Errorf("track %d is %+v", id, got)
		}
	}
	if m.Track(3) != nil || m.From(nil).Track(2) != m.Tracks[1] || new(Movie).Track(0) != nil {
		t.Error("a track that is not there, or not one that is")
	}
}

// TestChapterTracks: a track that is named for chapters again and again is read once.
func TestChapterTracks(t *testing.T) {
	tref := appendBox(nil, "tref", appendBox(nil, "chap", bytes.Repeat(fields(2), 50)))
	m := index(t, trak(1, "soun", edits(1), tref), trak(2, "text", edits(1)))
	if got := fmt.Sprint(m.chapters); got != "[2]" {
		t.Errorf("tracks of chapters: %s", got)
	}
}

// TestSpans: samples are shown where the edit list says, however many edits there
// are, and those of no length never.
func TestSpans(t *testing.T) {
	stts := fields(0, 4, 1, 100, 1, 0, 1, 200, 1, 300) // four samples; the second lasts no time
	m := index(t, trak(1, "text", edits(1)))
	track := m.Tracks[0]
	b := appendBox(nil, "stts", stts)
	track.stbl = map[string]Box{"stts": {Kind: "stts", Body: 8, End: int64(len(b))}}
	m.file = bytes.NewReader(b)
	track.shown = []Piece{{At: 0, From: 0.05, To: 0.25, Rate: 1}, {At: 5, From: 0.3, To: 0.6, Rate: 2}, {At: 9, From: 1, To: 2, Rate: 1}}
	got, err := m.spans(track, 4)
	if err != nil {
		t.Fatal(err)
	}
	want := "[{0 0 0.05} {2 0.05 0.2} {3 5 5.15}]"
	rounded := make([]span, len(got))
	for i, s := range got {
		rounded[i] = span{s.sample, float64(int(s.from*1000+.5)) / 1000, float64(int(s.to*1000+.5)) / 1000}
	}
	if fmt.Sprint(rounded) != want {
		t.Errorf("got %v, want %s", rounded, want)
	}
}
