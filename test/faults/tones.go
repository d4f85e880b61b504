package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
)

// tone is a file that is uploaded, and what must come of it.
type tone struct {
	name string
	path string
	size int64
	want conversion.Code // "" for an MP3
	sum  string          // of that MP3: SHA-256 in hex; "" until a quiet world has made it
}

// tones are made once, in the cache. version is a part of the folder's name:
// raise it with each change of what is made.
const toneVersion = "v1"

// The files, by name: what ffmpeg makes them of.
var recipes = []struct {
	name string
	args []string
	want conversion.Code
}{
	{"low.mp4", []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2", "-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=2"}, ""},
	{"middle.mp4", []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=3", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=3"}, ""},
	{"high.mp4", []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", "-f", "lavfi", "-i", "sine=frequency=880:sample_rate=48000:duration=1"}, ""},
	{"silent.mp4", []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", "-an"}, conversion.CodeNoAudio},
	// Matroska is written to the local disk while it is read.
	{"spooled.mkv", []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2", "-f", "lavfi", "-i", "sine=frequency=550:sample_rate=48000:duration=2"}, ""},
}

// makeTones returns the files, which it makes if they are missing.
func makeTones(ctx context.Context, cache string) (map[string]*tone, error) {
	dir := filepath.Join(cache, "faults", toneVersion)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	tones := map[string]*tone{}
	for _, r := range recipes {
		path := filepath.Join(dir, r.name)
		if _, err := os.Stat(path); err != nil {
			part := "part-" + r.name
			if err := mediatest.Make(ctx, dir, append(append([]string(nil), r.args...), part)...); err != nil {
				return nil, err
			}
			if err := os.Rename(filepath.Join(dir, part), path); err != nil {
				return nil, err
			}
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		tones[r.name] = &tone{name: r.name, path: path, size: info.Size(), want: r.want}
	}
	return tones, nil
}

// mix is the order in which a cell uploads them.
var mix = []string{"low.mp4", "middle.mp4", "high.mp4", "silent.mp4", "spooled.mkv"}

// quiet converts each file without any fault and notes the sums of the MP3s.
func quiet(ctx context.Context, p *programs, tones map[string]*tone) error {
	w, err := openWorld(ctx, p, nil, 0)
	if err != nil {
		return fmt.Errorf("quiet world: %w", err)
	}
	defer w.close()
	r := &run{world: w, cell: cell{tune: tune{files: len(mix)}}, tones: tones}
	r.begin(ctx)
	r.patient(ctx, settlePatience, 0)
	for _, u := range r.uploads {
		d, ok := r.seen.document(u.key)
		if !ok || d.Error == nil && d.State != conversion.Done || d.Error != nil && d.Error.Code != u.tone.want {
			return fmt.Errorf("quiet world: %s is not right: %s", u.tone.name, d.State)
		}
		u.tone.sum = r.seen.sums[d.MP3.Key]
	}
	return nil
}
