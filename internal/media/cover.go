package media

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
)

// Limits of a cover.
const (
	coverSide    = 1000      // pixels, of the longer side
	coverBytes   = 500_000   // of the JPEG
	coverPixels  = 100 << 20 // of the picture that it is made of
	coverTimeout = time.Minute
)

// pictureDecoders maps each codec of pictures that is accepted to the decoders
// that ffmpeg takes for it. A run for a cover may open those of the one codec
// alone.
var pictureDecoders = map[string]string{
	"mjpeg": "mjpeg", "png": "png", "bmp": "bmp", "gif": "gif", "webp": "webp",
	"h264": "h264", "hevc": "hevc", "av1": "libdav1d,libaom-av1,av1", "vp8": "vp8", "vp9": "vp9",
	"mpeg1video": "mpeg1video", "mpeg2video": "mpeg2video", "mpeg4": "mpeg4", "h263": "h263", "flv1": "flv", "vp6f": "vp6f",
	"msmpeg4v1": "msmpeg4v1", "msmpeg4v2": "msmpeg4v2", "msmpeg4v3": "msmpeg4",
	"wmv1": "wmv1", "wmv2": "wmv2", "wmv3": "wmv3", "vc1": "vc1", "theora": "theora", "svq1": "svq1", "svq3": "svq3",
	"prores": "prores", "dnxhd": "dnxhd", "dvvideo": "dvvideo",
}

// onGPU are the codecs that NVIDIA's decoder knows. Others would be decoded
// without it, and without a limit on memory.
var onGPU = []string{"h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3", "mjpeg"}

// picture is one stream of pictures, or none.
type picture struct {
	stream string // its index among all streams, '' for none
	codec  string // ffmpeg's name
	track  uint32 // the container's id of it; 0 where it has none
}

// adopt takes the stream unless there is one already. desc is ffmpeg's
// description, such as "h264 (High) (avc1 / 0x31637661), none, 64x48".
func (p *picture) adopt(stream, id, desc string) {
	if p.stream == "" {
		codec, _, _ := strings.Cut(desc, " ")
		n, _ := strconv.ParseUint(id, 16, 32)
		*p = picture{stream, strings.TrimSuffix(codec, ","), uint32(n)}
	}
}

// shot is one way to make a picture: where ffmpeg seeks to, and which frame it
// takes.
type shot struct {
	input   []string   // options of the source
	filters string     // that pick one frame and scale it
	window  mp4.Window // the part of the source that ffmpeg decodes for input
	gpu     bool
}

// coverError says why there is no cover, in a sentence.
type coverError string

func (e coverError) Error() string { return string(e) }

// cover makes the picture that the options ask for: a JPEG without metadata, at
// most coverSide pixels wide and high. It is nil if the options ask for none,
// or if the source's own picture is wanted and there is none. The error is a
// coverError, or ctx's.
func (ff FFmpeg) cover(ctx context.Context, spec EncodeSpec) ([]byte, error) {
	if spec.parts != nil {
		img, err := ff.coverOfParts(ctx, spec)
		if err != nil {
			return nil, err
		}
		if img != nil {
			return encodeJPEG(img)
		}
		if spec.Source, err = ff.wholePictures(ctx, spec); err != nil {
			return nil, err
		}
	}
	from, shots, err := spec.shots()
	if err != nil || len(shots) == 0 {
		return nil, err
	}
	decoders := pictureDecoders[from.codec]
	if decoders == "" {
		return nil, coverError(fmt.Sprintf("The picture is in the format %q, which Tonearm cannot read.", from.codec))
	}
	for _, s := range shots {
		img, _, err := ff.shoot(ctx, spec.Source.Path, from, s)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cover: %w", context.Cause(ctx))
		}
		if err == nil {
			return encodeJPEG(img)
		}
	}
	if at, ok := spec.Options.Cover.Seconds(); ok {
		return nil, coverError(fmt.Sprintf("No picture can be decoded at %v s.", at))
	}
	return nil, coverError("The picture cannot be decoded.")
}

// shots are the ways to the cover, to be tried in turn.
func (spec EncodeSpec) shots() (picture, []shot, error) {
	video, info := spec.Source.video, spec.Source
	switch at, timed := spec.Options.Cover.Seconds(); {
	case spec.Options.Cover == conversion.CoverNone:
		return picture{}, nil, nil
	case !spec.Options.Cover.Decodes():
		if info.attached.stream == "" && spec.Options.Cover != "" {
			return picture{}, nil, coverError("No picture is attached to the video file.")
		}
		if info.attached.stream == "" {
			return picture{}, nil, nil
		}
		return info.attached, []shot{{filters: fitted}}, nil
	case video.stream == "":
		return picture{}, nil, coverError("The file has no moving pictures, so there is no frame for a cover.")
	case timed && info.Seconds > 0 && at >= info.Seconds:
		return picture{}, nil, coverError(fmt.Sprintf("You asked for a cover at %v s, but the video ends after %s.", at, human(info.Seconds)))
	case timed:
		return video, spec.ways(video, frameAt(at, info.Start, info.Container)), nil
	}
	return video, spec.ways(video, posters(spec.from(), spec.until(), info)...), nil
}

// lookShortly limits how long ffmpeg looks at the streams of an MP4, whose
// index says what they are. Without it ffmpeg would read 30 s of the file to
// find out more about the audio, because no decoder of audio may be opened.
// mp4.Heads has what ffmpeg reads.
var lookShortly = []string{"-analyzeduration", "1M"}

// ways returns each shot twice, first for the GPU, if the machine has one.
func (spec EncodeSpec) ways(p picture, shots ...shot) []shot {
	if strings.HasPrefix(spec.Source.Container, "mov,") {
		for i := range shots {
			shots[i].input = append(slices.Clone(lookShortly), shots[i].input...)
		}
	}
	if spec.Class != conversion.GPU || !slices.Contains(onGPU, p.codec) {
		return shots
	}
	var both []shot
	for _, s := range shots {
		fast := s
		fast.gpu = true
		fast.input = append([]string{"-hwaccel", "cuda"}, s.input...)
		if p.codec == "av1" { // only ffmpeg's own decoder can use a GPU
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
func posters(from, until float64, info Info) []shot {
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

// from and until are the part of the source that becomes audio, in seconds;
// until is 0 where the end is not known.
func (spec EncodeSpec) from() float64 { return spec.Options.Start }

func (spec EncodeSpec) until() float64 {
	switch end, all := spec.Options.End, spec.Source.Seconds; {
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
func (ff FFmpeg) shoot(ctx context.Context, path string, from picture, s shot) (img image.Image, warnings string, err error) {
	out := head{limit: coverSide*coverSide*4 + 1<<10}
	o, err := ff.run(ctx, path, false, ffmpeg.Command{
		Before:   append([]string{"-v", "warning", "-flags:v", "+bitexact", "-max_pixels", strconv.Itoa(coverPixels)}, s.input...),
		Decoders: pictureDecoders[from.codec],
		GPU:      s.gpu,
		MaxBytes: 1 << 30, // no file is written, but memory shared by CUDA counts as one
		Args: []string{
			"-map", "0:" + from.stream, "-map_metadata", "-1", "-map_chapters", "-1",
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
			return nil, coverError("The picture cannot be encoded.")
		}
		// Some players know a JPEG only by the JFIF header, which Go leaves out:
		// version 1.1, pixels as wide as high, no thumbnail.
		const jfif = "\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
		out := append([]byte("\xff\xd8"+jfif), b.Bytes()[2:]...)
		if len(out) <= coverBytes {
			return out, nil
		}
	}
	return nil, coverError("The picture does not fit into the MP3.")
}

func decimal(v float64) string { return strconv.FormatFloat(math.Max(0, v), 'f', 6, 64) }
