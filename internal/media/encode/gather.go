package encode

import (
	"context"
	"fmt"
	"os"

	"tonearm/internal/media/mp3"
	"tonearm/internal/media/probe"
)

// count reads the frames of an MP3 file once the whole of it is there. If its header
// counts other frames than there are, although all bytes are there, the frames tell
// its length.
func (j *job) count(ctx context.Context) error {
	if j.info.Container != "mp3" || j.plan.Track.Codec != "mp3" {
		return nil
	}
	source, err := j.in.Open(ctx)
	if err != nil {
		return fmt.Errorf("count the frames: %w", err)
	}
	defer source.Close()
	found, err := mp3.Find(source, j.info.Size)
	if err != nil {
		return fmt.Errorf("count the frames: %w", err)
	}
	j.found = found
	if found.Miscounted && j.plan.Track.Own {
		j.plan.Track.Seconds = found.Seconds
		j.info.Tracks[j.plan.Index].Seconds = found.Seconds
	}
	return nil
}

// gather lets ffmpeg read the frames from a file of their own where it must: it takes
// what stands between two frames for a part of the first one, which it cannot decode
// then, and it leaves out samples where a header says that the last ones are. What is
// hardly an MP3 is left to ffmpeg.
func (j *job) gather() error {
	f := j.found
	if f.Tags+f.Junk == 0 && !f.Miscounted || f.Frames == 0 || f.Junk > j.info.Size/2 {
		return nil
	}
	source, err := os.Open(j.in.Path)
	if err != nil {
		return fmt.Errorf("gather the frames: %w", err)
	}
	defer source.Close()
	out, err := os.Create(j.gathered())
	if err != nil {
		return fmt.Errorf("gather the frames: %w", err)
	}
	count := int64(-1) // the header may count the first ones of several
	if f.Miscounted {
		count = f.Frames
	}
	if err := closing(out, mp3.Gather(out, source, j.info.Size, count)); err != nil {
		return fmt.Errorf("gather the frames: %w", err)
	}
	in, err := probe.Open(j.in.Program, j.gathered())
	if err != nil {
		return err
	}
	j.in, j.found = in, mp3.Found{}
	return nil
}

func (j *job) gathered() string { return j.spec.Frames + ".mp3" }
