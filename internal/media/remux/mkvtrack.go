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
	awaited   bool // a demuxer does not play before it has seen it, or looked long enough
	bcp47     bool // it has another language besides, which other readers may take
	encoded   bool // its blocks are compressed or encrypted
	delay     int64

	count int
	at    int64 // where its first block is in the file
	start int64 // nanoseconds, of the earliest of the first blocks
	early bool  // its first blocks are kept
	watch watch
}

// maxTracks is how many tracks a file may have.
const maxTracks = 1000

// readTracks reads what the file says of its tracks.
func (k *matroska) readTracks(e ebml.Element) error {
	understood := true
	whole := k.children(e, func(entry ebml.Element) {
		if entry.ID == ebml.TrackEntry {
			understood = understood && k.readTrack(entry)
		}
	})
	if !whole || !understood || len(k.tracks) > maxTracks {
		return leave(UnclearTrack)
	}
	return nil
}

// readTrack adds a track. It reports false if something of it is not understood.
func (k *matroska) readTrack(entry ebml.Element) bool {
	t := mkvTrack{
		number:    int64(entry.Child(k.r, mkvNumber).Uint(k.r)),
		audio:     entry.IsAudio(k.r),
		codec:     entry.Child(k.r, ebml.CodecID).Text(k.r),
		isDefault: entry.IsDefault(k.r),
		language:  entry.Language(k.r),
		awaited:   slices.Contains([]uint64{1, 2}, entry.Child(k.r, ebml.TrackType).Uint(k.r)), // pictures and sound
		bcp47:     entry.Child(k.r, mkvBCP47).ID != 0,
		encoded:   entry.Child(k.r, ebml.Encodings).ID != 0,
		delay:     int64(min(entry.Child(k.r, mkvDelay).Uint(k.r), math.MaxInt64/4)),
		start:     math.MaxInt64,
	}
	t.watch = watch{coding: t.coding(), rates: k.w.o.Kbps != 0}
	stretch := entry.Child(k.r, mkvStretch)
	if t.number <= 0 || k.track(t.number) != nil || t.audio && t.codec == "" || stretch.ID != 0 && stretch.Float(k.r) != 1 {
		return false
	}
	k.tracks = append(k.tracks, t)
	return k.children(entry, func(ebml.Element) {})
}

func (k *matroska) track(number int64) *mkvTrack {
	for i := range k.tracks {
		if k.tracks[i].number == number {
			return &k.tracks[i]
		}
	}
	return nil
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
	sure := audio[i].watch.coding != unclear && !audio[i].encoded // surely it is accepted
	if len(audio) > 1 && want == "" && !sure {
		return leave(UnclearTrack)
	}
	k.chosen = audio[i]
	return nil
}

// saw counts a block that begins at some nanosecond, at an offset in the file.
func (t *mkvTrack) saw(nanosecond, at int64) {
	if t.count++; t.count == 1 {
		t.at = at
	}
	if t.count <= firstBlocks {
		t.start = min(t.start, nanosecond)
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

// A demuxer looks at no more than this before it plays: half of the seconds and of the
// bytes that package ffmpeg asks for.
const (
	lateSeconds = 15
	lateBytes   = 16 << 20
)

// inTime returns a leave if a demuxer may not see the beginning of the chosen track, or
// of one that counts for the beginning of the whole, before it plays.
func (k *matroska) inTime() error {
	first, start := int64(math.MaxInt64), int64(math.MaxInt64)
	for i := range k.tracks {
		if t := &k.tracks[i]; t.count > 0 {
			first, start = min(first, t.at), min(start, t.start)
		}
	}
	for i := range k.tracks {
		t := &k.tracks[i]
		begins := t == k.chosen || t.before(k.chosen, k.scale)
		if begins && (t.at-first > lateBytes || t.start-start > lateSeconds*1e9) {
			return leave(Late)
		}
		if begins && t.at > k.chosen.at && !t.awaited { // it depends on the other tracks whether it is seen
			return leave(Late)
		}
	}
	return nil
}

// codings are those of Matroska, by how the ids of codecs begin.
var codings = []struct {
	id string
	coding
}{
	{"A_MPEG/L", mpegSound}, {"A_AC3", ac3}, {"A_EAC3", eac3}, {"A_TRUEHD", trueHD},
	{"A_AAC", settled}, {"A_OPUS", settled}, {"A_VORBIS", settled}, {"A_FLAC", settled}, {"A_PCM/", settled}, {"A_DTS", settled},
	{"A_ALAC", settled}, {"A_TTA1", settled}, {"A_WAVPACK4", settled},
}

func (t *mkvTrack) coding() coding {
	for _, c := range codings {
		if strings.HasPrefix(t.codec, c.id) {
			return c.coding
		}
	}
	return unclear
}

// watch follows the frames of a block of the chosen track. Its flags are at an offset in
// it.
func (k *matroska) watch(block ebml.Element, at int64, flags byte) error {
	t := k.chosen
	switch {
	case t.watch.done():
		return nil
	case t.encoded:
		return leave(VaryingSound)
	}
	offsets := laces(block.Bytes(k.r, maxLaces), at+1, block.Size, flags)
	if offsets == nil {
		return leave(Unclear)
	}
	for _, offset := range offsets {
		var b [headSize]byte
		if n, _ := k.r.ReadAt(b[:], block.Body+offset); n < len(b) {
			return leave(Unclear)
		}
		if _, err := t.watch.frame(b[:]); err != nil {
			return err
		}
	}
	return nil
}

// maxLaces is how many bytes of a block are looked at for the sizes of its frames.
const maxLaces = windowSize / 2

// laces are the offsets of the frames in a block of some bytes (RFC 9559, 10.3). b is its
// beginning; at is behind the flags. It is nil if they cannot be followed.
func laces(b []byte, at, size int64, flags byte) []int64 {
	const none, xiph, fixed = 0, 0x02, 0x04
	kind := flags & 0x06
	if kind == none {
		return []int64{at}
	}
	if at >= int64(len(b)) {
		return nil
	}
	count := int(b[at])
	at++
	var sizes []int64 // of all frames but the last
	switch kind {
	case fixed:
		if (size-at)%int64(count+1) != 0 {
			return nil
		}
		for range count {
			sizes = append(sizes, (size-at)/int64(count+1))
		}
	case xiph:
		for range count {
			n := int64(0)
			for more := true; more; at++ {
				if at >= int64(len(b)) {
					return nil
				}
				n += int64(b[at])
				more = b[at] == 255
			}
			sizes = append(sizes, n)
		}
	default:
		last := int64(0)
		for i := range count {
			if at >= int64(len(b)) {
				return nil
			}
			n, width := ebml.Vint(b[at:])
			if width == 0 {
				return nil
			}
			if i > 0 { // a difference, with a sign
				n += last - (int64(1)<<(7*width-1) - 1)
			}
			at += int64(width)
			sizes, last = append(sizes, n), n
		}
	}
	offsets := []int64{at}
	for _, n := range sizes {
		if at += n; n < 0 || at > size {
			return nil
		}
		offsets = append(offsets, at)
	}
	return offsets
}
