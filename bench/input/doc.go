// Package input makes the videos that are measured, and keeps them in a cache.
//
// The content of a picture does not matter here, since nobody decodes it. Its
// size does, and so does the place of the audio between the pictures. So ffmpeg
// makes a small video, and its pictures are filled up to the size that a bit
// rate asks for. The audio is real: noise and tones that make work for an
// encoder.
package input

import "os"

// Facts is what an MP4's index says.
type Facts struct {
	Size  int64 // of the file
	Index int64 // of its moov
	Audio int64 // of the samples of its audio tracks
}

// Measure reads the index of an MP4.
func Measure(path string) (Facts, error) {
	f, err := os.Open(path)
	if err != nil {
		return Facts{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Facts{}, err
	}
	m, err := readMovie(f, info.Size())
	if err != nil {
		return Facts{}, err
	}
	facts := Facts{Size: info.Size(), Index: int64(len(m.moov))}
	for _, t := range m.tracks {
		if t.kind == "soun" {
			facts.Audio += t.bytes()
		}
	}
	return facts, nil
}
