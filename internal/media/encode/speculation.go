package encode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/probe"
)

// speculation is an encoding that was begun on a guess that proved right.
type speculation struct {
	frames, tags string // files of the frames, and of the tags and chapters
	cancel       context.CancelFunc
	ended        sync.WaitGroup
	o            ffmpeg.Outcome
	err          error
}

// speculate begins to encode on a guess, in the same run of ffmpeg that probes. It
// returns nil if nothing can be guessed, and if ffmpeg finds something else or
// nothing at all.
func speculate(ctx context.Context, in *probe.Input, spec Spec) *job {
	guess := in.Guess()
	if len(guess.Tracks) == 0 || spec.Options.Loudness != nil {
		return nil
	}
	j, err := newJob(in, guess, spec)
	if err != nil || j.plan.Track.Pieces != nil {
		return nil
	}
	s := &speculation{frames: spec.Frames + ".ahead", tags: spec.Frames + ".told"}
	if err := errors.Join(remove(s.frames), remove(s.tags)); err != nil {
		return nil
	}
	said := make(chan string, 1)
	say := func(stderr string) { // only the first call counts
		select {
		case said <- stderr:
		default:
		}
	}
	c := j.command(level{})
	c.Args = append(probe.Describing(j.plan.Stream(), ffmpeg.Target(s.tags), j.limits()...), c.Args...)
	c.Described = say
	ctx, s.cancel = context.WithCancel(ctx)
	s.ended.Go(func() {
		s.o, s.err = j.runFrames(ctx, c, s.frames, spec.Progress)
		say("")
	})
	if info, err := in.Described(ffmpeg.Outcome{Stderr: <-said}); err == nil {
		if right, err := newJob(in, info, spec); err == nil && j.same(right) {
			right.speculation, right.heard = s, j.heard
			return right
		}
	}
	s.stop()
	return nil
}

// same reports whether both jobs run the same commands.
func (j *job) same(right *job) bool {
	return right.plan.Track.Codec == j.plan.Track.Codec && right.plan.Rate == j.plan.Rate && right.plan.Channels == j.plan.Channels && right.plan.Track.Twice == j.plan.Track.Twice &&
		chunkFrames(right.plan.Promised(), right.plan.Rate) == chunkFrames(j.plan.Promised(), j.plan.Rate) &&
		slices.Equal(right.audioArgs(level{}), j.audioArgs(level{})) &&
		slices.Equal(encoderArgs(right.plan), encoderArgs(j.plan))
}

// take waits for the frames and moves them to a file.
func (s *speculation) take(raw string) (ffmpeg.Outcome, error) {
	s.ended.Wait()
	if s.err != nil {
		return s.o, s.err
	}
	if err := os.Rename(s.frames, raw); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.o, err
	}
	return s.o, nil
}

// told adds the source's tags and chapters.
func (s *speculation) told(info *probe.Info) error {
	f, err := os.Open(s.tags)
	if err != nil {
		return fmt.Errorf("read the tags: %w", err)
	}
	defer f.Close()
	var told probe.Texts
	if _, err := io.Copy(&told, f); err != nil {
		return fmt.Errorf("read the tags: %w", err)
	}
	info.Told(&told)
	return nil
}

// stop ends what is still running and removes its files.
func (s *speculation) stop() {
	s.cancel()
	s.ended.Wait()
	_, _ = remove(s.frames), remove(s.tags)
}
