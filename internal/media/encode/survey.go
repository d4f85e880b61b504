package encode

import (
	"cmp"
	"context"
	"errors"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp3"
	"tonearm/internal/media/plan"
	"tonearm/internal/media/unfit"
)

// player runs ffmpeg on a track from its beginning to its end.
type player func(context.Context, ffmpeg.Command) (ffmpeg.Outcome, error)

// errChanged says that the sample rate, the channels or the sample format of a
// track change midway.
var errChanged = errors.New("the sound's parameters change midway")

// changed is what ffmpeg says then, instead of beginning anew with all filters.
const changed = "Changing audio frame properties on the fly is not supported"

// play runs ffmpeg on the track, or on its stretches once these are known. At a
// change of the parameters it ends with errChanged: filters that began anew would
// forget what they have counted and measured.
func (j *job) play(ctx context.Context, c ffmpeg.Command) (ffmpeg.Outcome, error) {
	if j.stretches != nil {
		return j.playStretches(ctx, c)
	}
	c.Before = append(slices.Clip(c.Before), "-reinit_filter", "0")
	if j.plan.Track.Twice { // then the filters cut it
		c.Before = append(c.Before, "-flags2", "+skip_manual")
	}
	o, err := j.in.Play(ctx, c)
	if err == nil && o.Err != nil && strings.Contains(o.Stderr, changed) {
		err = errChanged
	}
	return o, err
}

// stream names to ffmpeg what is played.
func (j *job) stream() string {
	if j.stretches != nil {
		return "0:a:0"
	}
	return j.plan.Stream()
}

// maxStretches limits how often a hostile file can make us start ffmpeg.
const maxStretches = 1000

// stretch is a part of a track with the same parameters throughout.
type stretch struct {
	parameters
	from    int64 // samples of the decoded track before it
	samples int64
	speed   float64 // seconds of it that are played in a second; 0 stands for 1
}

// parameters are those of decoded sound.
type parameters struct {
	rate, channels int
	layout         string // ffmpeg's name, '' if no channel has a place
}

// playedRate is how many samples are played in a second.
func (s stretch) playedRate() int { return int(math.Round(float64(s.rate) * cmp.Or(s.speed, 1))) }

func (s stretch) seconds() float64 { return float64(s.samples) / float64(s.playedRate()) }

// survey decodes a track whose parameters change, or that is played in pieces, lists its
// stretches, and plans anew: the MP3 gets the sample rate and the channels that the richest of the
// stretches would get alone.
func (j *job) survey(ctx context.Context) error {
	if s := j.speculation; s != nil { // it may have ended before it wrote the tags
		j.speculation = nil
		s.stop()
		info, err := j.in.Probe(ctx)
		if err != nil {
			return err
		}
		j.info = info
	}
	surveying, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := newSurveyor(j, stop)
	o, err := j.in.Play(surveying, ffmpeg.Command{
		Before: j.inPieces(),
		Args: []string{
			"-map", j.plan.Stream(), "-filter_threads", "1",
			"-af", surveyed, "-c:a", "pcm_f32le", "-f", "null", "pipe:2",
		},
		Stderr: &lines{each: s.line}, Timeout: j.timeout(),
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	s.flush()
	j.heard, j.stretches = s.heard, s.stretches
	if s.runs != nil {
		if err := j.takePieces(s.runs, s.heard); err != nil {
			return err
		}
	}
	if err == nil && o.Err != nil || len(j.stretches) == 0 {
		return j.judgeFailure(ctx, o, mp3.Stream{Frames: int64(len(j.stretches))}, nil)
	}
	return j.planAnew()
}

// planAnew plans for the richest stretch. The record keeps the parameters that the
// source begins with.
func (j *job) planAnew() error {
	info := j.info
	info.Tracks = slices.Clone(info.Tracks)
	t := &info.Tracks[j.plan.Index]
	t.SampleRate, t.Channels = 0, 0
	for _, s := range j.stretches {
		t.SampleRate, t.Channels = max(t.SampleRate, s.rate), max(t.Channels, s.channels)
	}
	p, err := plan.New(info, j.spec.Options)
	if err != nil {
		return err
	}
	p.Track = j.plan.Track
	j.plan = p
	return j.withinLimits()
}

// memoryless are the filters behind a decoder that keep nothing from one frame to the
// next: where ffmpeg begins anew with them, nothing is lost. What comes out has the
// same form all the time: the channels that a frame does not have are silent, and
// the sample rate is the same in name only.
func memoryless(layout string, channels int) string {
	return "aformat=sample_fmts=flt," + pan(layout, channels, "2") + ",asetrate=48000"
}

// pan gives the channels, in their order, the places of the layout. With a gain of 1
// ffmpeg may mix them as their old places say; 2, and 0.5 later, change no bit.
func pan(layout string, channels int, gain string) string {
	b := "pan=" + layout
	for c := range channels {
		n := strconv.Itoa(c)
		b += "|c" + n + "=" + gain + "*c" + n
	}
	return b
}

// errEnough ends ffmpeg where the trim ends.
var errEnough = errors.New("the rest is not needed")

// surveyed are the filters that print each frame, with its time stamp in ns.
var surveyed = "asettb=1/1000000000,ashowinfo," + memoryless("mono", 1)

// surveyor reads what ffmpeg says of each frame of samples.
type surveyor struct {
	heard      *heard
	clock      clock
	zero       float64 // see plan.Plan
	start, end float64
	counted    bool                    // the container has no time stamps of its own
	most       float64                 // seconds of sound that are allowed
	stop       context.CancelCauseFunc // ends ffmpeg

	late bool // see frame
	held frame

	runs      *runs // of a track that is played in pieces; nil for others
	samples   int64 // of the track until now
	stretches []stretch
	seconds   float64 // of all stretches
	begins    float64 // seconds of sound before them
	ahead     float64 // seconds that the clock was ahead of the sound since then, at most
	stopped   bool
}

func mpegAudio(codec string) bool { return codec == "mp1" || codec == "mp2" || codec == "mp3" }

// timeless are containers without time stamps: series of frames. ffmpeg counts their
// packets as if all had the parameters of the first.
var timeless = []string{"aac", "ac3", "amr", "dts", "dtshd", "eac3", "flac", "mlp", "mp3", "truehd"}

// counted reports that the count of samples is the only clock. In a chain of Ogg streams
// each link begins its own, and what ffmpeg makes of that depends on its version.
func (j *job) counted() bool { return j.info.Chained || slices.Contains(timeless, j.info.Container) }

func newSurveyor(j *job, stop context.CancelCauseFunc) *surveyor {
	s := &surveyor{
		heard: &heard{}, zero: j.plan.Clock, start: j.plan.Start, end: j.plan.End, most: j.spec.MaxSeconds, stop: stop,
		counted: j.counted(), late: mpegAudio(j.plan.Track.Codec), runs: newRuns(j.plan.Track.Pieces),
	}
	if s.runs != nil {
		s.zero = 0 // the clock is the track's
	}
	s.clock.heard = s.heard
	return s
}

// reFrame matches ashowinfo's line for a frame.
var reFrame = regexp.MustCompile(`^\[Parsed_ashowinfo_\d+ @ \w+\] n: *\d+ pts: *(NOPTS|-?\d+) .* channels:(\d+) chlayout:(.*) rate:(\d+) nb_samples:(\d+) `)

func (s *surveyor) line(b []byte) {
	m := reFrame.FindSubmatch(b)
	if m == nil {
		s.heard.line(b)
		return
	}
	stamp, err := strconv.ParseFloat(string(m[1]), 64)
	if stamp = stamp/1e9 - s.zero; err != nil {
		stamp = math.NaN()
	}
	channels, _ := strconv.Atoi(string(m[2]))
	rate, _ := strconv.Atoi(string(m[4]))
	samples, _ := strconv.ParseInt(string(m[5]), 10, 64)
	s.frame(frame{parameters{rate, channels, layoutName(string(m[3]))}, samples, stamp})
}

// frame is a frame of samples.
type frame struct {
	parameters
	samples int64
	stamp   float64 // seconds on a player's clock where it begins; NaN if it has no time stamp
}

// reLayout matches the names of layouts that can stand in a filter.
var reLayout = regexp.MustCompile(`^(?:\d+ channels \()?([A-Za-z0-9.+-]+(?:\([a-z-]+\))?)\)?$`)

// layoutName returns a layout as a filter takes it.
func layoutName(said string) string {
	m := reLayout.FindStringSubmatch(said)
	if m == nil {
		return ""
	}
	return m[1]
}

// frame adds a frame. The decoders of MPEG audio name a new sample rate one frame
// too late, and ffmpeg 5 gives that frame a wrong time stamp.
func (s *surveyor) frame(f frame) {
	if !s.late {
		s.place(f)
		return
	}
	if s.held.rate != f.rate {
		s.held.rate, s.held.stamp = f.rate, math.NaN()
	}
	s.flush()
	s.held = f
}

// flush adds the frame that was held back.
func (s *surveyor) flush() {
	if s.held.samples > 0 {
		s.place(s.held)
	}
	s.held = frame{}
}

// place adds what is wanted of a frame.
func (s *surveyor) place(f frame) {
	if s.stopped {
		return
	}
	if err := plan.WithinLimits(f.rate, f.channels); err != nil {
		s.enough(err)
		return
	}
	if s.counted && s.clock.any {
		f.stamp = math.NaN()
	}
	at := s.clock.next(f.rate, f.samples, f.stamp)
	if s.runs != nil {
		if err := s.runs.add(f, at); err != nil {
			s.enough(err)
		}
		return
	}
	rate := float64(f.rate)
	within := func(seconds float64) int64 {
		return min(f.samples, max(0, int64(math.Round(seconds*rate)-math.Round(at*rate))))
	}
	from, to := int64(0), f.samples
	if s.start > 0 {
		from = within(s.start)
	}
	if s.seconds == 0 {
		s.begins = max(at, s.start) - s.clock.offset
		s.ahead = s.clock.offset
	}
	s.ahead = max(s.ahead, s.clock.offset)
	if s.end > 0 {
		// Where streams were joined, time stamps may go back a little. That makes the
		// sound between start and end no longer.
		left := s.end - s.ahead - s.begins - s.seconds
		to = max(from, min(within(s.end), from+int64(math.Round(left*rate))))
	}
	s.add(f.parameters, s.samples+from, to-from)
	s.samples += f.samples
	if s.end > 0 && to < f.samples {
		s.enough(errEnough)
	}
}

func (s *surveyor) enough(why error) {
	s.stopped = true
	s.stop(why)
}

// add appends samples that are wanted.
func (s *surveyor) add(p parameters, from, samples int64) {
	s.stretches = appendStretch(s.stretches, stretch{parameters: p, from: from, samples: samples})
	s.seconds += float64(samples) / float64(p.rate)
	switch {
	case len(s.stretches) > maxStretches:
		s.enough(unfit.New(conversion.CodeLimitExceeded, "The sound changes its sample rate or its channels more than %d times.", maxStretches))
	case s.seconds > s.most:
		s.enough(unfit.New(conversion.CodeLimitExceeded, "The sound is longer than the limit of %s.", unfit.About(s.most)))
	}
}
