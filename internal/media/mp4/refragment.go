package mp4

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Run is a part of a file: bytes of its own, or an extent of the source.
type Run struct {
	Own []byte // nil for an extent
	Extent
}

// RemuxFragments plans a copy of a fragmented movie's file that has the samples of one
// audio track only, fragment by fragment; see [Movie.Remux]. The index stays as it is.
// Of each other track the first sample is kept: a demuxer counts time from the first
// moment of any track. The lists of fragments are left out; if the movie says that no
// fragment is missing at its end, the copy says so too. The error is a Reason, or one of
// the reader's.
func (m *Movie) RemuxFragments(t *Track) ([]Run, error) {
	r := &refragmented{m: m, t: t, begun: map[*Track]bool{}}
	if err := r.all(); err != nil {
		return nil, fmt.Errorf("remux track %d: %w", t.ID, err)
	}
	return r.runs, nil
}

// refragmented is a copy while it is made.
type refragmented struct {
	m     *Movie
	t     *Track
	begun map[*Track]bool // tracks whose first sample was seen
	runs  []Run
	size  int64
	count int // fragments with samples of the track
}

// between are boxes between fragments that say nothing of the samples: kinds of
// segments, indexes, messages, padding (ISO/IEC 14496-12, 8.8.10 and 8.16; 23009-1,
// 5.10.3.3).
var between = map[string]bool{"styp": true, "sidx": true, "ssix": true, "prft": true, "emsg": true, "free": true, "skip": true, "wide": true, "mfra": true, "mdat": true}

func (r *refragmented) all() error {
	m := r.m
	if err := r.check(); err != nil {
		return err
	}
	fragments, end, beside := 0, int64(0), int64(0)
	for b, err := range boxes(m.file, m.Size) {
		if err != nil {
			return err
		}
		end = b.End
		switch {
		case b.End > m.Size:
			return Truncated
		case b.Kind == "moof":
			fragments++
			err = r.fragment(b)
		case b.Kind == "sidx":
			err = r.sidx(b)
		case b.Kind == "mdat" && fragments == 0:
			err = Malformed
		case fragments > 0 && !between[b.Kind], b.Kind == "meta":
			err = Malformed
		case fragments == 0 && b.Kind != "free" && b.Kind != "skip" && b.Kind != "wide":
			if beside += b.End - b.Start; b.Kind != "moov" && beside-(m.moov.End-m.moov.Start) > maxBeside {
				return LargeIndex
			}
			err = r.verbatim(b)
		}
		if err != nil {
			return err
		}
	}
	if end != m.Size {
		return Malformed // junk behind the last box
	}
	if r.count == 0 {
		return NoSamples
	}
	if m.Ended {
		// A random access index stands at the end of a file. This one lists nothing
		// (ISO/IEC 14496-12, 8.8.9 and 8.8.11).
		mfro := appendBox(nil, "mfro", binary.BigEndian.AppendUint32(make([]byte, 4), 24))
		r.own(appendBox(nil, "mfra", mfro))
	}
	return nil
}

// check returns a Reason if something of the file or the track is not understood.
func (r *refragmented) check() error {
	m, t := r.m, r.t
	switch {
	case !m.Found || len(m.Tracks) == 0:
		return NoIndex
	case m.compressed:
		return Compressed
	case t.Encrypted:
		return Encrypted
	case t.External:
		return External
	case t.odd || t.Timescale == 0 || m.Timescale == 0 || t.split:
		return Malformed
	case len(m.fragments.moofs) == 0:
		return NoSamples
	case len(m.fragments.moofs) >= maxFragments:
		return LargeIndex
	}
	seen := 0
	for _, b := range m.top {
		if b.Kind == "moov" {
			seen++
		}
	}
	if seen != 1 {
		return Malformed
	}
	for _, o := range m.Tracks {
		if o.timed != 0 {
			return Fragmented // samples within the index and in fragments
		}
	}
	return nil
}

func (r *refragmented) own(b []byte) {
	r.runs = append(r.runs, Run{Own: b})
	r.size += int64(len(b))
}

// verbatim copies a box.
func (r *refragmented) verbatim(b Box) error {
	var h [4]byte
	if err := readAt(r.m.file, h[:], b.Start, b.End); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(h[:]) == 0 { // to the end, which will be elsewhere
		return Malformed
	}
	r.extent(Extent{b.Start, b.End - b.Start})
	return nil
}

func (r *refragmented) extent(e Extent) {
	r.size += e.Size
	if n := len(r.runs); n > 0 && r.runs[n-1].Own == nil && r.runs[n-1].End() == e.Offset {
		r.runs[n-1].Size += e.Size
		return
	}
	r.runs = append(r.runs, Run{Extent: e})
}

// sidx returns a Reason if a segment index is that of the track: a demuxer takes its
// times for those of the samples.
func (r *refragmented) sidx(b Box) error {
	var h [8]byte
	if err := readAt(r.m.file, h[:], b.Body, b.End); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(h[4:]) == r.t.ID {
		return Fragmented
	}
	return nil
}

// moof is the box of a fragment in the copy, and the samples behind it.
type moof struct {
	bytes []byte
	at    int64 // in the copy, where it begins
	data  []Extent
	size  int64 // of data
	end   int64 // of data of the traf before, from the beginning of data; -1 without one
	fixes []fix
}

// fix is a field of a moof that says where samples are.
type fix struct {
	at     int      // in the moof's bytes
	width  int      // bytes
	behind int64    // where the samples are, from the beginning of the moof's data
	from   baseline // what it counts from
	end    int64    // where the data before end, likewise; for fromData
}

// baseline is what offsets of samples count from.
type baseline int

const (
	fromFile baseline = iota
	fromMoof
	fromData // the end of the samples of the track before
)

// fragment copies a fragment, if it has samples that are kept.
func (r *refragmented) fragment(b Box) error {
	out := &moof{at: r.size, bytes: []byte("....moof"), end: -1}
	at := b.Start
	err := eachBox(r.m.file, b, func(c Box) (err error) {
		switch c.Kind {
		case "mfhd":
			out.bytes, err = r.m.appendWhole(out.bytes, c)
		case "traf":
			at, err = r.traf(out, b.Start, at, c)
		case "free", "skip":
		default:
			err = Malformed
		}
		return err
	})
	if err != nil || len(out.data) == 0 {
		return err
	}
	if len(out.bytes) > math.MaxInt32 || out.size > math.MaxInt32-8 {
		return LargeIndex
	}
	binary.BigEndian.PutUint32(out.bytes, uint32(len(out.bytes)))
	begin := out.at + int64(len(out.bytes)) + 8 // of the data
	for _, f := range out.fixes {
		where := begin + f.behind
		switch f.from {
		case fromMoof:
			where -= out.at
		case fromData:
			where -= begin + f.end
		}
		if f.width == 8 {
			binary.BigEndian.PutUint64(out.bytes[f.at:], uint64(where))
			continue
		}
		if where > math.MaxInt32 {
			return LargeIndex
		}
		binary.BigEndian.PutUint32(out.bytes[f.at:], uint32(where))
	}
	r.own(append(binary.BigEndian.AppendUint32(out.bytes, uint32(out.size+8)), "mdat"...))
	for _, e := range out.data {
		r.extent(e)
	}
	if len(r.runs) > maxExtents {
		return LargeIndex
	}
	return nil
}

// inFragment are boxes of a track's fragment that stay as they are. Those of encryption
// are not among them.
var inFragment = []string{"tfdt", "sbgp", "sgpd", "subs", "sdtp"}

// traf copies what one track has of a fragment that begins at an offset; base is where
// the samples of the track before end. It returns where this track's end.
func (r *refragmented) traf(out *moof, moofAt, base int64, b Box) (int64, error) {
	run := fragment{moof: moofAt, base: base, at: base}
	var boxes []Box
	var truns []trun
	err := eachBox(r.m.file, b, func(c Box) error {
		switch {
		case c.Kind == "tfhd" && len(boxes) == 0:
			if err := r.m.readTfhd(c, &run); err != nil {
				return err
			}
		case len(boxes) == 0 || c.Kind == "tfhd":
			return Malformed
		case c.Kind == "trun":
			made, err := r.m.parseTrun(c, &run)
			if err != nil {
				return err
			}
			if made.Offset < 0 || made.Size > r.m.Size || made.Offset > r.m.Size-made.Size {
				return Truncated
			}
			run.at = made.End()
			truns = append(truns, made)
		case !slices.Contains(inFragment, c.Kind) && run.track == r.t:
			return Malformed
		}
		boxes = append(boxes, c)
		return nil
	})
	if err != nil {
		return 0, err
	}
	samples := 0
	for _, t := range truns {
		samples += int(t.samples)
	}
	switch {
	case len(boxes) == 0 || run.track == nil:
		return 0, Malformed
	case samples == 0:
		return run.at, nil
	case run.track == r.t:
		r.count++
		err = r.chosen(out, run, boxes, truns)
	case !r.begun[run.track]:
		err = r.first(out, run, boxes, truns)
	}
	r.begun[run.track] = true
	return run.at, err
}

// chosen copies what the chosen track has of a fragment.
func (r *refragmented) chosen(out *moof, run fragment, boxes []Box, truns []trun) error {
	begin := len(out.bytes)
	out.bytes = append(out.bytes, "....traf"...)
	from, behind := fromMoof, out.size
	if run.flags&(tfhdBase|tfhdMoof) == 0 && out.end >= 0 {
		from = fromData
	}
	if run.flags&tfhdBase == 0 && truns[0].offset == 0 {
		return Malformed
	}
	end := out.end
	number := 0
	for _, b := range boxes {
		at := len(out.bytes)
		var err error
		if out.bytes, err = r.m.appendWhole(out.bytes, b); err != nil {
			return err
		}
		switch b.Kind {
		case "tfhd":
			if run.flags&tfhdBase != 0 { // an offset in the file: that of the first run
				out.fixes = append(out.fixes, fix{at: at + int(b.Body-b.Start) + 8, width: 8, from: fromFile, behind: behind})
			}
		case "trun":
			t := truns[number]
			number++
			if t.offset != 0 {
				f := fix{at: at + int(t.offset-b.Start), width: 4, from: from, behind: out.size, end: end}
				if run.flags&tfhdBase != 0 { // counted from the first run
					binary.BigEndian.PutUint32(out.bytes[f.at:], uint32(out.size-behind))
				} else {
					out.fixes = append(out.fixes, f)
				}
			}
			out.add(t.Extent)
		}
	}
	binary.BigEndian.PutUint32(out.bytes[begin:], uint32(len(out.bytes)-begin))
	out.end = out.size
	return nil
}

// add appends samples.
func (out *moof) add(e Extent) {
	if e.Size == 0 {
		return
	}
	out.data = append(out.data, e)
	out.size += e.Size
}

// first copies the first sample of another track.
func (r *refragmented) first(out *moof, run fragment, boxes []Box, truns []trun) error {
	t := truns[slices.IndexFunc(truns, func(t trun) bool { return t.samples > 0 })]
	s := t.first
	if s.size == 0 {
		return Malformed
	}
	lowest := int32(0)
	for _, t := range truns {
		if t.first.signed {
			lowest = min(lowest, t.lowest)
		}
	}
	if s.signed && lowest < min(0, int32(s.shift)) {
		return Malformed // a demuxer moves all samples by the lowest shift
	}
	begin := len(out.bytes)
	fields := func(values ...uint32) (b []byte) {
		for _, v := range values {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	out.bytes = append(out.bytes, "....traf"...)
	out.bytes = append(out.bytes, appendBox(nil, "tfhd", fields(tfhdMoof, run.track.ID))...)
	for _, b := range boxes {
		if b.Kind == "tfdt" {
			var err error
			if out.bytes, err = r.m.appendWhole(out.bytes, b); err != nil {
				return err
			}
		}
	}
	const flags = trunOffset | trunDuration | trunSize | trunFlags | trunShift
	version := uint32(0)
	if s.signed {
		version = 1 << 24
	}
	out.fixes = append(out.fixes, fix{at: len(out.bytes) + 16, width: 4, from: fromMoof, behind: out.size})
	out.bytes = append(out.bytes, appendBox(nil, "trun", fields(version|flags, 1, 0, s.duration, s.size, s.flags, s.shift))...)
	binary.BigEndian.PutUint32(out.bytes[begin:], uint32(len(out.bytes)-begin))
	out.add(Extent{t.Offset, int64(s.size)})
	out.end = out.size
	return nil
}
