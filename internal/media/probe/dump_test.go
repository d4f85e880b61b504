package probe

import (
	"reflect"
	"testing"
)

func TestParseDump(t *testing.T) {
	info := parseDump(`ffmpeg version 7.1.5-0+deb13u1 Copyright (c) 2000-2026
Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:x':
  Duration: 01:02:03.50, start: -0.007000, bitrate: 130 kb/s
  Stream #0:0[0x1](und): Video: h264 (avc1 / 0x31637661), none, 64x48 (default)
  Stream #0:1[0x1a](und): Audio: aac (LC) (mp4a / 0x6134706D), 48000 Hz, 5.1(side), fltp, 69 kb/s
  Stream #0:2(ger): Audio: pcm_s16le, 96000 Hz, 12 channels, s16 (default)
  Stream #0:3: Audio: none, 44100 Hz, 7.1.4, fltp
  Stream #0:4: Audio: none (4[18][0][0] / 0x1234), 44100 Hz, mono, 705 kb/s
  Stream #0:5: Audio: none (zZq1 / 0x31715A7A), 44100 Hz, mono
Stream mapping:
  Stream #0:1 -> #0:0 (copy)
Output #0, ffmetadata, to 'pipe:':
  Stream #0:0: Audio: aac, 1 Hz, mono`)
	if info.FFmpeg != "7.1.5-0+deb13u1" || info.Container != "mov,mp4,m4a,3gp,3g2,mj2" || info.Seconds != 3723.5 || info.Start != -0.007 || info.Streams != 6 {
		t.Errorf("got %+v", info)
	}
	want := []Track{
		{Codec: "aac", SampleRate: 48000, Channels: 6, Kbps: 69, id: 0x1a},
		{Codec: "pcm_s16le", SampleRate: 96000, Channels: 12, Language: "ger", Default: true},
		{Codec: "none", SampleRate: 44100, Channels: 12},
		{Codec: "0x1234", SampleRate: 44100, Channels: 1, Kbps: 705},
		{Codec: "zZq1", SampleRate: 44100, Channels: 1},
	}
	if len(info.Tracks) != len(want) {
		t.Fatalf("got %+v", info.Tracks)
	}
	for i := range want {
		if !reflect.DeepEqual(info.Tracks[i], want[i]) {
			t.Errorf("track %d: got %+v, want %+v", i, info.Tracks[i], want[i])
		}
	}
}
