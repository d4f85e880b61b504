package container

import (
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"tonearm/internal/media/ebml"
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

// mkvHead is how many bytes before the first cluster are looked at.
const mkvHead = 16 << 20

// matroska is what a Matroska file says before its first cluster.
type matroska struct {
	end    int64   // where the first segment ends; 0 if its size is unknown, as in a streamed recording
	late   bool    // a demuxer looks for something behind the clusters
	first  bool    // the tracks stand before the clusters, as a player of a stream needs them
	tracks []Track // of audio
}

func inspectMatroska(r io.ReaderAt, _ int64) Structure {
	m := readMatroska(r)
	return Structure{Size: m.end, Streamable: m.first, Late: m.late, Tracks: m.tracks}
}

func readMatroska(r io.ReaderAt) matroska {
	for e := range ebml.Elements(r, 0, math.MaxInt64) { // the EBML header, perhaps Void and CRC, the segment
		if e.ID == mkvSegment {
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
	lengths := map[uint64]float64{}
	scale, ticks := 1e6, 0.0
	for e := range ebml.Elements(r, segment.Body, segment.End()) {
		at := e.At - segment.Body
		switch {
		case at > mkvHead:
			return m
		case e.ID == mkvSeekHead:
			elsewhere = append(elsewhere, listed(r, e)...)
		case e.ID == mkvInfo:
			if n := e.Child(r, mkvScale).Uint(r); n > 0 {
				scale = float64(n)
			}
			ticks = e.Child(r, mkvDuration).Float(r)
		case e.ID == mkvTracks:
			tracks, their := audioTracks(r, e)
			m.tracks, uids, m.first = append(m.tracks, tracks...), append(uids, their...), true
		case e.ID == mkvTags:
			durations(r, e, lengths)
		case e.ID == mkvCluster:
			m.late = slices.ContainsFunc(elsewhere, func(there int64) bool { return there >= at })
			for i := range m.tracks {
				m.tracks[i].Seconds = shorter(ticks*scale/1e9, lengths[uids[i]])
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
func durations(r io.ReaderAt, e ebml.Element, of map[uint64]float64) {
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
func listed(r io.ReaderAt, e ebml.Element) []int64 {
	var there []int64
	for s := range e.Children(r, mkvSeek) {
		if id := s.Child(r, mkvSeekID).Uint(r); id != mkvCues && id != mkvCluster {
			there = append(there, int64(min(s.Child(r, mkvSeekPosition).Uint(r), math.MaxInt64)))
		}
	}
	return there
}

// audioTracks are the audio tracks among the element's children, and their UIDs.
func audioTracks(r io.ReaderAt, e ebml.Element) (tracks []Track, uids []uint64) {
	const audioType = 2
	for t := range e.Children(r, mkvTrack) {
		if t.Child(r, mkvTrackType).Uint(r) != audioType {
			continue
		}
		audio := t.Child(r, mkvAudio)
		language, flag := t.Child(r, mkvLanguage), t.Child(r, mkvFlagDefault)
		tr := Track{
			Codec:      mkvCodecs[t.Child(r, mkvCodec).Text(r)],
			SampleRate: int(audio.Child(r, mkvRate).Float(r)),
			Channels:   int(min(audio.Child(r, mkvChannels).Uint(r), math.MaxInt32)),
			Language:   language.Text(r),
			Default:    flag.ID == 0 || flag.Uint(r) == 1,
		}
		if language.ID == 0 {
			tr.Language = "eng"
		}
		tracks = append(tracks, tr)
		uids = append(uids, t.Child(r, mkvTrackUID).Uint(r))
	}
	return tracks, uids
}

// mkvCodecs are ffmpeg's names of the most frequent codecs.
var mkvCodecs = map[string]string{
	"A_AAC": "aac", "A_OPUS": "opus", "A_VORBIS": "vorbis", "A_AC3": "ac3", "A_EAC3": "eac3", "A_FLAC": "flac",
}
