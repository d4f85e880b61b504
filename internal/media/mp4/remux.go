package mp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
)

// Limits of what a copy keeps besides the audio, in bytes.
const (
	maxBeside = 4 << 20 // of boxes at the top level
	maxTitles = 4 << 20 // of the samples of chapters
)

// beside are the boxes at the top level that a copy does without: samples, fragments,
// and padding.
var beside = map[string]bool{"mdat": true, "moof": true, "free": true, "skip": true, "wide": true}

// positions are boxes beside the index that say where something is in the file: items,
// segments, fragments (ISO/IEC 14496-12, 8.11.3, 8.16.3, 8.16.4 and 8.8.9).
var positions = map[string]bool{"meta": true, "sidx": true, "ssix": true, "mfra": true}

// Remux plans a copy of the movie's file that has the samples of one audio track only.
// All else that it says stays: the boxes at the top level, the index with tags and
// picture, and the tracks with their numbers, languages and flags. The samples of
// chapters stay as well. Other tracks have no samples any more; an anchor marks the
// moment when the movie begins, as in [Movie.Plan]. The movie must come from [Read]. The
// error is a Reason if the file has to be taken as a whole, or one of the reader's.
func (m *Movie) Remux(t *Track) (Plan, error) {
	p, err := m.remux(t)
	if err != nil {
		return Plan{}, fmt.Errorf("remux track %d: %w", t.ID, err)
	}
	return p, nil
}

func (m *Movie) remux(t *Track) (Plan, error) {
	if err := m.check(t); err != nil {
		return Plan{}, err
	}
	if err := m.plain(); err != nil {
		return Plan{}, err
	}
	titles := m.titled()
	r := &remuxed{m: m, keeps: append(titles, t)}
	if err := r.head(t); err != nil {
		return Plan{}, err
	}
	for _, title := range titles {
		if err := r.moveTitles(title); err != nil {
			return Plan{}, err
		}
	}
	h := &header{bytes: r.bytes, offsets: r.offsets(t)}
	_, h.width = t.offsets()
	p, err := m.takeChunks(t, h)
	if err != nil {
		return Plan{}, err
	}
	binary.BigEndian.PutUint64(r.bytes[r.mdat+8:], uint64(int64(len(r.bytes)-r.mdat)+p.Bytes))
	p.Header = r.bytes
	return p, m.same(t, p)
}

// plain returns a Reason if something in the file is not understood to its last byte.
func (m *Movie) plain() error {
	if m.boxed != m.Size || len(m.top) > maxTop {
		return Malformed // junk behind the last box, or too many of them
	}
	seen := map[string]bool{}
	total := int64(0)
	for _, b := range m.top {
		if b.Kind == "ftyp" || b.Kind == "moov" {
			if seen[b.Kind] {
				return Malformed
			}
			seen[b.Kind] = true
			continue
		}
		if positions[b.Kind] {
			return Malformed
		}
		if total += b.End - b.Start; total > maxBeside {
			return LargeIndex
		}
	}
	return nil
}

// titled are the tracks of chapters that have their titles in samples.
func (m *Movie) titled() []*Track {
	var list []*Track
	for _, id := range m.chapters {
		t := m.Track(id)
		if t == nil || t.Handler == "soun" || t.Handler == "vide" || slices.Contains(list, t) || m.check(t) != nil {
			continue
		}
		list = append(list, t)
	}
	return list
}

// remuxed is the head of a copy while it is made: everything but the audio.
type remuxed struct {
	m     *Movie
	keeps []*Track // that keep their samples
	bytes []byte
	traks map[*Track]int // where those are in bytes
	mdat  int            // where that is
}

// head writes all boxes, and the header of the one of samples.
func (r *remuxed) head(t *Track) error {
	r.traks = map[*Track]int{}
	anchor := 0
	for _, b := range r.m.top {
		if b.Kind == "moov" {
			var err error
			if anchor, err = r.moov(t); err != nil {
				return err
			}
			continue
		}
		if err := r.verbatim(b); err != nil {
			return err
		}
	}
	r.mdat = len(r.bytes)
	r.bytes = append(r.bytes, "\x00\x00\x00\x01mdat........"...)
	if anchor > 0 {
		binary.BigEndian.PutUint32(r.bytes[anchor:], uint32(len(r.bytes)))
		r.bytes = append(r.bytes, 0)
	}
	if len(r.bytes) > math.MaxInt32 {
		return LargeIndex
	}
	return nil
}

// verbatim copies a box.
func (r *remuxed) verbatim(b Box) (err error) {
	r.bytes, err = r.m.appendWhole(r.bytes, b)
	return err
}

// appendWhole appends a box of the movie's file.
func (m *Movie) appendWhole(to []byte, b Box) ([]byte, error) {
	content, err := readAll(m.file, b)
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(content) == 0 { // to the end, which will be elsewhere
		return nil, Malformed
	}
	return append(to, content...), nil
}

// moov copies the index. It returns where the anchor's chunk offset is, 0 without an
// anchor.
func (r *remuxed) moov(t *Track) (anchor int, err error) {
	begin := len(r.bytes)
	r.bytes = append(r.bytes, "....moov"...)
	number := 0
	err = eachBox(r.m.file, r.m.moov, func(b Box) error {
		switch b.Kind {
		case "free", "skip", "wide":
			return nil
		case "trak":
			of := r.m.Tracks[number]
			number++
			if !slices.Contains(r.keeps, of) {
				return r.empty(b, 0)
			}
			r.traks[of] = len(r.bytes)
		}
		return r.verbatim(b)
	})
	if err != nil {
		return 0, err
	}
	if first, own := r.m.startsLate(t); own > 0 {
		r.bytes = appendAnchor(r.bytes, r.m.freeID(), first)
		anchor = len(r.bytes) - 4
	}
	return anchor, r.close(begin)
}

// close writes the size of the box that begins somewhere and ends here.
func (r *remuxed) close(begin int) error {
	size := len(r.bytes) - begin
	if size > math.MaxInt32 {
		return LargeIndex
	}
	binary.BigEndian.PutUint32(r.bytes[begin:], uint32(size))
	return nil
}

// noSamples are the tables of a track without samples (ISO/IEC 14496-12, 8.6.1.2,
// 8.7.4, 8.7.3.2 and 8.7.5). The time table has an entry, of no samples: where it has
// none, ffmpeg 7 takes the file for a fragmented one, and follows no edit list.
var noSamples = slices.Concat(
	appendBox(nil, "stts", []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}), appendBox(nil, "stsc", make([]byte, 8)),
	appendBox(nil, "stsz", make([]byte, 12)), appendBox(nil, "stco", make([]byte, 8)),
)

// empty copies a track without its samples: the descriptions stay. depth counts the
// boxes around b.
func (r *remuxed) empty(b Box, depth int) error {
	begin := len(r.bytes)
	switch {
	case depth > 3: // trak/mdia/minf/stbl is the deepest
		return Malformed
	case b.Kind == "trak" || b.Kind == "mdia" || b.Kind == "minf":
		r.bytes = append(append(r.bytes, "...."...), b.Kind...)
		if err := eachBox(r.m.file, b, func(c Box) error { return r.empty(c, depth+1) }); err != nil {
			return err
		}
		return r.close(begin)
	case b.Kind == "stbl":
		r.bytes = append(append(r.bytes, "...."...), b.Kind...)
		err := eachBox(r.m.file, b, func(c Box) error {
			if c.Kind == "stsd" {
				return r.verbatim(c)
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.bytes = append(r.bytes, noSamples...)
		return r.close(begin)
	}
	return r.verbatim(b)
}

// offsets is a track's chunk offset table in the copy. It stays there only as long as
// nothing is appended.
func (r *remuxed) offsets(t *Track) []byte {
	co, _ := t.offsets()
	at := r.traks[t]
	return r.bytes[at+int(co.Body+8-t.trak.Start) : at+int(co.End-t.trak.Start)]
}

// moveTitles copies the samples of a track of chapters, and writes where they are now.
func (r *remuxed) moveTitles(t *Track) error {
	_, width := t.offsets()
	var moved []int64
	total := int64(0)
	err := t.eachChunk(r.m.file, func(c chunk) error {
		if c.size > r.m.Size || c.offset > r.m.Size-c.size {
			return Truncated
		}
		if total += c.size; total > maxTitles {
			return LargeIndex
		}
		moved = append(moved, int64(len(r.bytes)))
		b := make([]byte, c.size)
		if err := readAt(r.m.file, b, c.offset, r.m.Size); err != nil {
			return err
		}
		r.bytes = append(r.bytes, b...)
		return nil
	})
	if err != nil {
		return err
	}
	h := header{offsets: r.offsets(t), width: width}
	for _, at := range moved {
		if err := h.moveChunk(at); err != nil {
			return err
		}
	}
	return nil
}

// same compares what the copy says with what the movie says.
func (m *Movie) same(t *Track, p Plan) error {
	size := int64(len(p.Header)) + p.Bytes
	c, err := Read(behind{p.Header, size}, size)
	if err != nil {
		return err
	}
	if c.End != size || c.Timescale != m.Timescale || len(c.AudioTracks()) != len(m.AudioTracks()) || len(c.Tracks) < len(m.Tracks) || c.Fragmented {
		return Malformed
	}
	for i, was := range m.Tracks {
		is := c.Tracks[i]
		if !is.Alike(was) {
			return Malformed
		}
		if was == t && (!reflect.DeepEqual(is.Edits, was.Edits) || is.Seconds != was.Seconds || is.Delay != was.Delay || is.Skip != was.Skip || c.Start(is) != m.Start(was)) {
			return Malformed
		}
	}
	return m.sameChapters(c)
}

func (m *Movie) sameChapters(c *Movie) error {
	is, isCount, err := c.Chapters(c.texts)
	if err != nil {
		return err
	}
	was, wasCount, err := m.Chapters(m.texts)
	if err != nil {
		return err
	}
	if isCount != wasCount || !slices.Equal(is, was) {
		return Malformed
	}
	return nil
}

// texts reads small extents.
func (m *Movie) texts(where []Extent) ([][]byte, error) {
	list := make([][]byte, len(where))
	for i, e := range where {
		list[i] = make([]byte, e.Size)
		if err := readAt(m.file, list[i], e.Offset, m.Size); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Alike reports whether two tracks say the same of themselves, without their samples.
func (t *Track) Alike(other *Track) bool { return t.about() == other.about() }

// about is what a track says of itself, without its samples.
func (t *Track) about() any {
	return struct {
		ID                        uint32
		Handler, Language, Codec  string
		Enabled, Encrypted, Extra bool
		Group, Descriptions       int
		Timescale                 uint32
		SampleRate, Channels      int
		Order                     string
		Object                    byte
	}{
		t.ID, t.Handler, t.Language, t.Codec, t.Enabled, t.Encrypted, t.External, t.AlternateGroup, t.Descriptions, t.Timescale,
		t.SampleRate, t.Channels, t.Order, t.Object,
	}
}

// behind is the head of a file; the rest is zeros.
type behind struct {
	head []byte
	size int64
}

func (b behind) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at > b.size {
		return 0, errors.New("mp4: an offset outside the file")
	}
	n := int(min(int64(len(p)), b.size-at))
	clear(p[:n])
	if at < int64(len(b.head)) {
		copy(p[:n], b.head[at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Reaches returns the second on a player's clock where the first sample of a track
// begins that lies behind the end of the file. It is false if there is none, or if the
// tables cannot be followed.
func (m *Movie) Reaches(t *Track) (seconds float64, ok bool) {
	if m.check(t) != nil {
		return 0, false
	}
	err := t.eachSample(m.file, func(s sample) error {
		if s.Size > m.Size || s.Offset > m.Size-s.Size {
			seconds, ok = t.Delay-max(0, t.Skip)+float64(s.at)/float64(t.Timescale), true
			return errEnough
		}
		return nil
	})
	return seconds, ok && err == nil
}
