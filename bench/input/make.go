package input

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// version is a part of every file's name. Raise it when the code that makes the
// files changes.
const version = "v1"

const (
	pictureRate = 25  // pictures a second
	cameraChunk = 0.5 // seconds
)

// Folder keeps the videos that were made, below the folder of the cache.
type Folder struct {
	dir   string
	audio int // seconds of audio that are made; a longer file repeats them
}

// Open returns the folder, which it makes if it is missing.
func Open(cache string) (Folder, error) {
	dir, err := filepath.Abs(filepath.Join(cache, "bench"))
	if err != nil {
		return Folder{}, err
	}
	return Folder{dir, 300}, os.MkdirAll(dir, 0o750)
}

// MP4 returns a video of mbit Mbit/s, not counting audio, with the index first.
// Its tracks alternate every half second, as cameras write them; if camera is
// false they alternate as finely as ffmpeg writes them.
func (f Folder) MP4(ctx context.Context, seconds, mbit int, camera bool) (string, error) {
	picture := int64(mbit) * 1e6 / 8 / pictureRate
	cam := fmt.Sprintf("%ds-%dm-cam.mp4", seconds, mbit)
	if camera {
		return f.shaped(ctx, cam, seconds, shape{chunk: cameraChunk, picture: picture})
	}
	return f.made(fmt.Sprintf("%ds-%dm-default.mp4", seconds, mbit), func(path string) error {
		from, err := f.MP4(ctx, seconds, mbit, true)
		if err != nil {
			return err
		}
		return ffmpeg(ctx, "-i", from, "-map 0 -c copy -movflags +faststart", path)
	})
}

// TS returns the same video in an MPEG transport stream.
func (f Folder) TS(ctx context.Context, seconds, mbit int) (string, error) {
	return f.made(fmt.Sprintf("%ds-%dm.ts", seconds, mbit), func(path string) error {
		from, err := f.MP4(ctx, seconds, mbit, true)
		if err != nil {
			return err
		}
		return ffmpeg(ctx, "-i", from, "-map 0 -c copy", path)
	})
}

// WebM returns a WebM file with VP8 and Opus.
func (f Folder) WebM(ctx context.Context, seconds, mbit int) (string, error) {
	return f.made(fmt.Sprintf("%ds-%dm.webm", seconds, mbit), func(path string) error {
		pictures, err := f.made(fmt.Sprintf("%dm-pictures.webm", mbit), func(path string) error {
			return ffmpeg(ctx, "-f lavfi -i testsrc2=size=640x360:rate=25:duration=10,noise=alls=80:allf=t -c:v libvpx -deadline realtime -cpu-used 16 -g 50",
				fmt.Sprintf("-b:v %dM -minrate %dM -maxrate %dM -bufsize %dM", mbit, mbit, mbit, mbit), path)
		})
		if err != nil {
			return err
		}
		audio, err := f.hum(ctx, "sound.webm", "-c:a libopus -b:a 128k")
		if err != nil {
			return err
		}
		return loop(ctx, pictures, audio, seconds, path)
	})
}

// Audio returns an MP4 with audio alone.
func (f Folder) Audio(ctx context.Context, seconds int) (string, error) {
	return f.made(fmt.Sprintf("%ds-sound.mp4", seconds), func(path string) error {
		from, err := f.hum(ctx, "sound.mp4", "-c:a aac -b:a 128k")
		if err != nil {
			return err
		}
		return ffmpeg(ctx, "-stream_loop -1 -i", from, "-c copy -movflags +faststart -t", fmt.Sprint(seconds), path)
	})
}

// Clip returns a clip of five seconds: small pictures and a tone.
func (f Folder) Clip(ctx context.Context) (string, error) {
	return f.made("clip.mp4", func(path string) error {
		return ffmpeg(ctx, "-f lavfi -i", "testsrc2=size=320x180:rate=25", "-f lavfi -i", "sine=frequency=440:sample_rate=48000",
			"-t 5 -c:v mpeg4 -c:a aac -b:a 128k", path)
	})
}

// Huge returns an MP4 of about size bytes. Nearly all of them are holes, which
// take no disk space.
func (f Folder) Huge(ctx context.Context, seconds int, size int64) (string, error) {
	return f.shaped(ctx, fmt.Sprintf("%ds-%dg-hollow.mp4", seconds, size>>30), seconds,
		shape{chunk: cameraChunk, picture: size / int64(seconds*pictureRate), hollow: true})
}

// shaped makes a video of a shape from a small one.
func (f Folder) shaped(ctx context.Context, name string, seconds int, s shape) (string, error) {
	return f.made(name, func(path string) (err error) {
		small, err := f.small(ctx, seconds)
		if err != nil {
			return err
		}
		from, err := os.Open(small)
		if err != nil {
			return err
		}
		defer func() { _ = from.Close() }()
		to, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, to.Close()) }()
		return reshape(from, to, s)
	})
}

// small returns a video whose pictures take almost no space.
func (f Folder) small(ctx context.Context, seconds int) (string, error) {
	return f.made(fmt.Sprintf("%ds-small.mp4", seconds), func(path string) error {
		pictures, err := f.made("pictures.mp4", func(path string) error {
			return ffmpeg(ctx, fmt.Sprintf("-f lavfi -i testsrc2=size=320x180:rate=%d:duration=10", pictureRate),
				"-c:v libx264 -preset ultrafast -crf 40 -g 50 -bf 0", path)
		})
		if err != nil {
			return err
		}
		audio, err := f.hum(ctx, "sound.mp4", "-c:a aac -b:a 128k")
		if err != nil {
			return err
		}
		return loop(ctx, pictures, audio, seconds, path)
	})
}

// hum returns audio that costs an encoder about as much as music does: tones
// that swell over noise, in two different channels.
func (f Folder) hum(ctx context.Context, name, codec string) (string, error) {
	const graph = "anoisesrc=color=pink:amplitude=0.25:sample_rate=48000:seed=1[noise];" +
		"sine=frequency=220:beep_factor=4:sample_rate=48000,tremolo=f=0.5:d=0.8[low];" +
		"sine=frequency=1330:sample_rate=48000,tremolo=f=3:d=0.9[high];" +
		"[noise]asplit[n1][n2];[n1][low]amix[left];[n2][high]amix[right];[left][right]join=inputs=2:channel_layout=stereo"
	return f.made(fmt.Sprintf("%ds-%s", f.audio, name), func(path string) error {
		return ffmpeg(ctx, "-f lavfi -i", graph, codec, "-t", fmt.Sprint(f.audio), path)
	})
}

// loop repeats pictures and audio until they are long enough.
func loop(ctx context.Context, pictures, audio string, seconds int, path string) error {
	return ffmpeg(ctx, "-stream_loop -1 -i", pictures, "-stream_loop -1 -i", audio,
		"-map 0:v -map 1:a -c copy -t", fmt.Sprint(seconds), path)
}

// made returns the path of a file in the folder. If the file is missing, build
// makes it.
func (f Folder) made(name string, build func(path string) error) (string, error) {
	path := filepath.Join(f.dir, version+"-"+name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	dir, err := os.MkdirTemp(f.dir, "making-") // on the same disk, so that a rename is enough
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	unfinished := filepath.Join(dir, name)
	if err := build(unfinished); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	return path, os.Rename(unfinished, path)
}

// ffmpeg runs ffmpeg. Every second one of args may hold several words, none of
// them with spaces.
func ffmpeg(ctx context.Context, args ...string) error {
	words := strings.Fields("-nostdin -v error -y " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "ffmpeg", words...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ffmpeg %s: %w: %s", strings.Join(words, " "), err, stderr.String())
	}
	return nil
}
