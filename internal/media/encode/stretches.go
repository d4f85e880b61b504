package encode

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/plan"
)

// playStretches runs ffmpeg on the stretches, joined, with the sample rate and the
// channels of the MP3. The track is decoded by one ffmpeg. Another one for each
// stretch mixes and resamples it, to its end. Then comes c, for which nothing ever
// changes. None of the sound is stored on the way.
func (j *job) playStretches(ctx context.Context, c ffmpeg.Command) (ffmpeg.Outcome, error) {
	pcm, joined := io.Pipe()
	var joining sync.WaitGroup
	joining.Go(func() { joined.CloseWithError(j.joinStretches(ctx, joined)) })
	c.Input, c.Dir = ffmpeg.Stream(pcm), filepath.Dir(j.spec.Frames)
	c.Formats, c.Decoders = "f32le", "pcm_f32le"
	c.Before = append(c.Before, pcm32(j.plan.Rate, j.plan.Channels)...)
	o, err := j.in.Program.Run(ctx, c)
	_ = pcm.Close() // ends the joining if c needs no more
	joining.Wait()
	return o, err
}

// joinStretches writes all stretches as PCM. The track is decoded anew where they go back.
func (j *job) joinStretches(ctx context.Context, w io.Writer) error {
	out := joiner{job: j, w: w}
	for rest := j.stretches; len(rest) > 0; rest = j.stretches[out.joined:] {
		if err := j.joinAscending(ctx, &out, rest[:ascending(rest)]); err != nil {
			return err
		}
	}
	return nil
}

// joinAscending decodes the track and writes stretches that do not go back.
func (j *job) joinAscending(ctx context.Context, out *joiner, stretches []stretch) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	pcm, decoded, err := os.Pipe()
	if err != nil {
		return err
	}
	var decoding sync.WaitGroup
	var o ffmpeg.Outcome
	var decodeErr error
	decoding.Go(func() {
		defer decoded.Close()
		o, decodeErr = j.in.Play(ctx, ffmpeg.Command{
			Before:  j.inPieces(),
			Args:    []string{"-map", j.plan.Stream(), "-filter_threads", "1", "-af", decoded8, "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"},
			Stdout:  decoded,
			Timeout: j.timeout(),
		})
	})
	err = out.convert(ctx, pcm, stretches)
	ended := errors.Is(err, io.ErrUnexpectedEOF)
	if !ended {
		stop() // nothing more is needed
	}
	_ = pcm.Close()
	decoding.Wait()
	switch {
	case !ended:
		return err
	case decodeErr != nil:
		return decodeErr
	case o.Failure() != nil:
		return o.Failure()
	}
	return fmt.Errorf("decode the stretches: %w: %s", err, o.Tail())
}

// joined is how many samples all stretches have together: as many as their lengths add up
// to, or as there are between the ends of a trim that they fill. An end in a stretch with
// a low sample rate is cut to a sample of that.
func (j *job) joined() int64 {
	seconds, lowest := 0.0, j.plan.Rate
	for _, s := range j.stretches {
		seconds += s.seconds()
		lowest = min(lowest, s.rate)
	}
	rate := float64(j.plan.Rate)
	trim, most := (j.plan.End-j.plan.Start)*rate, rate/float64(lowest)+1
	if j.plan.End > 0 && math.Abs(trim-seconds*rate) < most {
		return int64(math.Round(trim))
	}
	return int64(math.Round(seconds * rate))
}

// joiner writes stretches one after the other.
type joiner struct {
	job     *job
	w       io.Writer
	joined  int     // stretches
	seconds float64 // of them
	samples int64   // written
}

// convert reads the decoded track and writes stretches of it.
func (o *joiner) convert(ctx context.Context, pcm io.Reader, stretches []stretch) error {
	j, at := o.job, int64(0)
	for _, s := range stretches {
		if n, err := io.CopyN(io.Discard, pcm, (s.from-at)*decodedBytes); err != nil {
			return fmt.Errorf("skip: %w after %d bytes", unexpected(err), n)
		}
		at = s.from + s.samples
		o.seconds += s.seconds()
		wanted := int64(math.Round(o.seconds*float64(j.plan.Rate))) - o.samples
		if o.joined++; o.joined == len(j.stretches) {
			wanted = max(0, j.joined()-o.samples)
		}
		if err := j.convertStretch(ctx, s, pcm, o.w, wanted); err != nil {
			return err
		}
		o.samples += wanted
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// usual are the layouts that ffmpeg takes for channels without places.
var usual = [plan.MaxChannels]string{"mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1"}

// convertStretch mixes and resamples one stretch to that many samples.
func (j *job) convertStretch(ctx context.Context, s stretch, pcm io.Reader, w io.Writer, samples int64) error {
	layout := cmp.Or(s.layout, usual[s.channels-1])
	chain := append([]string{"aformat=sample_fmts=fltp", pan(layout, s.channels, "0.5")}, mix(j.plan, s.channels)...)
	in := &narrowed{from: pcm, channels: s.channels, left: s.samples}
	out := &exact{w: w, sample: make([]byte, 4*j.plan.Channels), left: samples}
	o, err := j.in.Program.Run(ctx, ffmpeg.Command{
		Input: ffmpeg.Stream(in), Dir: filepath.Dir(j.spec.Frames), Formats: "f32le", Decoders: "pcm_f32le",
		Before: pcm32(s.playedRate(), s.channels),
		Args: slices.Concat([]string{"-filter_threads", "1", "-af", strings.Join(chain, ","), "-c:a", "pcm_f32le"},
			pcm32(j.plan.Rate, j.plan.Channels), []string{"pipe:1"}),
		Stdout:  out,
		Timeout: j.timeout(),
	})
	switch {
	case err != nil:
		return err
	case o.Failure() != nil:
		return o.Failure()
	case o.Err != nil:
		return fmt.Errorf("convert a stretch: exit status %d: %s", o.Err.ExitCode(), o.Tail())
	}
	return out.fill()
}

// decoded8 makes the same form of whatever is decoded; see memoryless.
var decoded8 = memoryless("7.1", plan.MaxChannels)

const decodedBytes = 4 * plan.MaxChannels // of a sample of all channels

// narrowed is a stretch with the channels that it has.
type narrowed struct {
	from     io.Reader // samples of plan.MaxChannels channels
	channels int
	left     int64 // samples
	buf      [2048 * decodedBytes]byte
	ready    []byte
}

func (n *narrowed) Read(p []byte) (int, error) {
	if len(n.ready) == 0 {
		if n.left == 0 {
			return 0, io.EOF
		}
		b := n.buf[:min(int64(len(n.buf)), n.left*decodedBytes)]
		if _, err := io.ReadFull(n.from, b); err != nil {
			return 0, unexpected(err)
		}
		n.left -= int64(len(b) / decodedBytes)
		size := 4 * n.channels
		for i := range len(b) / decodedBytes {
			copy(b[i*size:], b[i*decodedBytes:i*decodedBytes+size])
		}
		n.ready = b[:len(b)/decodedBytes*size]
	}
	k := copy(p, n.ready)
	n.ready = n.ready[k:]
	return k, nil
}

// Close does nothing: whoever decodes ends a Read that waits.
func (n *narrowed) Close() error { return nil }

// exact writes that many samples. A resampler may make one more or less.
type exact struct {
	w      io.Writer
	sample []byte // the last one
	left   int64
	extra  int64 // bytes that were left out
	at     int   // bytes of the present sample that came
}

// slack is how many samples a resampler may make more or less; its filter is
// shorter.
const slack = 64

func (e *exact) Write(p []byte) (int, error) {
	n := min(int64(len(p)), e.left*int64(len(e.sample))-int64(e.at))
	for _, b := range p[:n] {
		e.sample[e.at] = b
		if e.at++; e.at == len(e.sample) {
			e.at = 0
			e.left--
		}
	}
	e.extra += int64(len(p)) - n
	if _, err := e.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// fill repeats the last sample where some are missing.
func (e *exact) fill() error {
	if e.at != 0 || e.left > slack || e.extra > slack*int64(len(e.sample)) {
		return fmt.Errorf("convert a stretch: %d samples are missing, %d bytes are too many", e.left, e.extra)
	}
	_, err := e.w.Write(bytes.Repeat(e.sample, int(e.left)))
	return err
}
