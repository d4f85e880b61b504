package remux

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"tonearm/internal/media/mp4"
)

// TestReadAt reads a file of all kinds of parts at every offset.
func TestReadAt(t *testing.T) {
	source := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
	b := builder{r: bytes.NewReader(source)}
	b.add([]byte("head "))
	b.copy(3, 4)
	b.copy(7, 2) // joined with the one before
	b.add(nil)
	b.add([]byte("-"))
	b.copy(30, 6)
	p := b.plan("mp4")
	want := "head 345678-uvwxyz"
	if p.Size != int64(len(want)) || len(p.parts) != 4 {
		t.Fatalf("%d bytes in %d parts", p.Size, len(p.parts))
	}
	for from := range len(want) + 1 {
		for n := range len(want) + 2 {
			got := make([]byte, n)
			k, err := p.ReadAt(got, int64(from))
			end := min(from+n, len(want))
			if string(got[:k]) != want[from:end] || errors.Is(err, io.EOF) != (from+n > len(want)) || err != nil && !errors.Is(err, io.EOF) {
				t.Fatalf("%d bytes from %d: %q, %v", n, from, got[:k], err)
			}
		}
	}
	if err := iotest.TestReader(p.NewReader(), []byte(want)); err != nil {
		t.Error(err)
	}
	p.r = bytes.NewReader(source[:32])
	if _, err := io.ReadAll(p.NewReader()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a source that has become shorter: %v", err)
	}
}

// TestObvious: what surely is an audio track or none, and what may be taken for one.
func TestObvious(t *testing.T) {
	for _, tt := range []struct {
		handler, codec string
		count          int
		want           bool
	}{
		{"soun", "mp4a", 1, true},
		{"soun", "iamf", 1, false},
		{"vide", "mp4a", 1, true},
		{"meta", "mebx", 1, true},
		{"meta", "djmd", 1, true},
		{"tmcd", "tmcd", 1, true},
		{"", "", 0, true},
		{"meta", "mp4a", 1, false},
		{"data", "MP4A", 1, false},
		{"data", "raw ", 1, false},
		{"data", "ms\x00\x55", 1, false},
		{"text", "text", 2, false},
	} {
		if got := obvious(&mp4.Track{Handler: tt.handler, Codec: tt.codec, Descriptions: tt.count}); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// TestChoose: which track of a Matroska file is chosen, and where another reader may choose
// another one.
func TestChoose(t *testing.T) {
	plain := mkvTrack{audio: true, language: "eng", isDefault: true}
	german := mkvTrack{audio: true, language: "ger"}
	bcp47, encoded, rare := german, plain, plain
	bcp47.bcp47, encoded.encoded, rare.watch.coding = true, true, unclear
	for name, tt := range map[string]struct {
		tracks []mkvTrack
		want   string
		chosen int
		err    error
	}{
		"the only one":              {[]mkvTrack{{}, rare}, "", 1, nil},
		"the default":               {[]mkvTrack{german, plain}, "", 1, nil},
		"by language":               {[]mkvTrack{plain, german}, "ger", 1, nil},
		"by number":                 {[]mkvTrack{plain, bcp47}, "1", 1, nil},
		"one that is not there":     {[]mkvTrack{plain, german}, "7", 0, nil},
		"two kinds of languages":    {[]mkvTrack{plain, bcp47}, "ger", 0, leave(UnclearTrack)},
		"encoded, beside another":   {[]mkvTrack{encoded, german}, "", 0, leave(UnclearTrack)},
		"of no known codec":         {[]mkvTrack{rare, german}, "", 0, leave(UnclearTrack)},
		"no sound":                  {[]mkvTrack{{}}, "", 0, leave(UnclearTrack)},
		"no known codec, by number": {[]mkvTrack{rare, german}, "0", 0, nil},
	} {
		k := &matroska{w: &walker{o: Options{Track: tt.want}}, tracks: tt.tracks}
		err := k.choose()
		if !errors.Is(err, tt.err) || err == nil && k.chosen != &k.tracks[tt.chosen] {
			t.Errorf("%s: %+v, %v", name, k.chosen, err)
		}
	}
}

// TestCodings: how the frames of a track are coded, by what the container calls it.
func TestCodings(t *testing.T) {
	for codec, want := range map[string]coding{
		"A_AAC": settled, "A_AAC/MPEG4/LC/SBR": settled, "A_OPUS": settled, "A_MPEG/L3": mpegSound, "A_AC3/BSID9": ac3, "A_EAC3": eac3, "A_TRUEHD": trueHD,
		"A_MS/ACM": unclear, "A_MLP": unclear, "": unclear,
	} {
		if got := (&mkvTrack{codec: codec}).coding(); got != want {
			t.Errorf("%s: %d, want %d", codec, got, want)
		}
	}
	for _, tt := range []struct {
		codec  string
		object byte
		want   coding
	}{
		{"mp4a", 0x40, settled}, {"mp4a", 0x6b, mpegSound}, {"mp4a", 0xa5, ac3}, {"mp4a", 0xa6, eac3}, {"alac", 0, settled}, {"ec-3", 0, eac3},
		{"ms\x00\x55", 0, mpegSound}, {"ms\x20\x00", 0, unclear}, {"mlpa", 0, unclear},
	} {
		if got := codingOf(&mp4.Track{Codec: tt.codec, Object: tt.object}); got != tt.want {
			t.Errorf("%q, %#x: %d, want %d", tt.codec, tt.object, got, tt.want)
		}
	}
}
