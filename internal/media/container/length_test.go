package container

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/media/mediatest"
)

// TestCounted compares the length that headers count with the samples that were
// encoded. A file that is cut is not whole, or still counts what there was.
func TestCounted(t *testing.T) {
	const samples, rate = 44100 + 777, 44100
	dir := t.TempDir()
	wav := filepath.Join(dir, "in.wav")
	mediatest.Audio(t, wav, "0.3*sin(2*PI*440*t)|0.3*sin(2*PI*440*t)", rate, samples)
	for name, args := range map[string][]string{
		"a.flac": nil, "a.tta": nil, "a.wv": nil, "a.au": nil, "a.aiff": nil, "a.w64": nil, "a.caf": {"-c:a", "pcm_s16le"}, "a.wav": nil,
		"rf64.wav": {"-rf64", "always"}, "ulaw.aiff": {"-c:a", "pcm_mulaw", "-f", "aiff"}, "float.caf": {"-c:a", "pcm_f32be"},
		"a.ogg": {"-c:a", "libvorbis"}, "a.opus": {"-c:a", "libopus"}, "a.oga": {"-c:a", "flac"}, "a.spx": {"-c:a", "libspeex"}, "a.mp3": {"-c:a", "libmp3lame"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := mediatest.Make(t.Context(), dir, append(append([]string{"-i", wav}, args...), "file:"+path)...); err != nil {
				if name == "a.spx" {
					t.Skip("this ffmpeg has no encoder of Speex")
				}
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := inspected(t, b)
			want, within := float64(samples)/rate, 1e-4
			if name == "a.spx" {
				within = 0.05 // its granules count the encoder's delay
			}
			if len(s.Tracks) != 1 || !s.Tracks[0].Own || math.Abs(s.Tracks[0].Seconds-want) > within || s.Open {
				t.Fatalf("got %+v, want %v s", s, want)
			}
			for _, n := range []int{len(b) / 2, len(b) * 9 / 10} {
				s := inspected(t, b[:n])
				counts := len(s.Tracks) == 1 && math.Abs(s.Tracks[0].Seconds-want) < within
				if !counts && !s.Open && !s.Torn && s.Size <= int64(n) {
					t.Errorf("of %d bytes the first %d look whole: %+v", len(b), n, s)
				}
			}
		})
	}
}

func inspected(t testing.TB, b []byte) Structure {
	t.Helper()
	s, err := Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestUnknownSizes has headers of recorders that died.
func TestUnknownSizes(t *testing.T) {
	for _, size := range []uint32{0, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffdb} {
		format := []byte("fmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00\x88\x58\x01\x00\x02\x00\x10\x00")
		wave := append([]byte("RIFF....WAVE"), format...)
		binary.LittleEndian.PutUint32(wave[4:], size)
		wave = append(binary.LittleEndian.AppendUint32(append(wave, "data"...), size), make([]byte, 1000)...)
		if s := inspected(t, wave); !s.Open || s.Size != 0 || len(s.Tracks) != 0 {
			t.Errorf("WAV with the size %x: %+v", size, s)
		}
		au := binary.BigEndian.AppendUint32([]byte(".snd\x00\x00\x00\x18"), size)
		au = append(append(au, "\x00\x00\x00\x03\x00\x00\xac\x44\x00\x00\x00\x01"...), make([]byte, 1000)...)
		if s := inspected(t, au); !s.Open || s.Size != 0 {
			t.Errorf("AU with the size %x: %+v", size, s)
		}
	}
}

// TestOpusSamples has one packet of each kind (RFC 6716, table 2 and section 3.2).
func TestOpusSamples(t *testing.T) {
	for _, tt := range []struct {
		packet string
		want   int64
	}{
		{"\x00", 480}, {"\x18", 2880}, {"\x60", 480}, {"\x68", 960}, {"\x80", 120}, {"\xf8", 960},
		{"\xf9", 1920}, {"\xfa", 1920}, {"\xfb\x06", 5760}, {"\xfb", -1}, {"", -1},
	} {
		if got := opusSamples([]byte(tt.packet)); got != tt.want {
			t.Errorf("%x: %d samples, want %d", tt.packet, got, tt.want)
		}
	}
}

func TestTrackDuration(t *testing.T) {
	for s, want := range map[string]float64{"01:02:03.500000000": 3723.5, "8.021": 0, "": 0, "0:0:x": 0, "-1:00:00": 0} {
		if got := clockTime(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	for _, tt := range []struct{ segment, track, want float64 }{
		{12, 8, 8}, {8.2, 8, 8.2}, {8, 12, 8}, {0, 8, 0}, {math.NaN(), 8, 0}, {math.Inf(1), 8, 8}, {math.Inf(1), 0, 0}, {-1, 0, 0},
	} {
		if got := shorter(tt.segment, tt.track); got != tt.want {
			t.Errorf("segment %v, track %v: %v, want %v", tt.segment, tt.track, got, tt.want)
		}
	}
}

// TestDVChanges: a tape whose sound has one rate, and one whose does not.
func TestDVChanges(t *testing.T) {
	dir := t.TempDir()
	part := func(rate, size string) []byte {
		path := filepath.Join(dir, "part.dv")
		in := []string{"-f", "lavfi", "-i", "testsrc=s=" + size + ":d=0.4", "-f", "lavfi", "-i", "sine=r=" + rate + ":d=0.4", "-pix_fmt"}
		format := map[string][]string{"720x576": {"yuv420p", "-r", "25"}, "720x480": {"yuv411p", "-r", "30000/1001"}}[size]
		if err := mediatest.Make(t.Context(), dir, append(append(in, format...), "-c:v", "dvvideo", "-c:a", "pcm_s16le", "-ac", "2", "file:"+path)...); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, size := range []string{"720x576", "720x480"} {
		a := part("48000", size)
		b := bytes.Clone(a) // ffmpeg writes only one rate for the smaller picture
		for at := 4323; at < len(b); at += map[string]int{"720x576": 144000, "720x480": 120000}[size] {
			b[at+4] = b[at+4]&^0x38 | 2<<3 // 32000 Hz
		}
		for _, tt := range []struct {
			tape []byte
			want bool
		}{{a, false}, {b, false}, {append(bytes.Clone(a), b...), true}, {append(bytes.Clone(b), a[:len(a)/2]...), true}, {a[:100], false}} {
			if got := DVChanges(bytes.NewReader(tt.tape), int64(len(tt.tape))); got != tt.want {
				t.Errorf("%s, %d bytes: %v", size, len(tt.tape), got)
			}
		}
	}
}
