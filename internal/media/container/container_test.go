package container

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/media/mediatest"
)

// TestInspect compares what files say of themselves with what they are.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name  string
		args  []string
		sized bool // it says how many bytes it has
	}{
		{"a.mkv", []string{"-c:v", "mpeg4", "-c:a", "aac"}, true},
		{"a.webm", []string{"-c:v", "libvpx", "-c:a", "libopus"}, true},
		{"live.webm", []string{"-c:v", "libvpx", "-c:a", "libopus", "-live", "1"}, false},
		{"a.avi", []string{"-c:v", "mpeg4", "-c:a", "libmp3lame"}, true},
		{"a.wav", []string{"-map", "1:a"}, true},
		{"a.wmv", []string{"-c:v", "wmv2", "-c:a", "wmav2"}, true},
		{"fragments.MP4", []string{"-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"}, true},
		{"a.ogg", []string{"-map", "1:a"}, false},
		{"a.flv", []string{"-c:v", "flv", "-ar", "44100"}, false},
	}
	for _, tt := range tests {
		path := filepath.Join(dir, tt.name)
		mediatest.Video(t, path, 0.5, 440, tt.args...)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil || !s.Known {
			t.Errorf("%s: %+v, %v", tt.name, s, err)
		}
		if size := int64(len(b)); tt.sized && (s.Size > size || s.Size < size-100 || !s.Whole) || !tt.sized && s.Size != 0 {
			t.Errorf("%s: says %d of %d bytes", tt.name, s.Size, size)
		}
		if tt.name == "a.flv" && math.Abs(s.Last-0.5) > 0.15 {
			t.Errorf("%s: last time stamp %v", tt.name, s.Last)
		}
	}
}

func TestMovieTracks(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"last.mp4":  {"-c:v", "mpeg4", "-c:a", "aac"},
		"first.mp4": {"-c:v", "mpeg4", "-c:a", "aac", "-movflags", "+faststart"},
		"pcm.mov":   {"-c:v", "mpeg4", "-c:a", "pcm_s24be"},
		"sound.m4a": {"-map", "1:a", "-c:a", "alac"},
		"late.mp4":  {"-c:v", "mpeg4", "-c:a", "aac", "-af", "asetpts=PTS+3/TB"},
	} {
		path := filepath.Join(dir, name)
		mediatest.Video(t, path, 2, 440, args...)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil || s.MP4 == nil || !s.MP4.Found || len(s.MP4.AudioTracks()) != 1 {
			t.Fatalf("%s: %+v, %v", name, s.MP4, err)
		}
		if got := s.MP4.AudioTracks()[0]; math.Abs(got.Seconds-2) > 0.03 || got.Encrypted || s.MP4.Track(got.ID) != got {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestNames: an FLV names its codec in the first tag of sound.
func TestNames(t *testing.T) {
	picture := "\x09\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x0c"
	for body, want := range map[string]string{
		"\x90OpusOpusHead": "Opus", "\x91fLaC......": "fLaC", "\x95\x00ac-3......": "ac-3", "\x95\x20......": "", "\x97\x00......": "", "\xaf\x00......": "",
	} {
		tag := append([]byte{8, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0}, body...)
		b := append([]byte("FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"+picture), tag...)
		s, err := Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil || len(s.Names) > 1 || len(s.Names) == 1 && s.Names[0] != want || len(s.Names) == 0 && want != "" {
			t.Errorf("%q: %v, %v", body, s.Names, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\x00\x00\x00\x00\x00\x00\x10"))
	f.Add([]byte("\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("RIFF\x04\x00\x00\x00WAVERIFF\xff\x00\x00\x00AVIX"))
	f.Add([]byte("RIFF\x04\x00\x00\x00"))
	f.Add([]byte("FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"))
	f.Add([]byte("FLV\x01\x04\x00\x00\x00\x09\x00\x00\x00\x00\x08\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x90OpusOpu\x00\x00\x00\x13"))
	f.Add(append([]byte(asfHeader), make([]byte, 100)...))
	f.Add([]byte("RF64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00aaaaaaaabbbbbbbbccccccccddddfmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00\x88\x58\x01\x00\x02\x00\x10\x00data\xff\xff\xff\xff"))
	f.Add([]byte("caff\x00\x01\x00\x00desc\x00\x00\x00\x00\x00\x00\x00\x20@\xe7p\x00\x00\x00\x00\x00lpcm\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x10data\x7f\xff\xff\xff\xff\xff\xff\xff\x00"))
	f.Add([]byte("FORM\x00\x00\x00\x40AIFCCOMM\x00\x00\x00\x16\x00\x01\x00\x00\x00\x10\x00\x10\x40\x0e\xac\x44\x00\x00\x00\x00\x00\x00NONESSND\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00........"))
	f.Add([]byte("ID3\x04\x00\x00\x00\x00\x00\x02..TTA1\x01\x00\x02\x00\x10\x00\x80\xbb\x00\x00\x00\xee\x02\x00"))
	f.Add([]byte("OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x13OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00" +
		"OggS\x00\x04\x00\x10\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x02\xfb\x06"))
	f.Add([]byte("\x00\x00\x00\x10moof\x00\x00\x00\x08traf\x00\x00\x00\x30sidx"))
	nested := []byte("\x00\x00\x00\x08free")
	for _, kind := range []string{"mdia", "mdia", "mdia", "mdia", "trak", "moov"} {
		nested = append(append(binary.BigEndian.AppendUint32(nil, uint32(len(nested)+8)), kind...), nested...)
	}
	f.Add(nested)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, tr := range s.Tracks {
			if !(tr.Seconds >= 0) || math.IsInf(tr.Seconds, 0) || tr.Own && tr.Seconds == 0 {
				t.Errorf("a track of %v s", tr.Seconds)
			}
		}
		if s.Size < 0 || s.Last < 0 || s.MP4 != nil && s.MP4.End < 0 {
			t.Errorf("got %+v", s)
		}
	})
}

// ebmlElementOf is an element with a size of 8 bytes.
func ebmlElementOf(id string, content ...[]byte) []byte {
	b := bytes.Join(content, nil)
	return append(binary.BigEndian.AppendUint64([]byte(id), 1<<56|uint64(len(b))), b...)
}

// TestChapters: which edition is shown, and which of its chapters.
func TestChapters(t *testing.T) {
	el := ebmlElementOf
	flag := func(id string) []byte { return el(id, []byte{1}) }
	atom := func(second uint64, title string, more ...[]byte) []byte {
		at := binary.BigEndian.AppendUint64(nil, second*1e9)
		return el("\xb6", el("\x91", at), el("\x80", el("\x85", []byte(title))), el("\x80", el("\x85", []byte("another language"))), bytes.Join(more, nil))
	}
	const hidden, standard, ordered = "\x45\xbd", "\x45\xdb", "\x45\xdd"
	edition := func(content ...[]byte) []byte { return el("\x45\xb9", content...) }
	plain := edition(atom(0, "A"), atom(3, "B"))
	tests := []struct {
		name     string
		editions [][]byte
		want     []Chapter
	}{
		{"one", [][]byte{plain}, []Chapter{{Title: "A"}, {Start: 3, Title: "B"}}},
		{"the first of two", [][]byte{plain, edition(atom(1, "C"))}, []Chapter{{Title: "A"}, {Start: 3, Title: "B"}}},
		{"the default of two", [][]byte{plain, edition(atom(1, "C"), flag(standard))}, []Chapter{{Start: 1, Title: "C"}}},
		{"a hidden default", [][]byte{edition(atom(1, "C"), flag(standard), flag(hidden)), plain}, []Chapter{{Title: "A"}, {Start: 3, Title: "B"}}},
		{"an ordered default beside a plain one", [][]byte{edition(flag(ordered), flag(standard), atom(1, "C")), plain}, []Chapter{{Title: "A"}, {Start: 3, Title: "B"}}},
		{"an ordered one alone, with a part of another file", [][]byte{edition(flag(ordered), atom(0, "Elsewhere", el("\x6e\x67", []byte("0123456789abcdef"))), atom(1, "C"))}, []Chapter{{Start: 1, Title: "C"}}},
		{"all hidden", [][]byte{edition(flag(hidden), atom(1, "C"))}, nil},
		{"hidden and nested chapters", [][]byte{edition(atom(0, "A"), atom(1, "Hidden", flag("\x98")), atom(2, "B", el("\x92", binary.BigEndian.AppendUint64(nil, 4e9)), atom(3, "Nested")))}, []Chapter{{Title: "A"}, {Start: 2, End: 4, Title: "B"}}},
		{"a long title", [][]byte{edition(atom(1, strings.Repeat("long", 100)))}, []Chapter{{Start: 1, Title: strings.Repeat("long", 100)}}},
		{"none", nil, nil},
	}
	cluster := el("\x1f\x43\xb6\x75", make([]byte, 100))
	for _, tt := range tests {
		chapters := el("\x10\x43\xa7\x70", tt.editions...)
		position := func(n int) []byte {
			return el("\x11\x4d\x9b\x74", el("\x4d\xbb", el("\x53\xab", []byte("\x10\x43\xa7\x70")), el("\x53\xac", binary.BigEndian.AppendUint64(nil, uint64(n)))))
		}
		for place, segment := range map[string][]byte{
			"before": slices.Concat(chapters, cluster), "behind": slices.Concat(position(len(position(0))+len(cluster)), cluster, chapters),
		} {
			b := append(el("\x1a\x45\xdf\xa3"), el("\x18\x53\x80\x67", segment)...)
			got, count := Chapters(bytes.NewReader(b), 100)
			if !slices.Equal(got, tt.want) || count != len(tt.want) {
				t.Errorf("%s, %s the clusters: %d, %v", tt.name, place, count, got)
			}
		}
	}
}

// FuzzChapters: whatever stands in a file, what is said of it makes sense.
func FuzzChapters(f *testing.F) {
	el := ebmlElementOf
	f.Add(append(el("\x1a\x45\xdf\xa3"), el("\x18\x53\x80\x67", el("\x10\x43\xa7\x70", el("\x45\xb9", el("\xb6", el("\x91", make([]byte, 8)), el("\x80", el("\x85", []byte("A")))))))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, count := Chapters(bytes.NewReader(b), 3); len(list) > 3 || count < len(list) || count > len(b) {
			t.Errorf("%d, %v", count, list)
		}
	})
}
