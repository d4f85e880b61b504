package encode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp3"
)

// notCopied says why the frames of a source that is MP3 cannot be passed
// through, as after "but".
type notCopied string

func (n notCopied) Error() string {
	return "The sound is already MP3, but " + string(n) + ", so it was encoded again."
}

// needsEncoding returns the option that the source's own frames cannot satisfy;
// empty if there is none. The quality in a preset is only a wish.
func (j *job) needsEncoding() string {
	o := j.spec.Options
	i := slices.IndexFunc(conversion.Presets, func(c conversion.Preset) bool { return c.Name == o.Preset })
	preset := i >= 0 && conversion.Presets[i].Options.VBRQuality != nil && o.VBRQuality != nil &&
		*conversion.Presets[i].Options.VBRQuality == *o.VBRQuality
	switch {
	case o.BitrateKbps != 0:
		return "bitrate_kbps"
	case o.VBRQuality != nil && !preset:
		return "vbr_quality"
	case j.plan.Rate != j.plan.Track.SampleRate:
		return "sample_rate_hz"
	case j.plan.Channels != j.plan.Track.Channels:
		return "channels"
	case j.plan.Start > 0:
		return "start"
	case j.plan.End > 0:
		return "end"
	case o.Loudness != nil:
		return "loudness"
	}
	return ""
}

// copy makes the MP3 from the source's own frames. It returns a notCopied if
// the source must be encoded.
func (j *job) copy(ctx context.Context) (Audio, error) {
	if j.plan.Track.Pieces != nil {
		return Audio{}, notCopied("the file plays it in pieces")
	}
	if option := j.needsEncoding(); option != "" {
		return Audio{}, notCopied(fmt.Sprintf("the option %s needs an encoding", option))
	}
	stream, err := j.extract(ctx)
	if err != nil {
		return Audio{}, err
	}
	made, err := readMP3(j.spec.Frames)
	switch {
	case errors.Is(err, mp3.ErrFormat): // an information frame with a wrong count of frames
		return Audio{}, notCopied("it is not complete")
	case err != nil:
		return Audio{}, fmt.Errorf("read the frames: %w", err)
	}
	if err := j.allows(made); err != nil {
		return Audio{}, err
	}
	s := Audio{Seconds: made.Seconds(), Copied: true, Kbps: stream.kbps}
	if s.Length, err = j.checkLength(ctx, s.Seconds); err != nil {
		return Audio{}, err
	}
	if s.Levels, err = j.measureFrames(ctx, samplePeaks, j.spec.Progress); err != nil {
		return Audio{}, err
	}
	s.note(conversion.NoteCopied, "The sound is already MP3, so it was copied without encoding.")
	return s, nil
}

// extract writes the source's frames to a file of their own. The frames of an
// MP3 file keep their information frame, if they have one. Frames from another
// container get one that says what the container says.
func (j *job) extract(ctx context.Context) (frameStream, error) {
	if j.info.Container == "mp3" {
		source, err := os.Open(j.in.Path)
		if err != nil {
			return frameStream{}, err
		}
		defer source.Close()
		audio := io.NewSectionReader(source, 0, mp3.End(source, j.info.Size))
		stream, err := survey(audio)
		if err != nil {
			return frameStream{}, err
		}
		return stream, writeFrames(audio, j.spec.Frames)
	}
	raw := j.raw()
	if err := remove(raw); err != nil {
		return frameStream{}, err
	}
	defer os.Remove(raw)
	if err := j.demuxFrames(ctx, raw); err != nil {
		return frameStream{}, err
	}
	in, err := os.Open(raw)
	if err != nil {
		return frameStream{}, err
	}
	defer in.Close()
	stream, err := survey(in)
	if err != nil {
		return frameStream{}, err
	}
	info, err := j.presented(stream)
	if err != nil {
		return frameStream{}, err
	}
	return stream, addInfoFrame(raw, j.spec.Frames, stream.kbps, info)
}

// demuxFrames has ffmpeg take the packets out of their container, those before
// the first edit included.
func (j *job) demuxFrames(ctx context.Context, raw string) error {
	c := ffmpeg.Command{
		Args: []string{
			"-map", j.plan.Stream(), "-map_metadata", "-1", "-map_chapters", "-1", "-c", "copy",
			"-fs", strconv.FormatInt(j.spec.MaxBytes+1, 10),
			"-id3v2_version", "0", "-write_id3v1", "0", "-write_xing", "0", "-f", "mp3", ffmpeg.Target(raw),
		},
		Timeout:  j.timeout(),
		MaxBytes: j.spec.MaxBytes + 1<<20,
	}
	if j.plan.Track.Exact {
		c.Before = []string{"-ignore_editlist", "1"}
	}
	o, err := j.in.Run(ctx, c)
	if err != nil {
		return err
	}
	if o.Err != nil {
		return notCopied("its frames could not be taken out of the file")
	}
	return nil
}

// frameStream is what all frames of a stream have in common.
type frameStream struct {
	channels int
	kbps     int   // 0 where it varies
	samples  int64 // of all frames, played or not
	info     bool  // the first frame is an information frame
}

// survey reads all frames and goes back to the first. It returns a notCopied for
// a stream that is not the same throughout, and for anything between the frames.
func survey(r io.ReadSeeker) (frameStream, error) {
	var s frameStream
	for f, err := range mp3.Frames(r) {
		switch {
		case errors.Is(err, mp3.ErrFormat):
			return s, notCopied(fmt.Sprintf("it is not a plain series of frames (%v)", err))
		case err != nil:
			return s, fmt.Errorf("read the frames: %w", err)
		case s.samples == 0 && !s.info && f.IsInfo():
			s.info = true
			continue
		case s.samples == 0:
			s.channels, s.kbps = f.Channels, f.Kbps
		case s.channels != f.Channels:
			return s, notCopied("the number of channels changes in the middle")
		case s.kbps != f.Kbps:
			s.kbps = 0
		}
		s.samples += int64(f.Samples)
	}
	if s.samples == 0 {
		return s, notCopied("it has no complete frame")
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return s, fmt.Errorf("read the frames: %w", err)
	}
	return s, nil
}

// writeFrames copies all frames, including an information frame.
func writeFrames(r io.Reader, path string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	for f, err := range mp3.Frames(r) {
		if err == nil {
			_, err = out.Write(f.Bytes)
		}
		if err != nil {
			return closing(out, err)
		}
	}
	return closing(out, nil)
}

// presented returns an information frame for the frames, so that a player plays
// what the container makes it play.
func (j *job) presented(s frameStream) (mp3.Info, error) {
	all := mp3.Info{Samples: -1}
	skip := int(math.Round(j.plan.Track.Skip * float64(j.plan.Track.SampleRate)))
	switch {
	case s.info:
		return all, notCopied("the file plays its information frame")
	case !j.plan.Track.Exact || skip == 0:
		return all, nil
	case skip < decoderDelay || skip > decoderDelay+maxDelay:
		return all, notCopied("the file cuts its beginning")
	}
	delay := skip - decoderDelay
	return mp3.Info{Delay: delay, Samples: min(j.plan.Samples(), s.samples-int64(delay))}, nil
}

// maxDelay is the most samples that an information frame can leave out.
const maxDelay = 4095
