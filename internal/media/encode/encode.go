// Package encode makes the frames of an MP3 from one audio track, and checks that
// nothing of it went missing.
package encode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp3"
	"tonearm/internal/media/plan"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/unfit"
)

// Limits of an MP3 if no others are set.
const (
	DefaultMaxSeconds = 24 * 3600
	DefaultMaxBytes   = 4 << 30
)

// Spec is what is wanted of a source.
type Spec struct {
	Frames     string // file for the frames; overwritten. Files of the work lie beside it
	Options    conversion.Options
	MaxSeconds float64 // of audio; 24 h where 0
	MaxBytes   int64   // of the MP3; 4 GiB where 0
	Chapters   bool    // are wanted
	// Found is called with the seconds of audio that will be made, 0 where the source
	// does not say, once the source is known; may be nil.
	Found func(seconds float64)
	// Progress is called a few times a second with the seconds done so far. It runs
	// on other goroutines, but never on two at a time; it may be nil.
	Progress func(seconds float64)
	Plain    bool // do not begin on a guess
}

// job makes the frames of one MP3.
type job struct {
	in   *probe.Input
	info probe.Info
	plan plan.Plan
	spec Spec

	speculation *speculation // already begun; nil for none
	heard       *heard       // while the track was decoded last
	stretches   []stretch    // of a track whose parameters change; nil as long as no change is known
	found       mp3.Found    // in a file that is nothing but MP3
}

// Made is what became of a source. The frames are in their file.
type Made struct {
	Audio
	Info probe.Info // what the source turned out to be, with everything that it says about itself
	Plan plan.Plan

	Chapters []probe.Chapter // of the source, if they are wanted
	Listed   int             // how many chapters it has, which may be more
	Timeline Timeline        // of the track; known if there are chapters
}

// Audio is an MP3 without its tag, and what was done to make it.
type Audio struct {
	Length
	Seconds float64            // that a decoder plays
	Levels  *conversion.Levels // nil for silence
	Gain    float64            // dB
	Copied  bool               // nothing was encoded
	Kbps    int                // constant bit rate of what was copied, 0 where it varies
	Notes   []conversion.Note
}

func (a *Audio) note(code conversion.NoteCode, format string, args ...any) {
	a.Notes = append(a.Notes, conversion.Note{Code: code, Message: fmt.Sprintf(format, args...)})
}

// Make finds out what the source is, plans what becomes of it, makes the frames, and
// checks that they are as long as the source promised. The error is an *unfit.Error if no
// further try can help. After an error the frames are worthless.
func Make(ctx context.Context, in *probe.Input, spec Spec) (Made, error) {
	spec.MaxSeconds = cmp.Or(max(0, spec.MaxSeconds), DefaultMaxSeconds)
	spec.MaxBytes = cmp.Or(max(0, spec.MaxBytes), DefaultMaxBytes)
	spec.Progress = growing(spec.Progress)
	j, err := begin(ctx, in, spec)
	if err != nil {
		return Made{}, err
	}
	defer j.close()
	if spec.Found != nil {
		spec.Found(j.plan.Promised())
	}
	var m Made
	if m.Audio, err = j.run(ctx); err != nil {
		return Made{}, err
	}
	if m.Info, err = j.meta(ctx); err != nil {
		return Made{}, err
	}
	m.Plan = j.plan
	if !spec.Chapters {
		return m, nil
	}
	if m.Chapters, m.Listed, err = in.Chapters(ctx, m.Info); err == nil && len(m.Chapters) > 0 {
		m.Timeline, err = j.timeline(ctx)
	}
	return m, err
}

// begin finds out what the source is, and plans what becomes of it. If that can be
// guessed, it begins to encode at once. The job must be closed.
func begin(ctx context.Context, in *probe.Input, spec Spec) (*job, error) {
	if !spec.Plain {
		if j := speculate(ctx, in, spec); j != nil {
			return j, nil
		}
	}
	info, err := in.Probe(ctx)
	if err != nil {
		return nil, err
	}
	j, err := newJob(in, info, spec)
	if j != nil {
		if countErr := j.count(ctx); countErr != nil {
			return nil, countErr
		}
		if j.found.Miscounted {
			err = j.withinLimits()
		}
	}
	if j != nil && err != nil && !j.plan.Track.Own {
		err = j.measure(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := j.unpack(ctx); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// unpack lets ffmpeg read the track from a file of its own where it must.
func (j *job) unpack(ctx context.Context) error {
	in, err := j.in.Unpack(ctx, j.info, j.plan.Track, j.unpacked())
	if err == nil && in != nil {
		j.in, j.plan = in, j.plan.Alone()
	}
	return err
}

func (j *job) unpacked() string { return j.spec.Frames + ".amr" }

// newJob returns a job together with an error if only its limits are exceeded.
func newJob(in *probe.Input, info probe.Info, spec Spec) (*job, error) {
	p, err := plan.New(info, spec.Options)
	if err != nil {
		return nil, err
	}
	j := &job{in: in, info: info, plan: p, spec: spec}
	return j, j.withinLimits()
}

// meta returns the source's Info with everything that it says about itself. It is
// called after run.
func (j *job) meta(ctx context.Context) (probe.Info, error) {
	var err error
	switch {
	case j.info.Late:
		j.info.Meta, err = j.in.LookAgain(ctx)
	case j.speculation != nil:
		err = j.speculation.told(&j.info)
	}
	return j.info, err
}

// close ends what is still running.
func (j *job) close() {
	if j.speculation != nil {
		j.speculation.stop()
	}
	_ = remove(j.unpacked())
	_ = remove(j.gathered())
}

// run makes the frames and checks their length.
func (j *job) run(ctx context.Context) (Audio, error) {
	var not notCopied
	if j.plan.Track.Codec == "mp3" && j.spec.Options.Copy != conversion.CopyNever {
		a, err := j.copy(ctx)
		if !errors.As(err, &not) {
			return a, err
		}
	}
	if err := j.gather(); err != nil {
		return Audio{}, err
	}
	encode := j.encodePlainly
	if j.spec.Options.Loudness != nil {
		encode = j.normalise
	}
	var a Audio
	err := errChanged
	if j.plan.Track.Pieces == nil { // ffmpeg would play others
		a, err = encode(ctx)
	}
	if errors.Is(err, errChanged) {
		if err = j.survey(ctx); err == nil {
			a, err = encode(ctx)
		}
	}
	if not != "" {
		a.note(conversion.NoteNotCopied, "%s", not)
	}
	return a, err
}

// encodePlainly makes the MP3 as loud as the source.
func (j *job) encodePlainly(ctx context.Context) (Audio, error) {
	return j.encode(ctx, level{}, j.spec.Progress)
}

// encode runs the encoder once and checks what it made.
func (j *job) encode(ctx context.Context, l level, progress func(float64)) (Audio, error) {
	raw := j.raw()
	if err := remove(raw); err != nil {
		return Audio{}, err
	}
	defer os.Remove(raw)
	o, err := j.makeFrames(ctx, l, raw, progress)
	if err != nil {
		return Audio{}, err
	}
	if j.plan.Whole() && j.stretches == nil {
		j.heard.shift(j.plan.Clock)
	}
	if j.stretches == nil && mpegAudio(j.plan.Track.Codec) && j.heard.endsBehind(j.plan.End) {
		return Audio{}, errChanged // or a pause
	}
	made, err := readMP3(raw)
	if err != nil || made.Frames == 0 || o.Err != nil {
		return Audio{}, j.judgeFailure(ctx, o, made, err)
	}
	if err := j.allows(made); err != nil {
		return Audio{}, err
	}
	samples := j.playable(made)
	a := Audio{Seconds: float64(samples) / float64(j.plan.Rate)}
	if a.Length, err = j.checkLength(ctx, a.Seconds); err != nil {
		return Audio{}, err
	}
	if err := addInfoFrame(raw, j.spec.Frames, j.plan.Kbps, mp3.Info{Delay: mp3.EncoderDelay, Samples: samples}); err != nil {
		return Audio{}, err
	}
	a.Notes = j.notes(a.Seconds)
	levels, ok := levelsOf(o)
	if a.Levels = levels; !ok {
		a.Levels, err = j.measureFrames(ctx, samplePeaks, nil)
	} else if levels != nil && levels.PeakDB > 0 {
		a.note(conversion.NoteClipped, "The sound is up to %.1f dB above full scale. Players cut such peaks off.", levels.PeakDB)
	}
	return a, err
}

// raw is the file of frames that still lack their information frame.
func (j *job) raw() string { return j.spec.Frames + ".raw" }

// allows refuses a result that has become too long or too large.
func (j *job) allows(made mp3.Stream) error {
	switch {
	case made.Size > j.spec.MaxBytes:
		return unfit.TooLarge(j.spec.MaxBytes)
	case made.Seconds() > j.spec.MaxSeconds:
		return unfit.New(conversion.CodeLimitExceeded, "The sound is longer than the limit of %s.", unfit.About(j.spec.MaxSeconds))
	}
	return nil
}

// withinLimits refuses a track that will become too long or too large if it
// keeps its promise.
func (j *job) withinLimits() error {
	seconds := j.plan.Promised()
	if seconds > j.spec.MaxSeconds {
		return unfit.New(conversion.CodeLimitExceeded, "The sound is %s long. The limit is %s.", unfit.About(seconds), unfit.About(j.spec.MaxSeconds))
	}
	if seconds*float64(j.plan.Kbps)*125 > float64(j.spec.MaxBytes) {
		return unfit.TooLarge(j.spec.MaxBytes)
	}
	return nil
}

// timeout is generous: a slow machine encodes at twenty times real time.
func (j *job) timeout() time.Duration {
	seconds := j.plan.Start + j.spec.MaxSeconds
	if t := j.plan.Track; t.Own {
		seconds = min(seconds, t.Start+max(t.Seconds, t.Media))
	}
	return 10*time.Minute + time.Duration(seconds/2*float64(time.Second))
}

// limits make ffmpeg stop, with success, a little beyond what is allowed, so
// that an excess is noticed.
func (j *job) limits() []string {
	return []string{"-t", strconv.FormatFloat(j.spec.MaxSeconds+1, 'f', 3, 64)}
}

// makeFrames writes an information frame, which holds the number of samples,
// and the frames behind it.
func (j *job) makeFrames(ctx context.Context, l level, raw string, progress func(float64)) (ffmpeg.Outcome, error) {
	if j.speculation != nil {
		return j.speculation.take(raw)
	}
	return j.runFrames(ctx, j.command(l), raw, progress)
}

// command decodes the source and applies the filters. Its args end before the
// encoder.
func (j *job) command(l level) ffmpeg.Command {
	c := ffmpeg.Command{Args: j.audioArgs(l), Timeout: j.timeout(), MaxBytes: j.spec.MaxBytes + 1<<20}
	if j.stretches == nil {
		j.heard = &heard{}
		c.Stderr = &lines{each: j.heard.line}
	}
	return c
}

// runFrames makes the frames from what c decodes. It uses several encoders if
// the source promises enough audio, otherwise one. That depends on nothing but
// the source and the options, and so does the MP3.
func (j *job) runFrames(ctx context.Context, c ffmpeg.Command, raw string, progress func(float64)) (ffmpeg.Outcome, error) {
	if frames := chunkFrames(j.plan.Promised(), j.plan.Rate); frames > 0 {
		o, _, err := parallel{program: j.in.Program, play: j.play, decode: c, plan: j.plan, target: raw, maxBytes: j.spec.MaxBytes, frames: frames, progress: progress}.run(ctx)
		return o, err
	}
	c.Args = append(append(c.Args, encoderArgs(j.plan)...),
		"-fs", strconv.FormatInt(j.spec.MaxBytes+1, 10),
		"-id3v2_version", "0", "-write_id3v1", "0", "-write_xing", "1",
		"-fflags", "+bitexact")
	c.Args = append(append(c.Args, ffmpeg.ProgressArgs...), "-f", "mp3", ffmpeg.Target(raw))
	c.Stdout = ffmpeg.Progress(progress)
	return j.play(ctx, c)
}

// audioArgs are ffmpeg's arguments behind the source for the audio to encode.
func (j *job) audioArgs(l level) []string {
	return append([]string{
		"-map", j.stream(), "-map_metadata", "-1", "-map_chapters", "-1",
		"-filter_threads", "1", "-af", j.filters(l, samplePeaks),
	}, j.limits()...)
}

// encoderArgs are those for the encoder.
func encoderArgs(p plan.Plan) []string {
	args := []string{"-c:a", "libmp3lame", "-flags:a", "+bitexact"}
	if p.Kbps != 0 {
		return append(args, "-b:a", strconv.Itoa(p.Kbps)+"k")
	}
	return append(args, "-q:a", strconv.Itoa(p.Quality))
}

// judgeFailure says why there is no whole MP3. readErr is the error of reading
// it.
func (j *job) judgeFailure(ctx context.Context, o ffmpeg.Outcome, made mp3.Stream, readErr error) error {
	if err := o.Failure(); err != nil {
		return err
	}
	nothing := errors.Is(readErr, fs.ErrNotExist) || made.Frames == 0 && (readErr == nil || errors.Is(readErr, mp3.ErrFormat))
	const tooManyErrors = 69 // more than two thirds of the packets
	switch {
	case o.Err != nil && o.Err.ExitCode() == tooManyErrors:
		return unfit.New(conversion.CodeDamaged, "Most of the sound track is damaged.").Because(o.Tail())
	case nothing && (j.plan.Start > 0 || j.plan.End > 0):
		return j.judgeNothing(ctx, o)
	case nothing:
		return unfit.Undecodable(j.plan.Track.Codec).Because(o.Tail())
	case readErr != nil:
		return fmt.Errorf("read the frames: %w", readErr)
	}
	return fmt.Errorf("ffmpeg failed with exit status %d: %s", o.Err.ExitCode(), o.Tail())
}
