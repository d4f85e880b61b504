package encode

import (
	"context"
	"fmt"
	"math"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/unfit"
)

// Tolerances of the length, in seconds.
const (
	exactly   = 0.05 // of a track's own promise
	roughly   = 0.5  // of a container's: the picture's last frame may have no duration
	concealed = 0.25 // of packets that gave no audio, such as priming, padding or a click
)

// Length is the result of the comparison with the promise.
type Length struct {
	Checked  bool
	Promised float64 // seconds of the chosen track, 0 where nothing is promised
}

// checkLength compares the seconds that a decoder plays of the MP3 with those
// that the source promised within the trim. It returns an *unfit.Error where audio is
// missing.
func (j *Job) checkLength(ctx context.Context, played float64) (Length, error) {
	if j.plan.Track.Seconds == 0 {
		return Length{}, nil
	}
	if played >= j.plan.Promised()-exactly {
		return Length{Checked: true, Promised: j.plan.Track.Seconds}, nil
	}
	d, err := j.demux(ctx)
	if err != nil {
		return Length{}, fmt.Errorf("check the length: %w", err)
	}
	return j.judge(d, played)
}

// judge says whether the packets are there that the source promised within the
// trim, and whether they were decoded.
func (j *Job) judge(d *demuxed, played float64) (Length, error) {
	track, code := d.track(), conversion.CodeTruncated
	promised := j.plan.Track.Seconds
	ends := promised
	if j.plan.End > 0 {
		ends = min(ends, j.plan.End)
	}
	whole := math.Max(j.info.Last, d.end+math.Max(0, j.info.Start)) >= ends-roughly
	if j.plan.Track.Exact {
		whole = track.end-track.start >= j.plan.Promised()-exactly
		if !j.info.Cut {
			code = conversion.CodeDamaged
		}
	}
	switch {
	case !whole && d.audioOnly && j.info.Container != "flv":
		return Length{}, nil // nobody can tell where the other streams end
	case !whole:
		return Length{}, unfit.New(code, "The sound ends after %s, but the file says that it lasts %s. The file was cut off or is damaged.",
			unfit.About(j.plan.Start+played), unfit.About(promised))
	}
	if decodable := track.decodable(); played < decodable-math.Max(concealed, 4*track.usual()) {
		return Length{}, unfit.New(conversion.CodeDamaged, "Only %s of the %s of sound can be decoded.", unfit.About(played), unfit.About(decodable))
	}
	if !j.plan.Track.Exact && j.plan.Untrimmed() { // we know the audio's own length only from the packets
		promised = track.end - track.start
	}
	return Length{Checked: true, Promised: promised}, nil
}

// judgeNothing says why there is no audio at all within a trim: the track ends
// before, or it cannot be decoded.
func (j *Job) judgeNothing(ctx context.Context, o ffmpeg.Outcome) error {
	d, err := j.demux(ctx)
	if err != nil {
		return fmt.Errorf("look for the audio: %w", err)
	}
	if _, err := j.judge(d, 0); err != nil && j.plan.Track.Seconds > 0 {
		return err
	}
	switch track := d.track(); {
	case track.seconds > concealed:
		return unfit.Undecodable(j.plan.Track.Codec).Because(o.Tail())
	case track.last <= j.plan.Start+exactly:
		return j.plan.BeyondEnd(track.last)
	}
	return unfit.New(conversion.CodeInvalidOptions, "There is no sound between %s and %s.", unfit.Exact(j.plan.Start), unfit.Exact(j.plan.End))
}
