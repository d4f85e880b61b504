package media_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
)

// TestGapless: a player plays exactly the source's samples, from the first to
// the last.
func TestGapless(t *testing.T) {
	dir := t.TempDir()
	for _, rate := range []int{44100, 48000, 32000, 22050} {
		for channels := 1; channels <= 2; channels++ {
			for _, o := range []conversion.Options{{}, {BitrateKbps: 128}} {
				for _, samples := range []int{rate / 5, rate + 577} {
					name := fmt.Sprint(rate, "Hz-", channels, "-", o.BitrateKbps, "-", samples)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						path := filepath.Join(dir, name+".wav")
						mediatest.Audio(t, path, []string{rough, rough + "|" + rough}[channels-1], rate, samples)
						_, target, err := convert(t, path, o)
						if err != nil {
							t.Fatal(err)
						}
						wantAudio(t, target, mediatest.Samples(t, path))
					})
				}
			}
		}
	}
}

// TestGaplessSources: what containers say of an encoder's delay and padding is
// honoured.
func TestGaplessSources(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		rate int
		args []string
	}{
		{"aac.mp4", 44100, []string{"-c:a", "aac", "-b:a", "256k"}},
		{"aac.m4a", 48000, []string{"-c:a", "aac", "-b:a", "256k"}},
		{"aac.mov", 22050, []string{"-c:a", "aac", "-b:a", "128k"}},
		{"opus.mp4", 48000, []string{"-c:a", "libopus", "-b:a", "256k"}},
		{"opus.webm", 48000, []string{"-c:a", "libopus", "-b:a", "256k"}},
		{"opus.mkv", 48000, []string{"-c:a", "libopus", "-b:a", "256k"}},
		{"opus.ogg", 48000, []string{"-c:a", "libopus", "-b:a", "256k"}},
		{"vorbis.ogg", 44100, []string{"-c:a", "libvorbis", "-b:a", "256k"}},
		{"flac.mkv", 44100, []string{"-c:a", "flac"}},
		{"alac.m4a", 44100, []string{"-c:a", "alac"}},
		{"pcm.mov", 48000, []string{"-c:a", "pcm_s24le"}},
		{"lame.mp3", 44100, []string{"-c:a", "libmp3lame", "-b:a", "320k"}},
		{"lame.mp4", 44100, []string{"-c:a", "libmp3lame", "-b:a", "320k"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			samples := tt.rate + 333
			wav, path := filepath.Join(dir, tt.name+".wav"), filepath.Join(dir, tt.name)
			mediatest.Audio(t, wav, rough+"|"+rough, tt.rate, samples)
			if err := mediatest.Make(t.Context(), dir, append(append([]string{"-i", wav}, tt.args...), path)...); err != nil {
				t.Fatal(err)
			}
			_, target, err := convert(t, path, conversion.Options{VBRQuality: new(0)})
			if err != nil {
				t.Fatal(err)
			}
			wantAudio(t, target, mediatest.Samples(t, wav))
		})
	}
}

// TestEditedEnd: a movie cut in an editor keeps the media behind the cut.
func TestEditedEnd(t *testing.T) {
	dir := t.TempDir()
	wav, whole, cut := filepath.Join(dir, "in.wav"), filepath.Join(dir, "whole.mov"), filepath.Join(dir, "cut.mov")
	mediatest.Audio(t, wav, rough, 48000, 3*48000)
	for _, args := range [][]string{{"-i", wav, "-c:a", "aac", "-b:a", "192k", whole}, {"-i", whole, "-c", "copy", cut}} {
		if err := mediatest.Make(t.Context(), dir, args...); err != nil {
			t.Fatal(err)
		}
	}
	mediatest.CutEdit(t, cut, 1500) // the movie's clock ticks in milliseconds
	_, target, err := convert(t, cut, conversion.Options{VBRQuality: new(0)})
	if err != nil {
		t.Fatal(err)
	}
	wantAudio(t, target, [][]float64{mediatest.Samples(t, wav)[0][:72000]})
}

// TestHour: delay and padding hold over an hour, and so does the length.
func TestHour(t *testing.T) {
	t.Parallel()
	const rate, samples = 22050, 3600*22050 + 77
	path := filepath.Join(t.TempDir(), "in.flac")
	in := []string{"-f", "lavfi", "-i", fmt.Sprintf("anullsrc=r=%d:cl=mono,atrim=end_sample=%d", rate, samples), path}
	if err := mediatest.Make(t.Context(), filepath.Dir(path), in...); err != nil {
		t.Fatal(err)
	}
	e, target, err := convert(t, path, conversion.Options{VBRQuality: new(9)})
	if err != nil {
		t.Fatal(err)
	}
	if e.MP3.Duration != float64(samples)/rate {
		t.Errorf("recorded as %v s", e.MP3.Duration)
	}
	if got := mediatest.Count(t, target); got != samples {
		t.Errorf("%d samples, want %d", got, samples)
	}
}
