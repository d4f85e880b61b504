package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"tonearm/bench/input"
	"tonearm/bench/link"
	"tonearm/bench/results"
)

// encodedSeconds is how much audio shows what the encoder takes for an hour.
const encodedSeconds = 300

// floor adds to a figure what no program with this encoder can go below: the
// time that the fewest bytes take on the link, or the encoder's computing time
// on all cores, whichever is more.
func (l *lab) floor(ctx context.Context, f *results.Figure, place, path string) error {
	cpu, err := l.encoder(ctx, path)
	if err != nil {
		return err
	}
	encoder, wire := cpu/float64(runtime.NumCPU()), 0.0
	if kind, ok := links[place]; ok {
		bytes, err := fewest(path)
		if err != nil {
			return err
		}
		wire = float64(bytes) * 8 / (kind.profile.Rate * link.Payload)
	}
	f.Floor = results.Plain(max(encoder, wire), "s").Ours
	f.More = map[string]float64{"floor_encoder": results.Plain(encoder, "s").Ours, "floor_link": results.Plain(wire, "s").Ours}
	return nil
}

// fewest returns the fewest bytes of a video from which its audio can be made:
// of an MP4 the index and the audio, of others all.
func fewest(path string) (int64, error) {
	if filepath.Ext(path) == ".mp4" {
		facts, err := input.Measure(path)
		return facts.Index + facts.Audio, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// encoder returns the seconds of computing that the encoder alone takes for a
// video: Tonearm's ffmpeg with PCM as its source and no file as its target, one
// process for all of it. What the kernel does meanwhile, such as reading and
// switching between ffmpeg's threads, is not counted: an encoder need not cause
// it. It is the smaller of two, measured once for each video.
func (l *lab) encoder(ctx context.Context, path string) (float64, error) {
	if seconds, ok := l.encoders[path]; ok {
		return seconds, nil
	}
	format, err := pcmFormat(ctx, path)
	if err != nil {
		return 0, err
	}
	pcm := filepath.Join(l.scratch, "sound.f32")
	defer func() { _ = os.Remove(pcm) }()
	if _, err := timed(ctx, nil, l.ffmpeg, "-nostdin", "-v", "error", "-y", "-i", path, "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", pcm); err != nil {
		return 0, err
	}
	args := append(append([]string{"-nostdin", "-v", "error", "-y", "-f", "f32le"}, format...),
		"-i", pcm, "-c:a", "libmp3lame", "-q:a", "2", "-f", "mp3", os.DevNull)
	var least float64
	for i := range 2 {
		u, err := spend(ctx, nil, l.ffmpeg, args...)
		if err != nil {
			return 0, err
		}
		if i == 0 || u.user < least {
			least = u.user
		}
	}
	l.encoders[path] = least
	return least, nil
}

// pcmFormat returns ffmpeg's options for PCM of a video's audio.
func pcmFormat(ctx context.Context, path string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-select_streams", "a:0",
		"-show_entries", "stream=sample_rate,channels", "-of", "csv=p=0", path).Output()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", filepath.Base(path), err)
	}
	line, _, _ := strings.Cut(string(out), "\n") // a transport stream says it twice
	rate, channels, ok := strings.Cut(strings.Trim(line, ", \r"), ",")
	if !ok {
		return nil, fmt.Errorf("look at %s: got %q", filepath.Base(path), out)
	}
	return []string{"-ar", rate, "-ac", channels}, nil
}
