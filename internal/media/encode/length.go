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
	sampled   = 0.002 // of a count of samples that a decoder plays: the resampler rounds
	exactly   = 0.05  // of a track's own promise otherwise
	roughly   = 0.5   // of a container's: the picture's last frame may have no duration
	concealed = 0.25  // of packets that gave no audio, such as priming, padding or a click
)

// Length is the result of the comparison with the promise.
type Length struct {
	Checked  bool
	Promised float64 // seconds of the chosen track, 0 where nothing is promised
}

// checkLength compares the seconds that a decoder plays of the MP3 with those
// that the source promised within the trim. It returns an *unfit.Error where audio is
// missing.
func (j *job) checkLength(ctx context.Context, played float64) (Length, error) {
	t, promised := j.plan.Track, j.plan.Promised()
	checked := Length{Checked: true, Promised: t.Seconds}
	if j.plan.Untrimmed() && math.Abs(played-t.Seconds) > roughly { // too little was promised, or another clock counted
		checked.Promised = played
	}
	switch {
	case t.Seconds == 0:
		return Length{}, nil
	case promised == 0 && !t.Exact, // the sound goes on where it should have ended
		j.info.Torn && !t.Own && played > promised+exactly: // so it does, and bytes are missing
		if j.plan.End == 0 || played < j.plan.End-j.plan.Start-exactly {
			return Length{}, nil
		}
	case played < promised-j.tolerance():
		d, err := j.demux(ctx)
		if err != nil {
			return Length{}, fmt.Errorf("check the length: %w", err)
		}
		if checked, err = j.judge(ctx, d, played); err != nil {
			return Length{}, err
		}
	}
	if t.Open {
		return Length{}, nil
	}
	return checked, nil
}

// tolerance is how much of a promise may be missing.
func (j *job) tolerance() float64 {
	if j.plan.Counted() {
		return sampled
	}
	return exactly
}

// judge says whether the packets are there that the source promised within the
// trim, and whether they can be decoded.
func (j *job) judge(ctx context.Context, d *demuxed, played float64) (Length, error) {
	track, t := d.track(), j.plan.Track
	there := j.there(d)
	if there == no {
		code := conversion.CodeTruncated
		if t.Exact && !j.info.Cut {
			code = conversion.CodeDamaged
		}
		return Length{}, j.endsEarly(code, played)
	}
	heard, err := j.decode(ctx, d)
	if err != nil {
		return Length{}, fmt.Errorf("look for lost packets: %w", err)
	}
	lost, usual := heard.without(track)
	switch {
	case t.Own && !t.Exact && heard.end-heard.start < j.plan.Promised()-j.tolerance(): // the last packet is cut
		return Length{}, j.endsEarly(conversion.CodeTruncated, played)
	case lost > math.Max(concealed, math.Min(4*usual, roughly)):
		return Length{}, unfit.New(conversion.CodeDamaged, "Only %s of the %s of sound can be decoded.", unfit.About(played), unfit.About(played+lost))
	case there == unknown:
		return Length{}, nil
	case !j.plan.Untrimmed():
		return Length{Checked: true, Promised: t.Seconds}, nil
	case t.Exact: // the time table counts other seconds than the packets hold, or it leaves pauses
		return Length{Checked: true, Promised: math.Max(played, math.Min(t.Seconds, track.seconds))}, nil
	}
	return Length{Checked: true, Promised: track.end - track.start}, nil // we know the audio's own length only from the packets
}

func (j *job) endsEarly(code conversion.Code, played float64) error {
	return unfit.New(code, "The sound ends after %s, but the file says that it lasts %s. The file was cut off or is damaged.",
		unfit.About(j.plan.Start+played), unfit.About(j.plan.Track.Seconds))
}

// answer is what can be told.
type answer int

const (
	no answer = iota
	yes
	unknown
)

// there says whether the packets reach as far as the source promised. What the
// container says of all its streams may be too much: it counts only if there is no
// sign that the file is whole.
func (j *job) there(d *demuxed) answer {
	track, t := d.track(), j.plan.Track
	ends := t.Seconds
	if j.plan.End > 0 {
		ends = min(ends, j.plan.End)
	}
	reached := math.Max(j.info.Last, d.end+math.Max(0, j.info.Start))
	promised := j.plan.Promised()
	if t.Pieces != nil {
		promised = t.Media
	}
	switch {
	case t.Own && track.end-track.start < promised-j.tolerance():
		return no
	case t.Own || j.info.Whole:
		return yes
	case j.plan.End > 0 && track.last >= j.plan.End: // a pause within the trim
		return yes
	case j.info.Torn: // whatever the other streams have
		return no
	case reached >= ends-roughly:
		return yes
	case j.info.Container == "flv", d.audioOnly: // the metadata are another file's, or nobody can tell where the other streams end
		return unknown
	}
	return no
}

// measure finds out how long the track is before it is refused for what the
// container says of all streams together.
func (j *job) measure(ctx context.Context) error {
	d := &demuxed{clock: j.plan.Clock}
	if _, err := j.readPackets(ctx, d, copied, []string{"-map", j.plan.Stream()}); err != nil {
		return fmt.Errorf("measure the track: %w", err)
	}
	track := d.track()
	j.plan.Track.Seconds = track.seconds
	if track.seconds == 0 {
		j.plan.Track.Seconds = track.last - track.first
	}
	return j.withinLimits()
}

// judgeNothing says why there is no audio at all within a trim: the track ends
// before, or it cannot be decoded.
func (j *job) judgeNothing(ctx context.Context, o ffmpeg.Outcome) error {
	d, err := j.demux(ctx)
	if err != nil {
		return fmt.Errorf("look for the audio: %w", err)
	}
	if _, err := j.judge(ctx, d, 0); err != nil && j.plan.Track.Seconds > 0 {
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
