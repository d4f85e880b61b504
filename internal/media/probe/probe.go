// Package probe finds out what a source is: its tracks, its pictures, and what it
// says about itself.
package probe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/unfit"
)

const timeout = 2 * time.Minute

// MaxTracks limits how much memory a hostile file can use.
const MaxTracks = 1000

// Info is what a source turned out to be.
type Info struct {
	Size      int64   // bytes
	Container string  // the demuxer's name, such as "mov,mp4,m4a,3gp,3g2,mj2"
	Seconds   float64 // length that the container promises for all streams together; 0 for none
	Start     float64 // seconds, the container's smallest time stamp
	Tracks    []Track // audio tracks, at least one
	FFmpeg    string  // version of the ffmpeg that looked
	Streams   int     // of any kind
	Single    bool    // the file has no audio track other than the chosen one
	Cut       bool    // a box of the MP4 is longer than the file
	Whole     bool    // the file has all the bytes that it says it has
	Torn      bool    // bytes seem to be missing at its end
	Chained   bool    // it is a chain of Ogg streams, each with a clock of its own
	Last      float64 // seconds, the time stamp at the very end of an FLV; 0 elsewhere
	Video     Picture // the first moving picture
	Late      bool    // Meta may have arrived since; see [Input.LookAgain]
	Meta
}

// Meta is the part of what a source says about itself that an MP3 repeats. It has
// no places, devices or programs.
type Meta struct {
	Attached Picture           // the first picture that the container attaches to the whole
	Chapters []Chapter         // by their beginnings; the first 10,000
	Listed   int               // how many chapters the source has
	file     conversion.Tags   // of the file
	tracks   []conversion.Tags // of each audio track
}

// Track is one audio track.
type Track struct {
	Codec      string // ffmpeg's name, such as "aac", or the container's four letters
	SampleRate int    // Hz, 0 where it could not be told
	Channels   int    // 0 where it could not be told
	Order      string // of the channels, with "+" between ffmpeg's names; '' for the usual one
	Language   string // as the container has it, '' for none
	Default    bool   // the container's default track
	Kbps       int    // bit rate, 0 where it could not be told
	Ambisonic  bool   // the channels are a sound field, not loudspeakers
	Encrypted  bool
	Start      float64 // seconds on a player's clock where it begins; known where Exact
	Seconds    float64
	// Own means that the track itself promises Seconds. Otherwise Seconds is what the
	// container says of all streams, which may be too much, or 0 for nothing.
	Own bool
	// Exact means that it does so to the sample, and says where on a player's clock.
	Exact bool
	Skip  float64 // seconds of it that are not played before Start; -1 where it is played in pieces; known where Exact
	// Pieces are what is played of it, At on a player's clock; nil where it is played
	// from its beginning to its end, or where its pieces cannot be played. ffmpeg cannot
	// play them.
	Pieces []mp4.Piece
	Media  float64 // seconds that Pieces are taken from
	Early  bool    // ffmpeg may play what lies before a player's zero
	Twice  bool    // ffmpeg leaves out twice what lies before it, unless told not to
	Open   bool    // Seconds are there, but nothing says that no more should follow
	Loose  bool    // Seconds come from a time table that does not count samples

	id uint32 // the container's; 0 where it has none
}

// Picture is one stream of pictures, or none.
type Picture struct {
	Stream string // its index among all streams, '' for none
	Codec  string // ffmpeg's name
	Track  uint32 // the container's id of it; 0 where it has none
}

// Describing are the arguments with which ffmpeg writes the source's tags and
// chapters, and nothing of its streams, for [Input.Told].
func Describing(streams, target string, options ...string) []string {
	args := append([]string{"-map", streams, "-map_metadata", "0", "-map_chapters", "0", "-c", "copy"}, options...)
	return append(args, "-f", "ffmetadata", target)
}

// Probe makes ffmpeg look at the source. It returns an *unfit.Error for a file that
// can never become an MP3, whatever the options. It reads only the head (-t 0);
// tags and chapters come on stdout. After the source, -t would also cut the
// chapters.
func (in *Input) Probe(ctx context.Context) (Info, error) {
	var told Texts
	o, err := in.Play(ctx, ffmpeg.Command{
		Before:  []string{"-t", "0"},
		Args:    Describing("0:a?", "pipe:1"),
		Stdout:  &told,
		Timeout: timeout,
	})
	if err != nil {
		return Info{}, fmt.Errorf("probe: %w", err)
	}
	info, err := in.Described(o)
	if err != nil {
		return Info{}, err
	}
	info.Told(&told)
	return info, nil
}

// Described is what ffmpeg said of the file, without the tags and chapters. The
// error is that of Probe.
func (in *Input) Described(o ffmpeg.Outcome) (Info, error) {
	info, s := parseDump(o.Stderr), in.structure
	info.Size, info.Last = in.bytes, s.Last
	info.Late = in.streams && s.Late
	info.Cut = s.MP4 != nil && s.MP4.End > info.Size
	info.Whole, info.Torn = s.Whole, s.Torn
	info.Chained = s.Chained
	if s.Open && s.Last == 0 { // an FLV's last time stamp is good for an estimate
		info.Seconds = 0
	}
	if in.protection.All {
		return Info{}, unfit.Encrypted()
	}
	if err := in.judge(info, o); err != nil {
		return Info{}, err
	}
	for i := range info.Tracks {
		tr := &info.Tracks[i]
		tr.Seconds, tr.Open = info.Seconds, s.Open
		if nameless(tr.Codec) && len(s.Names) == len(info.Tracks) && reName.MatchString(s.Names[i]) {
			tr.Codec = s.Names[i]
		}
		if i < len(in.protection.Tracks) {
			tr.Encrypted = in.protection.Tracks[i]
		}
		switch {
		case s.MP4 != nil:
			tr.promise(s.MP4, info)
		case len(s.Tracks) == len(info.Tracks) && !s.Open:
			tr.Seconds, tr.Own = s.Tracks[i].Seconds, s.Tracks[i].Own && !disguised(info.Container, tr.Codec)
		}
	}
	if in.sourceTracks != nil {
		info = info.extracted(in.sourceTracks, in.index)
	}
	return info, nil
}

// unnamed is what ffmpeg calls a codec that it does not know.
const unnamed = "none"

// nameless reports that ffmpeg does not know the codec: it has no name or only a number.
func nameless(codec string) bool { return codec == unnamed || strings.HasPrefix(codec, "0x") }

// disguised reports whether a WAV file, which counts samples of PCM, holds
// something else in them, such as a CD with DTS.
func disguised(container, codec string) bool {
	return container == "wav" && (codec == "dts" || codec == "ac3" || codec == "eac3")
}

// LookAgain reads what may stand behind the audio, such as tags, as soon as the
// whole source is there.
func (in *Input) LookAgain(ctx context.Context) (Meta, error) {
	if err := in.Whole(ctx); err != nil {
		return Meta{}, err
	}
	whole, err := Open(in.Program, in.Path)
	if err != nil {
		return Meta{}, err
	}
	info, err := whole.Probe(ctx)
	return info.Meta, err
}

// promise sets what the track itself promises in an MP4.
func (t *Track) promise(m *mp4.Movie, info Info) {
	start := info.Start
	in := m.Track(t.id)
	if in == nil || in.Handler != "soun" {
		return
	}
	t.Encrypted = t.Encrypted || in.Encrypted
	if in.Channels == t.Channels {
		t.Order = in.Order
	}
	t.Seconds, t.Loose = in.Seconds, in.Retimed
	if t.Skip = in.Skip; m.Fragmented {
		t.Own, t.Open = m.Ended, !m.Ended
		// ffmpeg 5 reads an edit that lasts to the end of a fragmented file (ISO/IEC
		// 14496-12, 8.6.6), and moves the track by it, but plays all of it.
		t.Early = start < 0 && len(in.Edits) == 1 && in.Edits[0].Start > 0
		return
	}
	t.Start, t.Own, t.Exact = max(0, in.Delay-start), true, true
	end := float64(in.Duration) / float64(max(1, in.Timescale))
	for _, p := range in.Pieces {
		p.At = max(0, p.At-max(0, start))
		t.Pieces, t.Media = append(t.Pieces, p), end
	}
	// ffmpeg 5 takes samples of the doubled rate for those of the other one. Where an
	// edit cuts the end, it must do so.
	const lastFrame = 0.2 // seconds, at most
	t.Twice = older(info.FFmpeg, 7) && in.Extended && in.Skip > 0 && in.Skip+in.Seconds > end-lastFrame
	t.Early = t.Twice
}

// End is where on a player's clock the track ends; known where Exact.
func (t Track) End() float64 {
	if n := len(t.Pieces); n > 0 {
		return t.Pieces[n-1].At + t.Pieces[n-1].Seconds()
	}
	return t.Start + t.Seconds
}

// judge says why the file can never become an MP3, if that is so.
func (in *Input) judge(info Info, o ffmpeg.Outcome) error {
	s := in.structure
	if err := o.Failure(); err != nil {
		return err
	}
	cut := s.Size > info.Size || info.Cut && !s.MP4.Found
	recognized := info.Container != "" && !misdetected(o.Stderr)
	switch {
	case cut && (recognized || s.Known):
		return unfit.New(conversion.CodeTruncated, "The file ends too early. The upload or the recording was cut off.").Because(o.Tail())
	case s.MP4 != nil && !s.MP4.Found && !recognized:
		return unfit.New(conversion.CodeDamaged, "The file has no index (moov box), so nothing can be found in it. The recording was probably never finished.").Because(o.Tail())
	case !recognized && s.Known:
		return unfit.New(conversion.CodeDamaged, "The beginning of the file is damaged.").Because(o.Tail())
	case !recognized:
		return unfit.New(conversion.CodeNotMedia, "The file is not a video or sound file in a format that Tonearm can read.").Because(o.Tail())
	case len(info.Tracks) == 0 && info.Streams == 0:
		return unfit.New(conversion.CodeDamaged, "Nothing in the file can be played.").Because(o.Tail())
	case len(info.Tracks) == 0:
		return unfit.New(conversion.CodeNoAudio, "The video has no sound.").Because(o.Tail())
	}
	return nil
}
