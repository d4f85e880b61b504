package media_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/mediatest"
)

// packets makes a tone and returns its AAC packets, each with an ADTS header.
func packets(t *testing.T, rate, channels string) [][]byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tone.aac")
	if err := mediatest.Make(t.Context(), ".", "-f", "lavfi", "-i", "sine=440:r="+rate+":d=5", "-ac", channels, "-c:a", "aac", path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for len(b) > 7 {
		n := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
		all, b = append(all, b[:n]), b[n:]
	}
	return all
}

// made converts a stream of these packets.
func made(t *testing.T, stream [][]byte, o conversion.Options) (media.Encoded, string, error) {
	t.Helper()
	path, target := filepath.Join(t.TempDir(), "in.aac"), filepath.Join(t.TempDir(), "out.mp3")
	if err := os.WriteFile(path, bytes.Join(stream, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := convertWith(t.Context(), underTest(t), path, media.Spec{Target: target, Options: o})
	return e, target, err
}

// TestChanges: wherever the sample rate and the channels of a source change, the MP3
// has every sample, and the record says where they changed.
func TestChanges(t *testing.T) {
	low, high, lowest := packets(t, "44100", "2"), packets(t, "48000", "1"), packets(t, "8000", "1")
	const l, h = 1024.0 / 44100, 1024.0 / 48000 // seconds of a packet
	tests := []struct {
		name           string
		stream         [][]byte
		options        conversion.Options
		seconds        float64
		rate, channels int
		at             []float64 // of the changes
	}{
		{"in the last packet", slices.Concat(high[:100], low[:1]), conversion.Options{}, 100*h + l, 48000, 2, []float64{100 * h}},
		{"behind the first packet", slices.Concat(low[:1], high[:100]), conversion.Options{}, l + 100*h, 48000, 2, []float64{l}},
		{"for one packet", slices.Concat(high[:100], low[:1], high[100:200]), conversion.Options{}, 200*h + l, 48000, 2, []float64{100 * h, 100*h + l}},
		{"before the start", slices.Concat(low[:50], high[:200]), conversion.Options{Start: 2, End: 4}, 2, 48000, 1, nil},
		{"behind the end", slices.Concat(high[:200], low[:100]), conversion.Options{Start: 1, End: 2}, 1, 48000, 1, nil},
		{"within a trim", slices.Concat(high[:100], low[:100]), conversion.Options{Start: 1, End: 4}, 3, 48000, 2, []float64{100*h - 1}},
		{"in a trim that is open", slices.Concat(low[:100], high[:100]), conversion.Options{Start: 1}, 100*h + 100*l - 1, 48000, 2, []float64{100*l - 1}},
		{"where samples are few", slices.Concat(high[:100], lowest[:30]), conversion.Options{Start: 1, End: 4.00006}, 3.00006, 48000, 1, []float64{100*h - 1}},
		{"to a wanted rate", slices.Concat(low[:100], high[:100]), conversion.Options{SampleRateHz: 32000, Channels: 1}, 100*h + 100*l, 32000, 1, []float64{100 * l}},
		{
			"again and again", slices.Concat(low[:5], high[:20], low[5:10], high[20:40], low[10:15], high[40:60]), conversion.Options{}, 60*h + 15*l, 48000, 2,
			[]float64{5 * l, 5*l + 20*h, 10*l + 20*h, 0}, // and how often more
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, target, err := made(t, tt.stream, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			s, err := mediatest.Listen(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			if want := int(math.Round(tt.seconds * float64(tt.rate))); s.Rate != tt.rate || len(s.Channels) != tt.channels || s.Samples() != want {
				t.Errorf("%d Hz, %d channels, %d samples; want %d Hz, %d channels, %d samples", s.Rate, len(s.Channels), s.Samples(), tt.rate, tt.channels, want)
			}
			var at []float64
			for _, n := range e.MP3.Notes {
				if n.Code == conversion.NoteParametersChanged {
					at = append(at, n.At)
				}
			}
			if !slices.EqualFunc(at, tt.at, func(a, b float64) bool { return math.Abs(a-b) < 0.001 }) {
				t.Errorf("changes at %v, want %v: %v", at, tt.at, e.MP3.Notes)
			}
			first := map[byte]int{3: 48000, 4: 44100}[tt.stream[0][2]>>2&15]
			if e.Source.SampleRate != first {
				t.Errorf("the record says that the source has %d Hz, want %d", e.Source.SampleRate, first)
			}
		})
	}
}

// TestTooManyChanges: a source that changes all the time is refused before ffmpeg is
// started for each part of it.
func TestTooManyChanges(t *testing.T) {
	low, high := packets(t, "44100", "2"), packets(t, "48000", "1")
	var stream [][]byte
	for i := range 550 {
		stream = append(stream, low[i%len(low)], high[i%len(high)])
	}
	if _, _, err := made(t, stream, conversion.Options{}); codeOf(err) != conversion.CodeLimitExceeded || !strings.Contains(err.Error(), "1000 times") {
		t.Errorf("got %v", err)
	}
}

// TestChangeBeyondLimits: what no source may begin with, it may not become either.
func TestChangeBeyondLimits(t *testing.T) {
	low, high := packets(t, "48000", "2"), packets(t, "7350", "1")
	if _, _, err := made(t, slices.Concat(low, high), conversion.Options{}); codeOf(err) != conversion.CodeLimitExceeded {
		t.Errorf("got %v", err)
	}
}

// TestLostPackets: the record says how many packets could not be decoded, and where
// the first one was. Where the sound ends before the source, chance decides how many are
// tried behind that end, so they are not counted. What they leave is no pause of the
// source.
func TestLostPackets(t *testing.T) {
	stream := packets(t, "48000", "2")
	for _, i := range []int{100, 130} {
		clear(stream[i][7:]) // sound of a channel that is not there
	}
	raw, path := filepath.Join(t.TempDir(), "in.aac"), filepath.Join(t.TempDir(), "in.mkv")
	if err := os.WriteFile(raw, bytes.Join(stream, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mediatest.Make(t.Context(), ".", "-i", raw, "-c", "copy", path); err != nil {
		t.Fatal(err)
	}
	for _, o := range []conversion.Options{{}, {Start: 1, End: 3}, {Start: 3}} {
		e, err := convertWith(t.Context(), underTest(t), path, media.Spec{Target: filepath.Join(t.TempDir(), "out.mp3"), Options: o})
		if err != nil {
			t.Fatal(err)
		}
		at := max(0, 100*1024.0/48000-o.Start) // unknown where it is not in the MP3
		want := "2 packets of the sound could not be decoded."
		if o.End > 0 {
			want = "Packets of the sound could not be decoded."
		}
		i := slices.IndexFunc(e.MP3.Notes, func(n conversion.Note) bool { return n.Code == conversion.NotePacketsLost })
		if i < 0 || e.MP3.Notes[i].Message != want || math.Abs(e.MP3.Notes[i].At-at) > 0.003 {
			t.Errorf("%+v: notes %v", o, e.MP3.Notes)
		}
		if slices.Contains(codes(e.MP3.Notes), conversion.NoteGap) {
			t.Errorf("%+v: a pause: %v", o, e.MP3.Notes)
		}
	}
}
