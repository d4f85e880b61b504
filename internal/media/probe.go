package media

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/unfit"
)

// maxTracks limits how much memory a hostile file can use.
const maxTracks = 1000

// Info is what a source turned out to be.
type Info struct {
	Path      string
	Size      int64   // bytes
	Container string  // the demuxer's name, such as "mov,mp4,m4a,3gp,3g2,mj2"
	Seconds   float64 // length that the container promises for all streams together; 0 for none
	Start     float64 // seconds, the container's smallest time stamp
	Title     string  // '' for none
	Tracks    []Track // audio tracks, at least one
	FFmpeg    string  // version of the ffmpeg that looked

	streams  int     // of any kind
	mayPipe  bool    // it may be played from a pipe while it grows
	late     bool    // tags may have arrived since
	single   bool    // the file has no audio track other than the chosen one
	cut      bool    // a box of the MP4 is longer than the file
	last     float64 // see structure
	video    picture // the first moving picture
	attached picture // the first picture that the container attaches to the whole
	meta     metadata
}

// extracted returns the Info of a file that holds only the track with the
// index. It lists all tracks of the source that the file was extracted from.
func (i Info) extracted(all []Track, index int) Info {
	all = slices.Clone(all)
	all[index] = i.Tracks[0]
	i.Tracks, i.single = all, true
	return i
}

// Track is one audio track.
type Track struct {
	Codec      string  // ffmpeg's name, such as "aac", or the container's four letters
	SampleRate int     // Hz, 0 where it could not be told
	Channels   int     // 0 where it could not be told
	Language   string  // as the container has it, '' for none
	Default    bool    // the container's default track
	Start      float64 // seconds on a player's clock where it begins; known where Exact
	Seconds    float64
	// Exact means that the track itself promises Seconds. Otherwise Seconds is
	// what the container promises for all streams, or 0 for nothing.
	Exact bool

	kbps      int     // bit rate, 0 where it could not be told
	skip      float64 // seconds of it that are not played before Start; -1 where it is played in pieces; known where Exact
	id        uint32  // the container's; 0 where it has none
	encrypted bool
}

// Probe looks at the local file. It returns an *Error for a file that can
// never become an MP3, whatever the options.
func (ff FFmpeg) Probe(ctx context.Context, path string) (Info, error) {
	l, err := ff.look(path)
	if err != nil {
		return Info{}, fmt.Errorf("probe: %w", err)
	}
	return ff.probe(ctx, l)
}

// looked is a local file whose outermost layer is known.
type looked struct {
	structure
	path         string
	bytes        int64 // it has, or will have
	mayPipe      bool  // it may be played from a pipe while it grows
	sourceTracks []Track
	index        int // of its track among them; see Growing
}

// look reads the outermost layer of a file.
func (ff FFmpeg) look(path string) (looked, error) {
	f, err := os.Open(path)
	if err != nil {
		return looked{}, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return looked{}, err
	}
	var source io.ReaderAt = f
	l := looked{path: path, bytes: stat.Size()}
	if ff.Source != nil {
		source, l.bytes = ff.Source, ff.Source.Size()
		l.sourceTracks, l.index = ff.Source.SourceTracks()
	}
	if l.bytes == 0 {
		return looked{}, &Error{Code: conversion.EmptySource.Code, Message: conversion.EmptySource.Message}
	}
	l.structure, err = inspect(source, l.bytes)
	l.mayPipe = l.streamable && ff.Source != nil && !ff.Source.Seek()
	return l, err
}

// describing are the arguments with which ffmpeg writes the source's tags and
// chapters, and nothing of its streams.
func describing(streams, target string, options ...string) []string {
	args := append([]string{"-map", streams, "-map_metadata", "0", "-map_chapters", "0", "-c", "copy"}, options...)
	return append(args, "-f", "ffmetadata", target)
}

// probe makes ffmpeg look at a file. It reads only the head (-t 0); tags and
// chapters come on stdout. After the source, -t would also cut the chapters.
func (ff FFmpeg) probe(ctx context.Context, l looked) (Info, error) {
	meta := head{limit: maxMetadata}
	o, err := ff.run(ctx, l.path, l.mayPipe, ffmpeg.Command{
		Before:  []string{"-t", "0"},
		Args:    describing("0:a?", "pipe:1"),
		Stdout:  &meta,
		Timeout: probeTimeout,
	})
	if err != nil {
		return Info{}, fmt.Errorf("probe: %w", err)
	}
	info, err := l.info(o)
	if err != nil {
		return Info{}, err
	}
	info.readTags(string(meta.bytes))
	return info, nil
}

// info is what ffmpeg said of the file, without the tags and chapters.
func (l looked) info(o ffmpeg.Outcome) (Info, error) {
	info := parseDump(o.Stderr)
	info.Path, info.Size, info.last, info.mayPipe = l.path, l.bytes, l.last, l.mayPipe
	info.late = l.mayPipe && l.late
	info.cut = l.mp4 != nil && l.mp4.End > info.Size
	if l.open {
		info.Seconds = 0
	}
	if err := l.judge(info, o); err != nil {
		return Info{}, err
	}
	for i := range info.Tracks {
		tr := &info.Tracks[i]
		tr.Seconds = info.Seconds
		if l.mp4 != nil {
			tr.promise(l.mp4, info.Start)
		}
	}
	if l.sourceTracks != nil {
		info = info.extracted(l.sourceTracks, l.index)
	}
	return info, nil
}

// promise sets what the track itself promises in an MP4 that begins at start.
func (t *Track) promise(m *mp4.Movie, start float64) {
	in := m.Track(t.id)
	if in == nil || in.Handler != "soun" {
		return
	}
	t.encrypted = in.Encrypted
	if !m.Fragmented {
		t.Start, t.Seconds, t.Exact, t.skip = max(0, in.Delay-start), in.Seconds, true, in.Skip
	}
}

// readTags takes over the source's tags and chapters as ffmpeg wrote them.
func (i *Info) readTags(metadata string) {
	i.meta = parseMetadata(metadata)
	if i.Container == "mp3" || i.Start < 0 { // ffmpeg counts from the first time stamp, a player from 0
		i.meta.shift(i.Start)
	}
	i.Title = i.meta.tags(i.Container, 0).Title
}

// judge says why the file can never become an MP3, if that is so.
func (s structure) judge(info Info, o ffmpeg.Outcome) error {
	if err := o.Failure(); err != nil {
		return err
	}
	cut := s.size > info.Size || info.cut && !s.mp4.Found
	recognized := info.Container != "" && !misdetected(o.Stderr)
	switch {
	case cut && (recognized || s.known):
		return unfit.New(conversion.CodeTruncated, "The file ends too early. The upload or the recording was cut off.").Because(o.Tail())
	case s.mp4 != nil && !s.mp4.Found && !recognized:
		return unfit.New(conversion.CodeDamaged, "The file has no index (moov box), so nothing can be found in it. The recording was probably never finished.").Because(o.Tail())
	case !recognized && s.known:
		return unfit.New(conversion.CodeDamaged, "The beginning of the file is damaged.").Because(o.Tail())
	case !recognized:
		return unfit.New(conversion.CodeNotMedia, "The file is not a video or sound file in a format that Tonearm can read.").Because(o.Tail())
	case len(info.Tracks) == 0 && info.streams == 0:
		return unfit.New(conversion.CodeDamaged, "Nothing in the file can be played.").Because(o.Tail())
	case len(info.Tracks) == 0:
		return unfit.New(conversion.CodeNoAudio, "The video has no sound.").Because(o.Tail())
	}
	return nil
}

var (
	reVersion  = regexp.MustCompile(`^ffmpeg version (\S+)`)
	reInput    = regexp.MustCompile(`^Input #0, (\S+), from '`)
	reDuration = regexp.MustCompile(`^  Duration: (?:N/A|(\d+):(\d\d):(\d\d\.\d+))(?:, start: (-?\d+\.\d+))?`)
	reStream   = regexp.MustCompile(`^  Stream #0:(\d+)(?:\[0x([0-9a-f]+)\])?(?:\(([^)]*)\))?: (\w+): (.*)`)
	reLetters  = regexp.MustCompile(`^[^,]*\(([\w.-]{4}) / 0x[0-9A-F]{8}\)`)
	reRate     = regexp.MustCompile(`, (\d+) Hz(?:, ([^,]+))?`)
	reBitrate  = regexp.MustCompile(`, (\d+) kb/s`)
	reLowScore = regexp.MustCompile(`detected only with low score of (\d+)`)
	reDigits   = regexp.MustCompile(`\d+`)
)

// misdetected reports that ffmpeg only guessed the format. A short but whole
// MP3 file scores 25.
func misdetected(stderr string) bool {
	m := reLowScore.FindStringSubmatch(stderr)
	if m == nil {
		return false
	}
	score, err := strconv.Atoi(m[1])
	return err != nil || score < 25
}

// parseDump reads ffmpeg's description of its input, the part of stderr from
// "Input #0" on. The source's tags may put lines of their own there. Such a
// source lies only about itself, and the limits on the result apply all the
// same.
func parseDump(stderr string) Info {
	var info Info
	promised := !strings.Contains(stderr, "Estimating duration from bitrate")
	lines := bufio.NewScanner(strings.NewReader(stderr))
	lines.Buffer(nil, len(stderr)+1)
	for lines.Scan() {
		line := lines.Text()
		if m := reVersion.FindStringSubmatch(line); m != nil && info.FFmpeg == "" {
			info.FFmpeg = m[1]
		}
		if m := reInput.FindStringSubmatch(line); m != nil {
			info.Container = m[1]
		}
		if info.Container == "" {
			continue
		}
		if strings.HasPrefix(line, "Output #0") || strings.HasPrefix(line, "Stream mapping:") {
			break
		}
		if m := reDuration.FindStringSubmatch(line); m != nil {
			h, _ := strconv.ParseFloat(m[1], 64)
			minutes, _ := strconv.ParseFloat(m[2], 64)
			s, _ := strconv.ParseFloat(m[3], 64)
			info.Start, _ = strconv.ParseFloat(m[4], 64)
			info.Seconds = h*3600 + minutes*60 + s
		}
		if m := reStream.FindStringSubmatch(line); m != nil {
			info.streams++
			switch {
			case m[4] == "Audio" && len(info.Tracks) < maxTracks:
				info.Tracks = append(info.Tracks, parseTrack(m[2], m[3], m[5]))
			case m[4] == "Video" && strings.Contains(m[5], "(attached pic)"):
				info.attached.adopt(m[1], m[2], m[5])
			case m[4] == "Video":
				info.video.adopt(m[1], m[2], m[5])
			}
		}
	}
	// The demuxers of MPEG streams look at the last time stamps instead.
	if !promised || info.Container == "mpegts" || info.Container == "mpeg" {
		info.Seconds = 0
	}
	return info
}

// parseTrack takes the container's four letters for a codec that cannot be
// decoded. It reads "aac (LC) (mp4a / 0x6134706D), 48000 Hz, mono, fltp, 69 kb/s (default)".
func parseTrack(id, language, desc string) Track {
	var t Track
	n, _ := strconv.ParseUint(id, 16, 32)
	t.id = uint32(n)
	t.Codec, _, _ = strings.Cut(desc, " ")
	t.Codec = strings.TrimSuffix(t.Codec, ",")
	if m := reLetters.FindStringSubmatch(desc); m != nil && decoders[t.Codec] == "" {
		t.Codec = m[1] // ffmpeg may have no name for it
	}
	if language != "und" {
		t.Language = language
	}
	t.Default = strings.Contains(desc, "(default)")
	if m := reRate.FindStringSubmatch(desc); m != nil {
		t.SampleRate, _ = strconv.Atoi(m[1])
		t.Channels = channelCount(m[2])
	}
	if m := reBitrate.FindStringSubmatch(desc); m != nil {
		t.kbps, _ = strconv.Atoi(m[1])
	}
	return t
}

// channelCount reads the name of a channel layout: mono, 5.1(side), 7.1.4,
// quad, 16 channels (…). It returns 0 for unknown names.
func channelCount(layout string) int {
	name, _, _ := strings.Cut(layout, "(")
	name = strings.TrimSpace(name)
	switch name {
	case "mono":
		return 1
	case "stereo", "downmix", "binaural":
		return 2
	case "quad":
		return 4
	case "hexagonal":
		return 6
	case "octagonal", "cube":
		return 8
	case "hexadecagonal":
		return 16
	}
	if n, ok := strings.CutSuffix(name, " channels"); ok {
		name = n
	}
	if strings.Trim(name, "0123456789.") != "" {
		return 0
	}
	total := 0
	for _, d := range reDigits.FindAllString(name, 4) {
		n, _ := strconv.Atoi(d)
		total += n
	}
	return total
}
