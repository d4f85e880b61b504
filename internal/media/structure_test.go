package media

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
		{"fragments.mp4", []string{"-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"}, true},
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
		s, err := inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil || !s.known {
			t.Errorf("%s: %+v, %v", tt.name, s, err)
		}
		if size := int64(len(b)); tt.sized && (s.size > size || s.size < size-20) || !tt.sized && s.size != 0 {
			t.Errorf("%s: says %d of %d bytes", tt.name, s.size, size)
		}
		if tt.name == "a.flv" && math.Abs(s.last-0.5) > 0.15 {
			t.Errorf("%s: last time stamp %v", tt.name, s.last)
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
		s, err := inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil || s.mp4 == nil || !s.mp4.Found || len(s.mp4.AudioTracks()) != 1 {
			t.Fatalf("%s: %+v, %v", name, s.mp4, err)
		}
		if got := s.mp4.AudioTracks()[0]; math.Abs(got.Seconds-2) > 0.03 || got.Encrypted || s.mp4.Track(got.ID) != got {
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
	nested := []byte("\x00\x00\x00\x08free")
	for _, kind := range []string{"mdia", "mdia", "mdia", "mdia", "trak", "moov"} {
		nested = append(append(binary.BigEndian.AppendUint32(nil, uint32(len(nested)+8)), kind...), nested...)
	}
	f.Add(nested)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if s.size < 0 || s.last < 0 || s.mp4 != nil && s.mp4.End < 0 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestParseDump(t *testing.T) {
	info := parseDump(`ffmpeg version 7.1.5-0+deb13u1 Copyright (c) 2000-2026
Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:x':
  Duration: 01:02:03.50, start: -0.007000, bitrate: 130 kb/s
  Stream #0:0[0x1](und): Video: h264 (avc1 / 0x31637661), none, 64x48 (default)
  Stream #0:1[0x1a](und): Audio: aac (LC) (mp4a / 0x6134706D), 48000 Hz, 5.1(side), fltp, 69 kb/s
  Stream #0:2(ger): Audio: pcm_s16le, 96000 Hz, 12 channels, s16 (default)
  Stream #0:3: Audio: none, 44100 Hz, 7.1.4, fltp
Stream mapping:
  Stream #0:1 -> #0:0 (copy)
Output #0, ffmetadata, to 'pipe:':
  Stream #0:0: Audio: aac, 1 Hz, mono`)
	if info.FFmpeg != "7.1.5-0+deb13u1" || info.Container != "mov,mp4,m4a,3gp,3g2,mj2" || info.Seconds != 3723.5 || info.Start != -0.007 || info.streams != 4 {
		t.Errorf("got %+v", info)
	}
	want := []Track{
		{Codec: "aac", SampleRate: 48000, Channels: 6, kbps: 69, id: 0x1a},
		{Codec: "pcm_s16le", SampleRate: 96000, Channels: 12, Language: "ger", Default: true},
		{Codec: "none", SampleRate: 44100, Channels: 12},
	}
	if len(info.Tracks) != len(want) {
		t.Fatalf("got %+v", info.Tracks)
	}
	for i := range want {
		if info.Tracks[i] != want[i] {
			t.Errorf("track %d: got %+v, want %+v", i, info.Tracks[i], want[i])
		}
	}
}
