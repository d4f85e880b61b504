package media

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
	"tonearm/internal/media/mp4"
)

// Convert makes the MP3 of a local file, as Probe and then Encode do, with their
// errors; spec.Source is ignored. It speculates: if the file's outermost layer
// shows what ffmpeg will probably find, the run of ffmpeg that probes encodes as
// well, since starting another one takes a fifteenth of a second. found gets what
// the file turned out to be, all but its tags.
func (ff FFmpeg) Convert(ctx context.Context, path string, spec EncodeSpec, found func(Info), progress func(seconds float64)) (Encoded, error) {
	l, err := ff.look(path)
	if err != nil {
		return Encoded{}, fmt.Errorf("convert: %w", err)
	}
	if spec, err = spec.complete(); err != nil {
		return Encoded{}, fmt.Errorf("convert: %w", err)
	}
	if spec.speculation = ff.speculate(ctx, l, spec, progress); spec.speculation != nil {
		defer spec.speculation.stop()
		spec.Source = spec.speculation.info
	} else if spec.Source, err = ff.probe(ctx, l); err != nil {
		return Encoded{}, err
	}
	found(spec.Source)
	return ff.Encode(ctx, spec, progress)
}

// speculation is an encoding that was begun on a guess that proved right.
type speculation struct {
	info         Info   // all but the source's tags and chapters
	frames, tags string // files of the frames, and of the tags and chapters
	cancel       context.CancelFunc
	ended        sync.WaitGroup
	o            ffmpeg.Outcome
	err          error
}

// speculate begins to encode on a guess. It returns nil if nothing can be guessed,
// and if ffmpeg finds something else or nothing at all.
func (ff FFmpeg) speculate(ctx context.Context, l looked, spec EncodeSpec, progress func(float64)) *speculation {
	spec.Source = l.guess()
	if len(spec.Source.Tracks) == 0 {
		return nil
	}
	p, err := newPlan(spec.Source, spec.Options)
	if err != nil || p.withinLimits(spec) != nil || spec.Options.Loudness != nil {
		return nil
	}
	s := &speculation{frames: spec.Target + ".ahead", tags: spec.Target + ".told"}
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
	c := p.command(spec, level{})
	c.Args = append(describing(p.streamSpecifier(), "file:"+s.tags, p.limits(spec)...), c.Args...)
	c.Described = say
	ctx, s.cancel = context.WithCancel(ctx)
	s.ended.Go(func() {
		s.o, s.err = ff.runFrames(ctx, spec, p, c, s.frames, progress)
		say("")
	})
	if s.info, err = l.info(ffmpeg.Outcome{Stderr: <-said}); err == nil && p.fits(s.info, spec) {
		return s
	}
	s.stop()
	return nil
}

// fits reports whether the plan is also right for the source as it has turned
// out to be.
func (p plan) fits(info Info, spec EncodeSpec) bool {
	right, err := newPlan(info, spec.Options)
	return err == nil && right.track.Codec == p.track.Codec && right.rate == p.rate && right.channels == p.channels &&
		chunkFrames(right.promised(), right.rate) == chunkFrames(p.promised(), p.rate) &&
		slices.Equal(right.audioArgs(spec, level{}), p.audioArgs(spec, level{})) &&
		slices.Equal(right.encoderArgs(), p.encoderArgs())
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

// withTags returns the source with its tags and chapters.
func (s *speculation) withTags(source Info) (Info, error) {
	f, err := os.Open(s.tags)
	if err != nil {
		return source, fmt.Errorf("read the tags: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMetadata))
	if err != nil {
		return source, fmt.Errorf("read the tags: %w", err)
	}
	source.readTags(string(text))
	return source, nil
}

// stop ends what is still running and removes its files.
func (s *speculation) stop() {
	s.cancel()
	s.ended.Wait()
	_, _ = remove(s.frames), remove(s.tags)
}

// guess returns what ffmpeg will probably find, as far as a plan needs it. If
// nothing is known, it has no tracks.
func (l looked) guess() Info {
	info := Info{Path: l.path, Size: l.bytes, Tracks: slices.Clone(l.tracks), mayPipe: l.mayPipe}
	if l.mp4 != nil && !l.mp4.Fragmented {
		for _, t := range l.mp4.AudioTracks() {
			tr := Track{Codec: mp4Codec(t), SampleRate: t.SampleRate, Channels: t.Channels, Language: t.Language, Default: t.Enabled, id: t.ID}
			tr.promise(l.mp4, 0)
			info.Tracks = append(info.Tracks, tr)
		}
	}
	if l.sourceTracks != nil && len(info.Tracks) == 1 {
		info = info.extracted(l.sourceTracks, l.index)
	}
	return info
}

// mp4Codec returns ffmpeg's name of the track's codec, for the most frequent
// codecs of audio; empty for others.
func mp4Codec(t *mp4.Track) string {
	switch t.Codec {
	case "mp4a":
		switch t.Object {
		case 0, 0x40, 0x66, 0x67, 0x68: // other objects may be MP3
			return "aac"
		}
	case "Opus":
		return "opus"
	case "ac-3":
		return "ac3"
	case "ec-3":
		return "eac3"
	case "alac":
		return "alac"
	}
	return ""
}
