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

func FuzzInspect(f *testing.F) {
	f.Add([]byte("\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\x00\x00\x00\x00\x00\x00\x10"))
	f.Add([]byte("\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("RIFF\x04\x00\x00\x00WAVERIFF\xff\x00\x00\x00AVIX"))
	f.Add([]byte("RIFF\x04\x00\x00\x00"))
	f.Add([]byte("FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"))
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
