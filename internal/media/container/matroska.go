package container

import (
	"encoding/binary"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Elements of Matroska (RFC 9559).
const (
	mkvSegment      = 0x18538067
	mkvSeekHead     = 0x114d9b74
	mkvSeek         = 0x4dbb
	mkvSeekID       = 0x53ab
	mkvSeekPosition = 0x53ac
	mkvInfo         = 0x1549a966
	mkvScale        = 0x2ad7b1
	mkvDuration     = 0x4489
	mkvTracks       = 0x1654ae6b
	mkvTrack        = 0xae
	mkvTrackType    = 0x83
	mkvFlagDefault  = 0x88
	mkvLanguage     = 0x22b59c
	mkvCodec        = 0x86
	mkvAudio        = 0xe1
	mkvRate         = 0xb5
	mkvChannels     = 0x9f
	mkvCues         = 0x1c53bb6b
	mkvCluster      = 0x1f43b675
	mkvTrackUID     = 0x73c5
	mkvTags         = 0x1254c367
	mkvTag          = 0x7373
	mkvTargets      = 0x63c0
	mkvTagTrackUID  = 0x63c5
	mkvSimpleTag    = 0x67c8
	mkvTagName      = 0x45a3
	mkvTagString    = 0x4487
)

// Limits of what is looked at.
const (
	mkvLevel = 4096     // elements of one level
	mkvHead  = 16 << 20 // bytes before the first cluster
	mkvValue = 32       // bytes of a value
)

// matroska is what a Matroska file says before its first cluster.
type matroska struct {
	end    int64    // where the first segment ends; 0 if its size is unknown, as in a streamed recording
	late   bool     // a demuxer looks for something behind the clusters
	first  bool     // the tracks stand before the clusters, as a player of a stream needs them
	tracks []Track  // of audio
	names  []string // of their codecs
}

func inspectMatroska(r io.ReaderAt, _ int64) Structure {
	m := readMatroska(r)
	return Structure{Size: m.end, Streamable: m.first, Late: m.late, Tracks: m.tracks, Names: m.names}
}

func readMatroska(r io.ReaderAt) matroska {
	for e := range elements(r, 0, math.MaxInt64) { // the EBML header, perhaps Void and CRC, the segment
		if e.id == mkvSegment {
			m := readSegment(r, e)
			if e.size >= 0 {
				m.end = e.end()
			}
			return m
		}
	}
	return matroska{late: true}
}

func readSegment(r io.ReaderAt, segment element) matroska {
	m := matroska{late: true}
	var elsewhere []int64 // what is listed, relative to the segment
	var uids []uint64     // of the tracks
	durations := map[uint64]float64{}
	scale, ticks := 1e6, 0.0
	for e := range elements(r, segment.body, segment.end()) {
		at := e.at - segment.body
		switch {
		case at > mkvHead:
			return m
		case e.id == mkvSeekHead:
			elsewhere = append(elsewhere, e.listed(r)...)
		case e.id == mkvInfo:
			if n := e.child(r, mkvScale).uint(r); n > 0 {
				scale = float64(n)
			}
			ticks = e.child(r, mkvDuration).float(r)
		case e.id == mkvTracks:
			tracks, names, their := e.audioTracks(r)
			m.tracks, m.names, uids, m.first = append(m.tracks, tracks...), append(m.names, names...), append(uids, their...), true
		case e.id == mkvTags:
			e.durations(r, durations)
		case e.id == mkvCluster:
			m.late = slices.ContainsFunc(elsewhere, func(there int64) bool { return there >= at })
			for i := range m.tracks {
				m.tracks[i].Seconds = shorter(ticks*scale/1e9, durations[uids[i]])
			}
			return m
		}
	}
	return m
}

// shorter returns the length of a track: that of the segment, or its own where a
// tag tells that it ends much earlier, because a subtitle outlasts it.
func shorter(segment, track float64) float64 {
	const much, most = 0.5, 1e9 // seconds
	switch {
	case track > 0 && track < segment-much:
		return track
	case segment > 0 && segment < most:
		return segment
	}
	return 0
}

// durations reads the statistics that muxers write for each track: its length as
// hours, minutes and seconds.
func (e element) durations(r io.ReaderAt, of map[uint64]float64) {
	for tag := range e.children(r, mkvTag) {
		uid := tag.child(r, mkvTargets).child(r, mkvTagTrackUID).uint(r)
		for simple := range tag.children(r, mkvSimpleTag) {
			if uid != 0 && simple.child(r, mkvTagName).text(r) == "DURATION" {
				of[uid] = clockTime(simple.child(r, mkvTagString).text(r))
			}
		}
	}
}

// clockTime reads "01:02:03.500000000"; 0 for anything else.
func clockTime(s string) float64 {
	parts := strings.Split(strings.TrimRight(s, "\x00"), ":")
	if len(parts) != 3 {
		return 0
	}
	total := 0.0
	for _, part := range parts {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || !(v >= 0 && v < 1e6) {
			return 0
		}
		total = total*60 + v
	}
	return total
}

// listed is where the elements are that a demuxer looks up at once.
func (e element) listed(r io.ReaderAt) []int64 {
	var there []int64
	for s := range e.children(r, mkvSeek) {
		if id := s.child(r, mkvSeekID).uint(r); id != mkvCues && id != mkvCluster {
			there = append(there, int64(min(s.child(r, mkvSeekPosition).uint(r), math.MaxInt64)))
		}
	}
	return there
}

// audioTracks are the audio tracks among the element's children, what their codecs
// are called, and their UIDs.
func (e element) audioTracks(r io.ReaderAt) (tracks []Track, names []string, uids []uint64) {
	const audioType = 2
	for t := range e.children(r, mkvTrack) {
		if t.child(r, mkvTrackType).uint(r) != audioType {
			continue
		}
		audio := t.child(r, mkvAudio)
		language, flag := t.child(r, mkvLanguage), t.child(r, mkvFlagDefault)
		tr := Track{
			Codec:      mkvCodecs[t.child(r, mkvCodec).text(r)],
			SampleRate: int(audio.child(r, mkvRate).float(r)),
			Channels:   int(min(audio.child(r, mkvChannels).uint(r), math.MaxInt32)),
			Language:   language.text(r),
			Default:    flag.id == 0 || flag.uint(r) == 1,
		}
		if language.id == 0 {
			tr.Language = "eng"
		}
		tracks = append(tracks, tr)
		names = append(names, t.child(r, mkvCodec).text(r))
		uids = append(uids, t.child(r, mkvTrackUID).uint(r))
	}
	return tracks, names, uids
}

// mkvCodecs are ffmpeg's names of the most frequent codecs.
var mkvCodecs = map[string]string{
	"A_AAC": "aac", "A_OPUS": "opus", "A_VORBIS": "vorbis", "A_AC3": "ac3", "A_EAC3": "eac3", "A_FLAC": "flac",
}

// element is one of EBML (RFC 8794); the zero value is none.
type element struct {
	id       uint32
	at, body int64 // offsets of its id and of what is in it
	size     int64 // bytes of that; -1 where unknown
}

func (e element) end() int64 {
	if e.size < 0 || e.size > math.MaxInt64-e.body {
		return math.MaxInt64
	}
	return e.body + e.size
}

// elements yields the elements of one level between two offsets. It ends
// without an error if one cannot be read.
func elements(r io.ReaderAt, from, to int64) iter.Seq[element] {
	return someElements(r, from, to, mkvLevel)
}

// someElements yields the first most of them.
func someElements(r io.ReaderAt, from, to int64, most int) iter.Seq[element] {
	return func(yield func(element) bool) {
		for range most {
			buf := make([]byte, 12)
			n, _ := r.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
			id, size, width, ok := ebmlElement(buf[:n])
			if !ok {
				return
			}
			e := element{id, from, from + int64(width), size}
			if from = e.end(); from > to && size >= 0 {
				return
			}
			if !yield(e) || from >= to {
				return
			}
		}
	}
}

// children are those of the element with an id.
func (e element) children(r io.ReaderAt, id uint32) iter.Seq[element] {
	return func(yield func(element) bool) {
		for c := range elements(r, e.body, e.end()) {
			if c.id == id && !yield(c) {
				return
			}
		}
	}
}

// child is the first of them.
func (e element) child(r io.ReaderAt, id uint32) element {
	for c := range e.children(r, id) {
		return c
	}
	return element{}
}

// value reads the content of the element; nil if it is no value.
func (e element) value(r io.ReaderAt) []byte {
	if e.size <= 0 || e.size > mkvValue {
		return nil
	}
	b := make([]byte, e.size)
	if n, _ := r.ReadAt(b, e.body); n < len(b) {
		return nil
	}
	return b
}

func (e element) uint(r io.ReaderAt) uint64 {
	var n uint64
	for _, c := range e.value(r) {
		n = n<<8 | uint64(c)
	}
	return n
}

func (e element) float(r io.ReaderAt) float64 {
	switch b := e.value(r); len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (e element) text(r io.ReaderAt) string { return string(e.value(r)) }

// ebmlElement reads an element's id and size; size is -1 where it is unknown,
// width counts the bytes of both.
func ebmlElement(b []byte) (id uint32, size int64, width int, ok bool) {
	idWidth := vintWidth(b)
	if idWidth == 0 || idWidth > 4 || len(b) <= idWidth {
		return 0, 0, 0, false
	}
	for _, c := range b[:idWidth] {
		id = id<<8 | uint32(c)
	}
	b = b[idWidth:]
	sizeWidth := vintWidth(b)
	if sizeWidth == 0 || len(b) < sizeWidth {
		return 0, 0, 0, false
	}
	mask := byte(0xff >> sizeWidth)
	size, unknown := int64(b[0]&mask), b[0]&mask == mask
	for _, c := range b[1:sizeWidth] {
		size = size<<8 | int64(c)
		unknown = unknown && c == 0xff
	}
	if unknown {
		size = -1
	}
	return id, size, idWidth + sizeWidth, true
}

// vintWidth is how many bytes a variable-length integer takes, 0 for none.
func vintWidth(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	for i := range 8 {
		if b[0]&(0x80>>i) != 0 {
			return i + 1
		}
	}
	return 0
}
