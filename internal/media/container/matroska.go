package container

import (
	"bytes"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"tonearm/internal/media/ebml"
)

// Elements of Matroska (RFC 9559).
const (
	mkvAudio       = 0xe1
	mkvRate        = 0xb5
	mkvChannels    = 0x9f
	mkvTrackUID    = 0x73c5
	mkvTag         = 0x7373
	mkvTargets     = 0x63c0
	mkvTagTrackUID = 0x63c5
	mkvSimpleTag   = 0x67c8
	mkvTagName     = 0x45a3
	mkvTagString   = 0x4487
)

// Limits of what is looked at, in bytes: of what stands before the first cluster, and of
// one element of tables there. In a table each element is looked at several times.
const (
	mkvHead = 16 << 20
	mkvHeld = 4 << 20
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
	for e := range ebml.Elements(r, 0, math.MaxInt64) { // the EBML header, perhaps Void and CRC, the segment
		if e.ID == ebml.Segment {
			m := readSegment(r, e)
			if e.Size >= 0 {
				m.end = e.End()
			}
			return m
		}
	}
	return matroska{late: true}
}

func readSegment(r io.ReaderAt, segment ebml.Element) matroska {
	m := matroska{late: true}
	var elsewhere []int64 // what is listed, relative to the segment
	var uids []uint64     // of the tracks
	durations := map[uint64]float64{}
	scale, ticks := 1e6, 0.0
	for e := range ebml.Elements(r, segment.Body, segment.End()) {
		at := e.At - segment.Body
		switch {
		case at > mkvHead:
			return m
		case e.ID == ebml.SeekHead:
			elsewhere = append(elsewhere, listed(held(r, e))...)
		case e.ID == ebml.Info:
			if n := e.Child(r, ebml.Scale).Uint(r); n > 0 {
				scale = float64(n)
			}
			ticks = e.Child(r, ebml.Duration).Float(r)
		case e.ID == ebml.Tracks:
			tracks, names, their := audioTracks(held(r, e))
			m.tracks, m.names, uids, m.first = append(m.tracks, tracks...), append(m.names, names...), append(uids, their...), true
		case e.ID == ebml.Tags:
			memory, tags := held(r, e)
			mkvDurations(memory, tags, durations)
		case e.ID == ebml.Cluster:
			m.late = slices.ContainsFunc(elsewhere, func(there int64) bool { return there >= at })
			for i := range m.tracks {
				m.tracks[i].Seconds = shorter(ticks*scale/1e9, durations[uids[i]])
			}
			return m
		}
	}
	return m
}

// held reads an element into memory, where somebody may have made millions of
// elements of two bytes.
func held(r io.ReaderAt, e ebml.Element) (memory io.ReaderAt, in ebml.Element) {
	if e.Size < 0 {
		e.Size = mkvHeld
	}
	b := e.Bytes(r, mkvHeld)
	return bytes.NewReader(b), ebml.Element{ID: e.ID, Size: int64(len(b))}
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

// mkvDurations reads the statistics that muxers write for each track: its length as
// hours, minutes and seconds.
func mkvDurations(r io.ReaderAt, e ebml.Element, of map[uint64]float64) {
	for tag := range e.Children(r, mkvTag) {
		uid := tag.Child(r, mkvTargets).Child(r, mkvTagTrackUID).Uint(r)
		for simple := range tag.Children(r, mkvSimpleTag) {
			if uid != 0 && simple.Child(r, mkvTagName).Text(r) == "DURATION" {
				of[uid] = clockTime(simple.Child(r, mkvTagString).Text(r))
			}
		}
	}
}

// clockTime reads "01:02:03.500000000"; 0 for anything else.
func clockTime(s string) float64 {
	parts := strings.Split(s, ":")
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
func listed(r io.ReaderAt, e ebml.Element) []int64 {
	var there []int64
	for s := range e.Children(r, ebml.Seek) {
		if id := s.Child(r, ebml.SeekID).Uint(r); id != ebml.Cues && id != ebml.Cluster {
			there = append(there, int64(min(s.Child(r, ebml.SeekPosition).Uint(r), math.MaxInt64)))
		}
	}
	return there
}

// audioTracks are the audio tracks among the element's children, what their codecs
// are called, and their UIDs.
func audioTracks(r io.ReaderAt, e ebml.Element) (tracks []Track, names []string, uids []uint64) {
	for t := range e.Children(r, ebml.TrackEntry) {
		if !t.IsAudio(r) {
			continue
		}
		audio, codec := t.Child(r, mkvAudio), t.Child(r, ebml.CodecID).Text(r)
		tracks = append(tracks, Track{
			Codec:      mkvCodecs[codec],
			SampleRate: int(audio.Child(r, mkvRate).Float(r)),
			Channels:   int(min(audio.Child(r, mkvChannels).Uint(r), math.MaxInt32)),
			Language:   t.Language(r),
			Default:    t.IsDefault(r),
		})
		names = append(names, codec)
		uids = append(uids, t.Child(r, mkvTrackUID).Uint(r))
	}
	return tracks, names, uids
}

// mkvCodecs are ffmpeg's names of the most frequent codecs.
var mkvCodecs = map[string]string{
	"A_AAC": "aac", "A_OPUS": "opus", "A_VORBIS": "vorbis", "A_AC3": "ac3", "A_EAC3": "eac3", "A_FLAC": "flac",
}
