package media

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"tonearm/internal/media/ffmpeg"
)

// FFmpeg makes MP3s with an ffmpeg. It may be used by several goroutines.
type FFmpeg struct {
	ffmpeg.Program
	Source Growing // the source of Probe and Encode while its file grows; nil if it is complete
}

const probeTimeout = 2 * time.Minute

// run runs ffmpeg on a local file. It may try the formats and open the decoders of
// audio, unless the command names others. A source that still grows comes through a
// pipe if the run may play it so; otherwise the run waits until it is whole.
func (ff FFmpeg) run(ctx context.Context, path string, mayPipe bool, c ffmpeg.Command) (ffmpeg.Outcome, error) {
	c.Input = ffmpeg.File(path)
	if ff.Source != nil && path == ff.Source.Path() {
		if mayPipe {
			c.Input, c.Dir = ffmpeg.Stream(ff.Source.Follow()), filepath.Dir(path)
		} else if err := ff.Source.Whole(ctx); err != nil {
			return ffmpeg.Outcome{}, fmt.Errorf("read the source: %w", err)
		}
	}
	c.Formats = formatWhitelist()
	if c.Decoders == "" {
		c.Decoders = decoderWhitelist()
	}
	return ff.Run(ctx, c)
}
