// Package cover makes the picture in an MP3.
package cover

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/unfit"
)

// Limits of a cover.
const (
	coverSide    = 1000      // pixels, of the longer side
	coverBytes   = 500_000   // of the JPEG
	coverPixels  = 100 << 20 // of the picture that it is made of
	coverTimeout = time.Minute
)

// onGPU are the codecs that NVIDIA's decoder knows. Others would be decoded
// without it, and without a limit on memory.
var onGPU = []string{"h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3", "mjpeg"}

// shot is one way to make a picture: where ffmpeg seeks to, and which frame it
// takes.
type shot struct {
	input   []string   // options of the source
	filters string     // that pick one frame and scale it
	window  mp4.Window // the part of the source that ffmpeg decodes for input
	gpu     bool
}

// Missing says why there is no cover, in a sentence.
type Missing string

func (e Missing) Error() string { return string(e) }

// Spec is what is wanted of a source.
type Spec struct {
	Cover      conversion.Cover
	Start, End float64          // seconds of the source that become audio; End is 0 for no end
	Class      conversion.Class // of the machine; a GPU helps
	// Pictures are the source of a picture that must be decoded; nil if the file
	// itself has the pictures.
	Pictures Pictures
}

// job makes one picture.
type job struct {
	in   *probe.Input
	spec Spec
}

// Make makes the picture that is wanted: a JPEG without metadata, at most
// coverSide pixels wide and high. It is nil if none is wanted, or if the source's
// own picture is wanted and there is none. Until it is known what the source is, it
// fetches what the picture is probably made of, if the source does not have that. The
// error is a Missing, or ctx's.
func Make(ctx context.Context, in *probe.Input, spec Spec, known <-chan probe.Info) ([]byte, error) {
	j := &job{in: in, spec: spec}
	parts := j.fetchParts(ctx)
	var info probe.Info
	select {
	case info = <-known:
	case <-ctx.Done():
		return nil, fmt.Errorf("cover: %w", context.Cause(ctx))
	}
	if parts != nil {
		img, err := j.coverOfParts(ctx, parts)
		if err != nil {
			return nil, err
		}
		if img != nil {
			return encodeJPEG(img)
		}
		if in, info, err = j.wholePictures(ctx); err != nil {
			return nil, err
		}
	}
	from, shots, err := j.shots(info)
	if err != nil || len(shots) == 0 {
		return nil, err
	}
	decoders := ffmpeg.PictureDecoders[from.Codec]
	if decoders == "" {
		return nil, Missing(fmt.Sprintf("The picture is in the format %q, which Tonearm cannot read.", from.Codec))
	}
	var last error
	for _, s := range shots {
		img, _, err := shoot(ctx, in.Source, from, s)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cover: %w", context.Cause(ctx))
		}
		if err == nil {
			return encodeJPEG(img)
		}
		last = err
	}
	if errors.Is(last, ffmpeg.ErrCannotRun) {
		return nil, fmt.Errorf("cover: %w", last)
	}
	if at, ok := j.spec.Cover.Seconds(); ok {
		return nil, Missing(fmt.Sprintf("No picture can be decoded at %v s.", at))
	}
	return nil, Missing("The picture cannot be decoded.")
}

// shots are the ways to the cover, to be tried in turn.
func (j *job) shots(info probe.Info) (probe.Picture, []shot, error) {
	video := info.Video
	switch at, timed := j.spec.Cover.Seconds(); {
	case j.spec.Cover == conversion.CoverNone:
		return probe.Picture{}, nil, nil
	case !j.spec.Cover.Decodes():
		if info.Attached.Stream == "" && j.spec.Cover != "" {
			return probe.Picture{}, nil, Missing("No picture is attached to the video file.")
		}
		if info.Attached.Stream == "" {
			return probe.Picture{}, nil, nil
		}
		return info.Attached, []shot{{filters: fitted}}, nil
	case video.Stream == "":
		return probe.Picture{}, nil, Missing("The file has no moving pictures, so there is no frame for a cover.")
	case timed && info.Seconds > 0 && at >= info.Seconds:
		return probe.Picture{}, nil, Missing(fmt.Sprintf("You asked for a cover at %v s, but the video ends after %s.", at, unfit.About(info.Seconds)))
	case timed:
		return video, j.ways(video, info, frameAt(at, info.Start, info.Container)), nil
	}
	return video, j.ways(video, info, posters(j.spec.Start, j.until(info), info)...), nil
}

// lookShortly limits how long ffmpeg looks at the streams of an MP4, whose
// index says what they are. Without it ffmpeg would read 30 s of the file to
// find out more about the audio, because no decoder of audio may be opened.
// mp4.Heads has what ffmpeg reads.
var lookShortly = []string{"-analyzeduration", "1M"}

// ways returns each shot twice, first for the GPU, if the machine has one.
func (j *job) ways(p probe.Picture, info probe.Info, shots ...shot) []shot {
	if strings.HasPrefix(info.Container, "mov,") {
		for i := range shots {
			shots[i].input = append(slices.Clone(lookShortly), shots[i].input...)
		}
	}
	if j.spec.Class != conversion.GPU || !slices.Contains(onGPU, p.Codec) {
		return shots
	}
	var both []shot
	for _, s := range shots {
		fast := s
		fast.gpu = true
		fast.input = append([]string{"-hwaccel", "cuda"}, s.input...)
		if p.Codec == "av1" { // only ffmpeg's own decoder can use a GPU
			fast.input = append(fast.input, "-c:v", "av1")
		}
		both = append(both, fast, s)
	}
	return both
}

// frameAt picks the frame that a player shows at a time: the last one that
// begins no later. start is the source's first time stamp. Decoding begins at a
// key frame before that time. A stream without an index may be seeked
// inexactly, so decoding begins earlier there.
func frameAt(at, start float64, container string) shot {
	lead := 1.0 // seeking rounds to the clock of the pictures, which may be slow
	if container == "mpegts" || container == "mpeg" {
		lead = 10
	}
	input := []string{"-copyts"} // times stay exact; a player begins at the first one, but not before 0
	if seek := at - min(0, start) - lead; seek > 0 {
		input = append(input, "-noaccurate_seek", "-ss", decimal(seek))
	}
	zero := at + max(0, start)
	// One frame for each second, rounded up: frame 0 is the last one that is
	// not later.
	return shot{
		input: input, filters: "settb=AVTB,setpts=PTS-" + decimal(zero) + "/TB,fps=fps=1:start_time=0:round=up," + fitted,
		window: mp4.Window{From: zero - lead, To: zero},
	}
}

// keys make the decoder, and if possible the demuxer, leave out all frames
// except key frames.
var keys = []string{"-skip_frame", "nokey", "-discard:v", "nokey"}

// posters returns three shots, to be tried in turn: the most typical of some
// frames from the middle of the part, the frame in the very middle, the first
// frame. until is 0 if the end is not known.
func posters(from, until float64, info probe.Info) []shot {
	const (
		frames = 24 // so many are compared
		short  = 40 // seconds; in a longer video key frames will do
		window = 60
	)
	length := max(until-from, 0)
	begin, seconds := from+length/4, length/2
	s := shot{filters: fitted + ",thumbnail=" + strconv.Itoa(frames)} // this filter keeps them in memory
	switch {
	case until == 0:
		s.input, s.window.Keys, seconds = keys, frames, window
	case length > short:
		s.input, s.window.Keys, seconds = keys, frames, min(seconds, window)
	default:
		seconds = max(seconds, 0.1)
		s.filters = "fps=" + decimal(frames/seconds) + "," + s.filters
	}
	s.input = append(slices.Clone(s.input), "-ss", decimal(begin), "-t", decimal(seconds))
	s.window.From, s.window.To = info.Start+begin, info.Start+begin+seconds
	return []shot{s, frameAt(from+length/2, info.Start, info.Container), frameAt(from, info.Start, info.Container)}
}

// until is where the part of the source ends that becomes audio, in seconds; 0
// where the end is not known.
func (j *job) until(info probe.Info) float64 {
	switch end, all := j.spec.End, info.Seconds; {
	case end == 0, all > 0 && end > all:
		return max(all, 0)
	default:
		return end
	}
}

// fitted scales to at most coverSide pixels, with square ones, never up.
var fitted = func() string {
	w, h := `iw*min(1\,sar)`, `ih/max(1\,sar)` // as it is shown
	factor := fmt.Sprintf(`min(1\,%d/max(%s\,%s))`, coverSide, w, h)
	side := func(s string) string { return fmt.Sprintf(`max(1\,round(%s*%s))`, s, factor) }
	return "scale=w=" + side(w) + ":h=" + side(h) + ",setsar=1"
}()

// pixels is the filter that makes them what readPAM reads.
const pixels = "format=rgba"

// shoot makes ffmpeg decode and scale one picture. It also returns ffmpeg's
// warnings.
func shoot(ctx context.Context, source ffmpeg.Source, from probe.Picture, s shot) (img image.Image, warnings string, err error) {
	out := head{limit: coverSide*coverSide*4 + 1<<10}
	o, err := source.Run(ctx, ffmpeg.Command{
		Before:   append([]string{"-v", "warning", "-flags:v", "+bitexact", "-max_pixels", strconv.Itoa(coverPixels)}, s.input...),
		Decoders: ffmpeg.PictureDecoders[from.Codec],
		GPU:      s.gpu,
		MaxBytes: 1 << 30, // no file is written, but memory shared by CUDA counts as one
		Args: []string{
			"-map", "0:" + from.Stream, "-map_metadata", "-1", "-map_chapters", "-1",
			"-filter_threads", "1", "-vf", s.filters + "," + pixels,
			"-sws_flags", "bicubic+accurate_rnd+full_chroma_int+bitexact", // the same pixels on any machine
			"-frames:v", "1", "-c:v", "pam", "-f", "image2pipe", "pipe:1",
		},
		Stdout:  &out,
		Timeout: coverTimeout,
	})
	if err != nil {
		return nil, "", err
	}
	if img, err = readPAM(out.bytes); err != nil {
		return nil, "", fmt.Errorf("%w: %s", err, o.Tail())
	}
	return img, o.Stderr, nil
}

var errNoPicture = errors.New("no picture")

// readPAM reads a picture of red, green, blue and opacity of 8 bits each, as
// ffmpeg writes it: lines of a key and a value, then the rows.
func readPAM(b []byte) (*image.NRGBA, error) {
	r := bufio.NewReader(bytes.NewReader(b))
	if magic, _ := r.ReadString('\n'); magic != "P7\n" {
		return nil, errNoPicture
	}
	values := map[string]int{}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, errNoPicture
		}
		if line == "ENDHDR\n" {
			break
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		values[key], _ = strconv.Atoi(value)
	}
	w, h := values["WIDTH"], values["HEIGHT"]
	if w < 1 || h < 1 || w > coverSide || h > coverSide || values["DEPTH"] != 4 || values["MAXVAL"] != 255 {
		return nil, errNoPicture
	}
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	if _, err := io.ReadFull(r, img.Pix); err != nil {
		return nil, errNoPicture
	}
	return img, nil
}

// encodeJPEG writes a baseline JPEG with nothing but the picture, on white
// where the picture is transparent. It uses the best quality that fits into the
// size limit.
func encodeJPEG(img image.Image) ([]byte, error) {
	opaque := image.NewRGBA(img.Bounds())
	draw.Draw(opaque, opaque.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(opaque, opaque.Rect, img, image.Point{}, draw.Over)
	for quality := 90; quality > 0; quality -= 10 {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, opaque, &jpeg.Options{Quality: quality}); err != nil {
			return nil, Missing("The picture cannot be encoded.")
		}
		// Some players know a JPEG only by the JFIF header, which Go leaves out:
		// version 1.1, pixels as wide as high, no thumbnail.
		const jfif = "\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
		out := append([]byte("\xff\xd8"+jfif), b.Bytes()[2:]...)
		if len(out) <= coverBytes {
			return out, nil
		}
	}
	return nil, Missing("The picture does not fit into the MP3.")
}

func decimal(v float64) string { return strconv.FormatFloat(math.Max(0, v), 'f', 6, 64) }

// head keeps the beginning of what is written to it.
type head struct {
	bytes []byte
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.bytes = append(h.bytes, p[:min(len(p), h.limit-len(h.bytes))]...)
	return len(p), nil
}
