package encode

import (
	"context"
	"fmt"

	"tonearm/internal/media/mp3"
)

// Timeline says where in a track's sound a moment of the source is. Pauses in the
// source's time stamps are not in the sound. The zero value is a source that
// begins at once and has none.
type Timeline struct{ jumps []jump }

// At returns where in the sound of the whole track the moment is that a player's
// clock shows, in seconds. Within a pause that is the sound behind it.
func (t Timeline) At(seconds float64) float64 {
	at := seconds
	for i, j := range t.jumps {
		at = max(j.at, seconds-j.offset)
		if i+1 == len(t.jumps) || at < t.jumps[i+1].at {
			break
		}
	}
	return max(0, at)
}

// timeline is that of the track. It is called after run.
func (j *job) timeline(ctx context.Context) (Timeline, error) {
	if j.heard != nil {
		return Timeline{j.heard.jumps}, nil
	}
	rate := j.plan.Track.SampleRate // of MP3 that was copied: nothing has decoded it
	c := clock{heard: &heard{}}
	d := &demuxed{clock: j.plan.Clock, each: func(start float64) { c.next(rate, int64(mp3.FrameSamples(rate)), start) }}
	if _, err := j.readPackets(ctx, d, copied, []string{"-map", j.plan.Stream()}); err != nil {
		return Timeline{}, fmt.Errorf("read the time stamps: %w", err)
	}
	first := d.track().first
	if j.plan.Track.Exact { // what lies before is not played
		first = j.plan.Track.Start
	}
	return Timeline{c.heard.jumps}.from(max(0, first)), nil
}

// from is the timeline of the sound that is played from a moment on.
func (t Timeline) from(seconds float64) Timeline {
	early := t.At(seconds)
	for i := range t.jumps {
		t.jumps[i].at -= early
		t.jumps[i].offset += early
	}
	return t
}
