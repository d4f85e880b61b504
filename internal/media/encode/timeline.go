package encode

import (
	"context"
	"fmt"
	"math"
)

// Timeline says where in the MP3's sound a moment of the source is. Pauses in the
// source's time stamps are not in the sound. The zero value is a source that
// begins at once and has none.
type Timeline struct {
	stretches []stretch
}

// stretch is sound without a pause, on a player's clock and in the sound, all in
// seconds.
type stretch struct{ from, to, sound, end float64 }

const (
	// pause is the shortest pause: a greater step of the time stamps than
	// steadyClock accepts.
	pause = 0.02
	// maxStretches limits how much memory a hostile file can use. Behind them no
	// pauses are looked for.
	maxStretches = 100_000
)

// At returns where in the sound of the whole track the moment is that a player's
// clock shows. Within a pause that is the sound behind it.
func (t Timeline) At(seconds float64) float64 {
	if len(t.stretches) == 0 {
		return max(0, seconds)
	}
	for _, s := range t.stretches {
		switch {
		case seconds <= s.from:
			return s.sound
		case seconds < s.to:
			return s.sound + (seconds-s.from)*(s.end-s.sound)/(s.to-s.from)
		}
	}
	return t.stretches[len(t.stretches)-1].end
}

// Timeline reads the time stamps of the track's packets.
func (j *Job) Timeline(ctx context.Context) (Timeline, error) {
	c := clock{lasts: packetSamples[j.plan.Track.Codec], rate: float64(j.plan.Track.SampleRate), table: j.plan.Track.Exact}
	d := &demuxed{clock: j.plan.Clock, each: c.add}
	if _, err := j.readPackets(ctx, d, copied, []string{"-map", j.plan.Stream()}); err != nil {
		return Timeline{}, fmt.Errorf("read the time stamps: %w", err)
	}
	begins := max(0, d.track().first)
	if j.plan.Track.Exact {
		begins = j.plan.Track.Start
	}
	return c.timeline(begins), nil
}

// packetSamples are how many samples a packet has, for codecs whose packets are
// all alike in a stream: ISO/IEC 14496-3, 4.5.1.1 (AAC, with or without SBR),
// ISO/IEC 11172-3 and 13818-3, ETSI TS 102 366, Apple's ALAC.
var packetSamples = map[string][]float64{
	"aac": {1024, 2048, 960, 1920}, "mp3": {1152, 576}, "mp2": {1152}, "mp1": {384}, "ac3": {1536}, "eac3": {1536}, "alac": {4096},
}

// clock finds the pauses between packets.
type clock struct {
	lasts []float64 // samples that a packet may have; none where they differ
	rate  float64   // Hz
	table bool      // a packet's duration is the time until the next one: a pause is part of it

	runs  []run
	usual float64 // seconds from one packet to the next, most recently
}

// run is packets without a pause between them.
type run struct {
	from, last float64 // where the first packet and the last one begin
	duration   float64 // of the last one
	count      int
}

// add takes a packet that begins at some second on a player's clock.
func (c *clock) add(start, duration float64) {
	n := len(c.runs)
	if n > 0 {
		r := &c.runs[n-1]
		step := start - r.last
		expected := c.expected(r.duration)
		if math.Abs(step-expected) <= pause || n == maxStretches {
			if step > 0 {
				c.usual = step
			}
			r.last, r.duration = start, duration
			r.count++
			return
		}
	}
	c.runs = append(c.runs, run{from: start, last: start, duration: duration, count: 1})
}

// expected is how long a packet's sound lasts, if the container says duration.
func (c *clock) expected(duration float64) float64 {
	const longest = 0.25 // seconds of a packet of any codec
	near := duration
	if c.usual > 0 && (duration <= 0 || c.table && duration > longest) {
		near = c.usual
	}
	if d := c.packet(near); d > 0 {
		return d
	}
	return near
}

// packet is how long a packet of the codec lasts that takes about so many
// seconds, 0 where that is not known. The clock of a recorder may be wrong by a
// tenth.
func (c *clock) packet(seconds float64) float64 {
	best := 0.0
	for _, samples := range c.lasts {
		d := samples / c.rate
		if math.Abs(d-seconds) < seconds/10 && (best == 0 || math.Abs(d-seconds) < math.Abs(best-seconds)) {
			best = d
		}
	}
	return best
}

// timeline is where the runs are in the sound, which begins at some second on a
// player's clock.
func (c *clock) timeline(begins float64) Timeline {
	var t Timeline
	at := 0.0
	for i, r := range c.runs {
		s := stretch{from: r.from, sound: at}
		last := c.expected(r.duration)
		s.to = r.last + last
		length := s.to - r.from
		if r.count > 1 {
			if d := c.packet((r.last - r.from) / float64(r.count-1)); d > 0 {
				length = float64(r.count-1)*d + last
			}
		}
		s.end = at + length
		if i == 0 { // what lies before is not played
			early := min(max(0, begins-s.from), length)
			s.from, s.end = s.from+early, s.end-early
		}
		at = s.end
		t.stretches = append(t.stretches, s)
	}
	return t
}
