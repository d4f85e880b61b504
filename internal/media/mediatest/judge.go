package mediatest

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// Result is what became of an input.
type Result struct {
	Path    string // of the MP3
	MP3     conversion.MP3
	Source  conversion.Source
	Code    conversion.Code // of a refusal
	Message string          // of the refusal
	Err     error           // neither MP3 nor refusal
}

// Convert converts the file at path, whose name was filename.
type Convert func(ctx context.Context, path, filename string, o conversion.Options) Result

// Judge says what is wrong with a result, one sentence for each fault; nothing
// if it is right.
func (w Want) Judge(t testing.TB, r Result) []string {
	t.Helper()
	faults := w.judge(t, r)
	if w.Or != nil && len(faults) > 0 {
		if other := w.Or.judge(t, r); len(other) < len(faults) {
			return other
		}
	}
	return faults
}

func (w Want) judge(t testing.TB, r Result) []string {
	switch {
	case r.Err != nil:
		return []string{"neither an MP3 nor a refusal: " + r.Err.Error()}
	case w.Code == "" && r.Code != "":
		return []string{fmt.Sprintf("refused as %s (%s)", r.Code, r.Message)}
	case w.Code != "" && r.Code == "":
		return []string{fmt.Sprintf("converted to %.3f s, expected the refusal %s", r.MP3.Duration, w.Code)}
	case w.Code != r.Code:
		return []string{fmt.Sprintf("refused as %s (%s), expected %s", r.Code, r.Message, w.Code)}
	case w.Code != "":
		var faults []string
		for _, word := range w.Says {
			if !strings.Contains(r.Message, word) {
				faults = append(faults, fmt.Sprintf("the refusal says %q and not %q", r.Message, word))
			}
		}
		return faults
	}
	s, err := Listen(t.Context(), r.Path)
	if err != nil {
		return []string{err.Error()}
	}
	faults := append(w.judgeLength(s, r), w.judgeSound(s)...)
	faults = append(faults, w.judgeRecord(r)...)
	faults = append(faults, w.judgeLoudness(t, r)...)
	return append(faults, w.judgeTags(t, r)...)
}

// Sound is decoded audio.
type Sound struct {
	Rate     int
	Channels [][]float32
}

// Samples is its length.
func (s Sound) Samples() int { return len(s.Channels[0]) }

// Seconds is its length.
func (s Sound) Seconds() float64 { return float64(s.Samples()) / float64(s.Rate) }

// Listen decodes an audio file with the installed ffmpeg, as a player would.
func Listen(ctx context.Context, path string) (Sound, error) {
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", "file:"+path, "-c:a", "pcm_f32le", "-f", "wav", "-bitexact", "pipe:1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		return Sound{}, fmt.Errorf("decode %s: %w: %s", path, err, stderr.String())
	}
	if stderr.Len() > 0 {
		return Sound{}, fmt.Errorf("decode %s: %s", path, stderr.String())
	}
	var s Sound
	for at := 12; at+8 <= len(b); {
		id, size := string(b[at:at+4]), int(binary.LittleEndian.Uint32(b[at+4:]))
		at += 8
		switch id {
		case "fmt ":
			s.Channels = make([][]float32, binary.LittleEndian.Uint16(b[at+2:]))
			s.Rate = int(binary.LittleEndian.Uint32(b[at+4:]))
		case "data": // to the end: a pipe's header does not know its size
			n := len(s.Channels)
			frames := (len(b) - at) / 4 / n
			for c := range s.Channels {
				s.Channels[c] = make([]float32, frames)
				for i := range frames {
					s.Channels[c][i] = math.Float32frombits(binary.LittleEndian.Uint32(b[at+4*(i*n+c):]))
				}
			}
			return s, nil
		}
		at += size
	}
	return Sound{}, fmt.Errorf("decode %s: nothing is heard", path)
}

func (w Want) judgeLength(s Sound, r Result) []string {
	var faults []string
	if math.Abs(r.MP3.Duration-s.Seconds()) > 0.001 {
		faults = append(faults, fmt.Sprintf("the record says %.4f s, a decoder plays %.4f s", r.MP3.Duration, s.Seconds()))
	}
	if w.Rate != 0 && s.Rate != w.Rate {
		faults = append(faults, fmt.Sprintf("%d Hz, expected %d", s.Rate, w.Rate))
	}
	if w.Channels != 0 && len(s.Channels) != w.Channels {
		faults = append(faults, fmt.Sprintf("%d channels, expected %d", len(s.Channels), w.Channels))
	}
	within := max(cmp.Or(w.Within, DefaultWithin), 1.01/float64(s.Rate))
	switch {
	case w.Samples != 0 && s.Samples() != w.Samples:
		faults = append(faults, fmt.Sprintf("%d samples are heard (%.4f s), expected %d", s.Samples(), s.Seconds(), w.Samples))
	case w.Samples == 0 && w.Seconds != 0 && math.Abs(s.Seconds()-w.Seconds) > within:
		faults = append(faults, fmt.Sprintf("%.4f s are heard, expected %.4f", s.Seconds(), w.Seconds))
	}
	return faults
}

func (w Want) judgeRecord(r Result) []string {
	var faults []string
	if !w.Either && r.MP3.LengthChecked == w.Unchecked {
		faults = append(faults, fmt.Sprintf("length_checked is %v", r.MP3.LengthChecked))
	}
	lasts := cmp.Or(w.Lasts, w.Seconds)
	if s := r.Source.Duration; r.MP3.LengthChecked && !w.trimmed && lasts > 0 && math.Abs(s-lasts) > max(0.15, w.Within) {
		faults = append(faults, fmt.Sprintf("the source's duration is recorded as %.3f s, expected %.3f", s, lasts))
	}
	has := map[conversion.NoteCode]bool{}
	for _, n := range r.MP3.Notes {
		has[n.Code] = true
	}
	for _, code := range w.Notes {
		if !has[code] {
			faults = append(faults, fmt.Sprintf("the note %s is missing", code))
		}
	}
	for _, code := range w.NoNotes {
		if has[code] {
			faults = append(faults, fmt.Sprintf("the note %s is false", code))
		}
	}
	if len(w.Silent) > 0 {
		b, err := os.ReadFile(r.Path)
		if err != nil {
			return append(faults, err.Error())
		}
		for _, text := range w.Silent {
			if strings.Contains(string(b), text) {
				faults = append(faults, fmt.Sprintf("the MP3 tells %q", text))
			}
		}
	}
	return faults
}

// judgeLoudness measures the MP3 where a loudness was asked for. It must be
// right to half a unit, unless the record says that it was missed.
func (w Want) judgeLoudness(t testing.TB, r Result) []string {
	if w.LUFS == 0 {
		return nil
	}
	for _, n := range r.MP3.Notes {
		if n.Code == conversion.NoteLoudnessOff {
			return []string{"the loudness was not reached: " + n.Message}
		}
	}
	if lufs, _ := Loudness(t, r.Path); math.Abs(lufs-w.LUFS) > 0.5 {
		return []string{fmt.Sprintf("%.1f LUFS, expected %.1f", lufs, w.LUFS)}
	}
	return nil
}
