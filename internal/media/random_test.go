package media_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
)

var (
	random = flag.Int("random", 3, "how many cuts, trims and programmes are drawn for each container")
	seed   = flag.Uint64("seed", 1, "of what is drawn")
)

// draw returns random numbers of their own for a name.
func draw(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(*seed, h.Sum64()))
}

// eachFile calls f for the file of each case.
func eachFile(t *testing.T, cases []mediatest.Case, f func(t *testing.T, c mediatest.Case, path string, rng *rand.Rand)) {
	if !wholeCorpus() {
		t.Skip("TONEARM_TEST_MEDIA is not set: make media-test")
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), c.Name)
			c.Make(t, path, &c.Want)
			f(t, c, path, draw(t.Name()))
		})
	}
}

// anyPart are the cases of which any part can be taken.
func anyPart() []mediatest.Case {
	var cases []mediatest.Case
	for _, c := range slices.Concat(mediatest.Plain(), mediatest.Cases()) {
		if c.Also&mediatest.AlsoTrim == 0 || c.Name == "chapters.ogg" { // a chapter without a title is named by its number
			continue
		}
		c.Want.Notes, c.Want.Channels = nil, 0 // they may be about what is left out
		cases = append(cases, c)
	}
	return cases
}

// cuttable are the cases that nothing but their container says the length of.
func cuttable() []mediatest.Case {
	cases := mediatest.Plain()
	for _, c := range mediatest.Cases() {
		switch {
		case c.Want.Code != "" || c.Want.Or != nil || c.Want.Seconds == 0 || c.Want.Seconds > 25:
		case c.Name == "joined.mp3" || c.Name == "mp3-rate-change.mp3": // the first of two whole files is whole
		case c.Name == "xing-too-few.mp3" || strings.HasPrefix(c.Name, "duration-short") && strings.HasSuffix(c.Name, ".flv"): // a part is all that is promised
		default:
			w := c.Want
			c.Want = mediatest.Want{Seconds: w.Seconds, Within: w.Within, Lasts: -1, Sound: w.Sound, Unchecked: w.Unchecked, Either: w.Either}
			cases = append(cases, c)
		}
	}
	return cases
}

// TestMediaCuts cuts files anywhere. What comes out is the whole sound or a
// refusal. Only where a container promises no length it may be the beginning,
// and the record says so.
func TestMediaCuts(t *testing.T) {
	eachFile(t, cuttable(), func(t *testing.T, c mediatest.Case, path string, rng *rand.Rand) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range *random {
			n := 1 + rng.IntN(len(content)-1)
			if rng.IntN(3) == 0 { // near the end, where it is hard to notice
				n = len(content) - 1 - rng.IntN(min(2000, len(content)-1))
			}
			cut := filepath.Join(t.TempDir(), "cut")
			if err := os.WriteFile(cut, content[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			way := ways[rng.IntN(len(ways))]
			r := way.convert(t)(t.Context(), cut, c.Name, conversion.Options{})
			for _, f := range judgeCut(t, c, r) {
				t.Errorf("%s, the first %d of %d bytes: %s", way.name, n, len(content), f)
			}
		}
	})
}

func judgeCut(t *testing.T, c mediatest.Case, r mediatest.Result) []string {
	allowed := []conversion.Code{conversion.CodeTruncated, conversion.CodeDamaged, conversion.CodeNotMedia, conversion.CodeNoAudio}
	if r.Code != "" {
		if !slices.Contains(allowed, r.Code) {
			return []string{fmt.Sprintf("refused as %s (%s)", r.Code, r.Message)}
		}
		return nil
	}
	w := c.Want
	ogg := slices.Contains([]string{".ogg", ".oga", ".opus", ".spx"}, filepath.Ext(c.Name))
	if r.Err == nil && !r.MP3.LengthChecked && (w.Unchecked || w.Either || ogg) {
		w.Seconds = 0 // the beginning is enough
	}
	w.Samples, w.Either, w.Unchecked = 0, w.Seconds == 0, false
	return w.Judge(t, r)
}

// TestMediaTrims trims files anywhere, also those whose parameters change or whose
// clocks are odd. The length is end − start, to a sample.
func TestMediaTrims(t *testing.T) {
	eachFile(t, anyPart(), func(t *testing.T, c mediatest.Case, path string, rng *rand.Rand) {
		for range *random {
			const early, late = 0.1, 0.2 // some decoders give nothing for the first packet; lengths may be rough
			length := 0.2 + rng.Float64()*(c.Want.Seconds-early-late-0.2)
			start := c.Want.At + early + rng.Float64()*(c.Want.Seconds-early-late-length)
			start, end := math.Round(start*1e6)/1e6, math.Round((start+length)*1e6)/1e6
			way := ways[rng.IntN(len(ways))]
			r := way.convert(t)(t.Context(), path, c.Name, conversion.Options{Start: start, End: end})
			for _, f := range c.Want.Trimmed(start, end).Judge(t, r) {
				t.Errorf("%s, %v to %v: %s", way.name, start, end, f)
			}
		}
	})
}

// TestMediaLoudness asks for a loudness of random programmes. If the record says
// that it was applied, it is right to half a unit.
func TestMediaLoudness(t *testing.T) {
	if !wholeCorpus() {
		t.Skip("TONEARM_TEST_MEDIA is not set: make media-test")
	}
	for i := range 4 * *random {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rng := draw(t.Name())
			path, about := programme(t, rng)
			if rng.IntN(3) == 0 {
				path, about = changing(t, rng)
			}
			target := math.Round((conversion.MinTargetLUFS+rng.Float64()*(conversion.MaxTargetLUFS-conversion.MinTargetLUFS))*10) / 10
			o := conversion.Options{Loudness: &conversion.Loudness{TargetLUFS: target}, Channels: rng.IntN(3)}
			r := ways[rng.IntN(len(ways))].convert(t)(t.Context(), path, filepath.Base(path), o)
			for _, n := range r.MP3.Notes {
				if n.Code == conversion.NoteLoudnessOff {
					return
				}
			}
			for _, f := range (mediatest.Want{LUFS: target, Either: true}).Judge(t, r) {
				t.Errorf("%s, %v LUFS: %s", about, target, f)
			}
		})
	}
}

// programme makes a file of some parts, loud and quiet, with tones and noise.
func programme(t *testing.T, rng *rand.Rand) (path, about string) {
	t.Helper()
	const rate = 48000
	channels := 1 + rng.IntN(2)
	var parts []string
	seconds := 0.0
	for range 2 + rng.IntN(5) {
		length := 0.5 + 3*rng.Float64()
		level := math.Pow(10, -2*rng.Float64()) // 0 to -40 dB
		wave := fmt.Sprintf("%.4f*sin(2*PI*%d*t)", level, 200+rng.IntN(3000))
		if rng.IntN(3) == 0 {
			wave = fmt.Sprintf("%.4f*(random(0)*2-1)", level)
		}
		parts = append(parts, fmt.Sprintf("between(t,%.3f,%.3f)*%s", seconds, seconds+length, wave))
		seconds += length
	}
	expression := strings.Join(parts, "+")
	if channels == 2 {
		expression += "|" + parts[0] + "+0.5*(" + strings.Join(parts[1:], "+") + ")"
	}
	path = filepath.Join(t.TempDir(), "programme"+[]string{".wav", ".flac", ".m4a", ".mka"}[rng.IntN(4)])
	mediatest.Audio(t, path, expression, rate, int(seconds*rate))
	return path, fmt.Sprintf("%s of %.1f s in %d channels", filepath.Base(path), seconds, channels)
}

// changing makes a stream of AAC of some parts, each with a sample rate, channels and a
// level of its own.
func changing(t *testing.T, rng *rand.Rand) (path, about string) {
	t.Helper()
	var all []byte
	for range 2 + rng.IntN(3) {
		rate, channels := []int{32000, 44100, 48000}[rng.IntN(3)], 1+rng.IntN(2)
		part := filepath.Join(t.TempDir(), "part.aac")
		wave := fmt.Sprintf("%.4f*sin(2*PI*%d*t)", math.Pow(10, -1.5*rng.Float64()), 200+rng.IntN(3000))
		mediatest.Audio(t, part, strings.TrimSuffix(strings.Repeat(wave+"|", channels), "|"), rate, int((1+2*rng.Float64())*float64(rate)))
		content, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
		about += fmt.Sprintf("%d Hz in %d channels, ", rate, channels)
	}
	path = filepath.Join(t.TempDir(), "programme.aac")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, about + "then the end"
}
