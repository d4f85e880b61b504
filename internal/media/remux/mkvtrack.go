package remux

import (
	"math"
	"slices"
	"strings"

	"tonearm/internal/media/ebml"
	"tonearm/internal/media/track"
)

// Elements of a track (RFC 9559, 5.1.4.1).
const (
	mkvNumber  = 0xd7
	mkvBCP47   = 0x22b59d
	mkvDelay   = 0x56aa
	mkvStretch = 0x23314f // TrackTimestampScale
)

// firstBlocks is how many blocks are kept of a track that begins before the chosen one:
// a demuxer counts time from its beginning, which it knows behind the pictures that a
// decoder may hold back to put them in order, 16 at most.
const firstBlocks = 24

// mkvTrack is one track, and what was seen of its blocks.
type mkvTrack struct {
	number    int64
	audio     bool
	codec     string
	isDefault bool
	language  string
	bcp47     bool // it has another language besides, which other readers may take
	encoded   bool // its blocks are compressed or encrypted
	delay     int64

	count int
	start int64 // nanoseconds, of the earliest of the first blocks
	early bool  // its first blocks are kept
	rate  int   // what the blocks say of their bit rate; -1 before the first
}

// readTracks reads what the file says of its tracks.
func (k *matroska) readTracks(e ebml.Element) error {
	for entry := range e.Children(k.r, ebml.TrackEntry) {
		t := mkvTrack{
			number:    int64(entry.Child(k.r, mkvNumber).Uint(k.r)),
			audio:     entry.IsAudio(k.r),
			codec:     entry.Child(k.r, ebml.CodecID).Text(k.r),
			isDefault: entry.IsDefault(k.r),
			language:  entry.Language(k.r),
			bcp47:     entry.Child(k.r, mkvBCP47).ID != 0,
			encoded:   entry.Child(k.r, ebml.Encodings).ID != 0,
			delay:     int64(min(entry.Child(k.r, mkvDelay).Uint(k.r), math.MaxInt64/4)),
			start:     math.MaxInt64, rate: -1,
		}
		stretch := entry.Child(k.r, mkvStretch)
		if t.number <= 0 || k.track(t.number) != nil || t.audio && t.codec == "" || stretch.ID != 0 && stretch.Float(k.r) != 1 {
			return leave(UnclearTrack)
		}
		k.tracks = append(k.tracks, t)
	}
	return nil
}

func (k *matroska) track(number int64) *mkvTrack {
	for i := range k.tracks {
		if k.tracks[i].number == number {
			return &k.tracks[i]
		}
	}
	return nil
}

// mkvDecodable begin the ids of codecs that are surely accepted.
var mkvDecodable = []string{
	"A_AAC", "A_OPUS", "A_VORBIS", "A_AC3", "A_EAC3", "A_FLAC", "A_MPEG/L", "A_PCM/", "A_DTS", "A_TRUEHD", "A_ALAC", "A_TTA1", "A_WAVPACK4",
}

// choose chooses the track that the converter will choose.
func (k *matroska) choose() error {
	var audio []*mkvTrack
	var list []track.Track
	for i := range k.tracks {
		if t := &k.tracks[i]; t.audio {
			audio = append(audio, t)
			list = append(list, track.Track{Language: t.language, Default: t.isDefault})
		}
	}
	want := k.w.o.Track
	i := track.Choose(list, want)
	switch {
	case len(audio) == 0:
		return leave(UnclearTrack)
	case i < 0: // the copy will be refused as the file would be
		k.chosen = audio[0]
		return nil
	}
	byLanguage := strings.Trim(want, "0123456789") != ""
	if byLanguage && slices.ContainsFunc(audio, func(t *mkvTrack) bool { return t.bcp47 }) {
		return leave(UnclearTrack)
	}
	sure := slices.ContainsFunc(mkvDecodable, func(id string) bool { return strings.HasPrefix(audio[i].codec, id) }) && !audio[i].encoded
	if len(audio) > 1 && want == "" && !sure {
		return leave(UnclearTrack)
	}
	k.chosen = audio[i]
	return nil
}

// saw counts a block that begins at some nanosecond.
func (t *mkvTrack) saw(at int64) {
	if t.count++; t.count <= firstBlocks {
		t.start = min(t.start, at)
	}
}

// before reports whether the track begins before another one, or may do so: a demuxer
// rounds the delay of a codec to ticks.
func (t *mkvTrack) before(other *mkvTrack, tick int64) bool {
	if t == other || t.count == 0 {
		return false
	}
	if t.delay != 0 || other.delay != 0 {
		return t.start-tick < other.start
	}
	return t.start < other.start
}

// steady reports whether a block says the same of its bit rate as those before. A
// demuxer takes the mean of as many as it looks at, which depends on the other tracks.
func (t *mkvTrack) steady(flags byte, payload []byte) bool {
	const laced = 0x06
	var rate int
	switch {
	case strings.HasPrefix(t.codec, "A_MPEG/L") && len(payload) >= 3:
		rate = int(payload[2] >> 4)
	case strings.HasPrefix(t.codec, "A_EAC3") && len(payload) >= 4:
		rate = int(payload[2]&7)<<8 | int(payload[3])
	case strings.HasPrefix(t.codec, "A_AC3") && len(payload) >= 5:
		rate = int(payload[4])
	default:
		return !strings.HasPrefix(t.codec, "A_MPEG/L") && !strings.HasPrefix(t.codec, "A_EAC3") && !strings.HasPrefix(t.codec, "A_AC3")
	}
	if flags&laced != 0 || t.encoded || t.rate >= 0 && t.rate != rate {
		return false
	}
	t.rate = rate
	return true
}
