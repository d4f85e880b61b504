package remux

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/media/mediatest"
)

// encoded is a tone of two seconds as a stream of frames.
func encoded(t *testing.T, ext string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a."+ext)
	words := append([]string{"-f", "lavfi", "-i", "sine=440:r=48000:d=2"}, args...)
	if err := mediatest.Make(t.Context(), t.TempDir(), append(words, path)...); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFrames follows streams of all sample rates with some bit rates and channels: their
// frames fill them, and last as long as the sound.
func TestFrames(t *testing.T) {
	for ext, tt := range map[string]struct {
		coding
		rates, kbps []string
		args        []string
	}{
		"mp2":  {mpegSound, []string{"48000", "44100", "32000", "24000", "22050", "16000"}, []string{"64", "128", "160"}, nil},
		"mp3":  {mpegSound, []string{"48000", "44100", "32000", "24000", "22050", "16000", "12000", "11025", "8000"}, []string{"32", "64"}, []string{"-write_xing", "0", "-id3v2_version", "0"}},
		"ac3":  {ac3, []string{"48000", "44100", "44100", "44100", "32000"}, []string{"192", "384", "448"}, nil},
		"eac3": {eac3, []string{"48000", "44100", "32000"}, []string{"96", "192", "384"}, nil},
	} {
		for i, rate := range tt.rates {
			kbps, channels := tt.kbps[i%len(tt.kbps)], []string{"1", "2"}[i%2]
			b := encoded(t, ext, append([]string{"-ar", rate, "-ac", channels, "-b:a", kbps + "k"}, tt.args...)...)
			follow(t, fmt.Sprintf("%s of %s Hz, %s kbit/s, %s channels", ext, rate, kbps, channels), tt.coding, b)
		}
	}
}

// follow checks that frames fill a stream, and last two seconds.
func follow(t *testing.T, name string, c coding, b []byte) {
	t.Helper()
	seconds, forms := 0.0, map[uint32]bool{}
	for at := 0; at < len(b); {
		f, ok := c.parse(b[at:])
		if !ok || f.size < headSize || at+f.size > len(b) {
			t.Errorf("%s: %+v, %v, at %d of %d", name, f, ok, at, len(b))
			return
		}
		seconds += f.seconds
		forms[f.form] = true
		at += f.size
	}
	if math.Abs(seconds-2) > 0.2 || len(forms) != 1 {
		t.Errorf("%s: %.3f s, %d forms", name, seconds, len(forms))
	}
}

// TestElementary: where sample rate, channels or bit rate change, the track varies. It
// does not matter how its bytes come, nor that a part of a frame comes first.
func TestElementary(t *testing.T) {
	stereo, mono := encoded(t, "ac3", "-ac", "2", "-b:a", "192k"), encoded(t, "ac3", "-ac", "1", "-b:a", "192k")
	low, slow := encoded(t, "ac3", "-ar", "32000", "-b:a", "192k"), encoded(t, "ac3", "-ac", "1", "-b:a", "96k")
	for name, tt := range map[string]struct {
		b     []byte
		rates bool
		want  error
	}{
		"one form":                  {bytes.Join([][]byte{mono, mono}, nil), true, nil},
		"a part of a frame first":   {append(bytes.Clone(mono[len(mono)-300:]), mono...), true, nil},
		"a false frame first":       {append(append([]byte("\x0b\x77\x00\x00\x00\x40\x40"), make([]byte, 150)...), mono...), false, nil},
		"from stereo to mono":       {append(bytes.Clone(stereo), mono...), false, leave(VaryingSound)},
		"another sample rate":       {append(bytes.Clone(mono), low...), false, leave(VaryingSound)},
		"another bit rate":          {append(bytes.Clone(mono), slow...), true, leave(VaryingRate)},
		"another bit rate, unasked": {append(bytes.Clone(mono), slow...), false, nil},
		"junk midway":               {append(append(bytes.Clone(mono), make([]byte, 100)...), mono...), false, leave(VaryingSound)},
		"only junk":                 {make([]byte, 2*maxJunk), false, leave(VaryingSound)},
		"a little junk":             {make([]byte, 100), false, leave(VaryingSound)},
		"a change much later":       {append(bytes.Repeat(mono, 1+int(watched/2)), stereo...), false, nil},
	} {
		for _, piece := range []int{7, 184, 1 << 20} {
			if err := heard(tt.b, watch{coding: ac3, rates: tt.rates}, piece); !errors.Is(err, tt.want) {
				t.Errorf("%s, in pieces of %d: %v, want %v", name, piece, err, tt.want)
			}
		}
	}
}

// heard follows a track whose bytes come in pieces of some bytes.
func heard(b []byte, w watch, piece int) error {
	e := elementary{watch: w}
	for len(b) > 0 {
		n := min(piece, len(b))
		if err := e.write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return e.end()
}

// FuzzElementary follows untrusted tracks. It does not matter how their bytes come.
func FuzzElementary(f *testing.F) {
	f.Add(uint8(ac3), bytes.Repeat(append([]byte("\x0b\x77\x00\x00\x00\x40\x40"), make([]byte, 121)...), 3))
	f.Add(uint8(eac3), bytes.Repeat(append([]byte("\x0b\x77\x00\x1f\x34\x80"), make([]byte, 58)...), 3))
	f.Add(uint8(mpegSound), bytes.Repeat(append([]byte("\xff\xfb\x10\xc4"), make([]byte, 100)...), 3))
	f.Add(uint8(trueHD), []byte("....\xf8\x72\x6f\xba...."))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		w := watch{coding: coding(kind % uint8(unclear+1)), rates: true}
		whole := heard(b, w, len(b)+1)
		for _, piece := range []int{7, 184} {
			if err := heard(b, w, piece); !errors.Is(err, whole) {
				t.Fatalf("coding %d, in pieces of %d: %v, as a whole: %v", w.coding, piece, err, whole)
			}
		}
	})
}

// TestLaces: where the frames of a block are.
func TestLaces(t *testing.T) {
	for name, tt := range map[string]struct {
		b     []byte
		size  int64
		flags byte
		want  []int64
	}{
		"none":              {[]byte{0x81, 0, 0, 0}, 100, 0x80, []int64{4}},
		"fixed":             {[]byte{0x81, 0, 0, 4, 2}, 35, 0x04, []int64{5, 15, 25}},
		"fixed, not even":   {[]byte{0x81, 0, 0, 4, 2}, 36, 0x04, nil},
		"Xiph's":            {[]byte{0x81, 0, 0, 2, 2, 255, 10, 20}, 400, 0x02, []int64{8, 273, 293}},
		"Xiph's, too long":  {[]byte{0x81, 0, 0, 2, 1, 255, 10}, 100, 0x02, nil},
		"Xiph's, cut":       {[]byte{0x81, 0, 0, 2, 1, 255}, 400, 0x02, nil},
		"EBML":              {[]byte{0x81, 0, 0, 6, 3, 0x43, 0x20, 0x5f, 0x38, 0xbe}, 3000, 0x06, []int64{10, 810, 1411, 2011}},
		"EBML, of no size":  {[]byte{0x81, 0, 0, 6, 2, 0x81, 0x80}, 100, 0x06, nil},
		"EBML, cut":         {[]byte{0x81, 0, 0, 6, 2, 0x43}, 100, 0x06, nil},
		"no number of them": {[]byte{0x81, 0, 0, 6}, 4, 0x06, nil},
	} {
		got := laces(tt.b, 4, tt.size, tt.flags)
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
