package encode

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp3"
	"tonearm/internal/media/plan"
	"tonearm/internal/media/unfit"
)

// parallel is one track to encode on several cores. One ffmpeg decodes the
// track and applies its filters. The PCM is cut into chunks, and each chunk is
// encoded by another ffmpeg. Then the frames are joined. The result depends on
// the PCM alone, never on the number of workers, and is exactly as long as the
// PCM.
//
// The folder of the target holds the PCM of workers + 2 chunks meanwhile, in
// files without a name: 36 MB each at most.
type parallel struct {
	program  ffmpeg.Program
	play     player
	decode   ffmpeg.Command        // its args end before the format of what it writes to
	plan     plan.Plan             // rate, channels, and bit rate or quality of the MP3
	target   string                // file for the frames and their information frame; overwritten
	maxBytes int64                 // of them
	workers  int                   // 0 means as many as the CPUs that may be used
	frames   int                   // of a chunk; see chunkFrames
	progress func(seconds float64) // after each chunk; may be nil
}

// run encodes on several cores. The outcome is the decoder's; if the decoder
// fails, the target has what was there until then. The error is an *unfit.Error
// if the MP3 would become too large.
func (e parallel) run(ctx context.Context) (ffmpeg.Outcome, mp3.Cost, error) {
	e.workers = cmp.Or(e.workers, runtime.GOMAXPROCS(0))
	target, err := os.Create(e.target)
	if err != nil {
		return ffmpeg.Outcome{}, mp3.Cost{}, err
	}
	o, cost, err := e.encodeTo(ctx, target)
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	return o, cost, err
}

// encodeTo starts the decoder, the splitter and the encoders, and joins what
// the encoders make. If one of them fails, the others are ended.
func (e parallel) encodeTo(ctx context.Context, target *os.File) (ffmpeg.Outcome, mp3.Cost, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	pcm, decoded, err := os.Pipe()
	if err != nil {
		return ffmpeg.Outcome{}, mp3.Cost{}, err
	}
	var wg sync.WaitGroup
	var o ffmpeg.Outcome
	wg.Go(func() {
		defer decoded.Close()
		var err error
		if o, err = e.play(ctx, e.decoder(decoded)); err != nil {
			fail(err)
		}
	})
	slots := newSlots(e.workers + 2)
	chunks, begun := make(chan *chunk, cap(slots)), make(chan *chunk, cap(slots))
	for range e.workers {
		wg.Go(func() {
			for c := range begun { // the oldest first: the others wait for its slot
				c.run, c.err = e.encodeChunk(ctx, c)
				close(c.done)
			}
		})
	}
	s := splitter{dir: filepath.Dir(e.target), frame: e.frameBytes(), length: int64(e.frames), slots: slots}
	s.emit = func(c *chunk) { begun <- c; chunks <- c } // neither channel blocks, because a chunk needs a slot
	var size int64
	wg.Go(func() {
		defer pcm.Close() // ends the decoder if it is still running
		defer close(begun)
		defer close(chunks)
		var err error
		if size, err = s.split(ctx, pcm); err != nil {
			fail(err)
		}
	})

	j := joining{e: e, w: mp3.NewWriter(target, e.plan.Kbps)}
	j.joiner = mp3.NewJoiner(j.w)
	for c := range chunks {
		if err := j.add(ctx, c); err != nil {
			fail(err)
		}
		slots <- c.pcm.File
	}
	wg.Wait()
	slots.close()
	if err := context.Cause(ctx); err != nil {
		return o, mp3.Cost{}, err
	}
	cost, err := j.finish(size / e.sampleBytes())
	return o, cost, err
}

// decoder is the run of ffmpeg that decodes.
func (e parallel) decoder(to *os.File) ffmpeg.Command {
	c := e.decode
	c.Args = slices.Concat(c.Args, []string{"-c:a", "pcm_f32le"}, pcm32(e.plan.Rate, e.plan.Channels), []string{"pipe:1"})
	c.Stdout = to
	return c
}

// pcm32 describes PCM to ffmpeg: 32-bit floats, channels in turn.
func pcm32(rate, channels int) []string {
	return []string{"-f", "f32le", "-ar", strconv.Itoa(rate), "-ac", strconv.Itoa(channels)}
}

// sampleBytes is the size of a sample of all channels.
func (e parallel) sampleBytes() int64 { return 4 * int64(e.plan.Channels) }

// frameBytes is the size of the PCM in one frame of the MP3.
func (e parallel) frameBytes() int64 { return int64(mp3.FrameSamples(e.plan.Rate)) * e.sampleBytes() }

// encodeChunk encodes one chunk.
func (e parallel) encodeChunk(ctx context.Context, c *chunk, options ...string) ([]mp3.Frame, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pcm, err := c.input()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	o, err := e.program.Run(ctx, ffmpeg.Command{
		Input: pcm, Dir: filepath.Dir(e.target), Formats: "f32le", Decoders: "pcm_f32le",
		Before:  pcm32(e.plan.Rate, e.plan.Channels),
		Args:    append(encoderArgs(e.plan), append(options, "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", "pipe:1")...),
		Stdout:  &out,
		Timeout: e.decode.Timeout,
	})
	if c.none.Load() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := o.Failure(); err != nil {
		return nil, err
	}
	if o.Err != nil {
		return nil, fmt.Errorf("the encoder failed with exit status %d: %s", o.Err.ExitCode(), o.Tail())
	}
	run, err := mp3.Run(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("read what the encoder made: %w", err)
	}
	return run, nil
}

// joining puts the chunks' frames together, in order.
type joining struct {
	e      parallel
	w      *mp3.Writer
	joiner *mp3.Joiner
	frames int // joined so far
}

// add waits for a chunk and joins its frames.
func (j *joining) add(ctx context.Context, c *chunk) error {
	<-c.done
	if c.err != nil || c.none.Load() {
		return c.err
	}
	err := j.join(c)
	if errors.Is(err, mp3.ErrNoSeam) {
		if c.run, err = j.e.encodeChunk(ctx, c, "-reservoir", "0"); err == nil {
			err = j.join(c)
		}
	}
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if j.w.Size() > j.e.maxBytes {
		return unfit.TooLarge(j.e.maxBytes)
	}
	if j.e.progress != nil {
		j.e.progress(float64(j.frames*mp3.FrameSamples(j.e.plan.Rate)) / float64(j.e.plan.Rate))
	}
	return nil
}

func (j *joining) join(c *chunk) error {
	own := j.e.frames
	if c.last {
		own = len(c.run) - c.lead
	}
	if err := j.joiner.Append(c.run, c.lead, own); err != nil {
		return err
	}
	j.frames += own
	return nil
}

// finish writes the rest and the information frame.
func (j *joining) finish(samples int64) (mp3.Cost, error) {
	cost, err := j.joiner.Close()
	if err != nil {
		return cost, fmt.Errorf("join: %w", err)
	}
	err = j.w.Close(mp3.Info{Delay: mp3.EncoderDelay, Samples: samples})
	return cost, err
}
