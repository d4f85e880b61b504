package mp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"unicode/utf16"
)

// Limits of chapters.
const (
	MaxChapters = 10_000  // that are read; more are only counted
	maxTitle    = 4 << 10 // bytes that are read of a text sample
	listed      = 255     // entries of a chpl box, and bytes of a title in it
)

// Chapter is one chapter, on the movie's clock.
type Chapter struct {
	Start float64 // seconds
	End   float64 // seconds; 0 where it lasts until the next one begins
	Title string  // in UTF-8, or whatever the writer took for text
}

// Chapters reads the chapters that the index lists, or those in a track of their
// own, between the pictures; count is how many there are, also beyond MaxChapters.
// The track is read where it can have more than the list, which has 255 entries
// and 255 bytes of each title. texts returns the bytes of all extents that it is
// given. An error is one of the readers'; what contradicts itself has no chapters.
//
// Sources: QuickTime File Format, "Chapter lists" (track references of type
// chap), and Nero's chpl box as ffmpeg and mp4v2 write it.
func (m *Movie) Chapters(texts func([]Extent) ([][]byte, error)) (list []Chapter, count int, err error) {
	list, full, err := m.readChapterList()
	var reason Reason
	if errors.As(err, &reason) {
		list, err = nil, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the list of chapters: %w", err)
	}
	for _, id := range m.chapters {
		t := m.Track(id)
		if t == nil || t.Handler == "soun" || t.Handler == "vide" || t.External || t.Timescale == 0 {
			continue
		}
		inTrack, all, err := m.readChapterTrack(t, len(list), full, texts)
		if errors.As(err, &reason) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read the track of chapters: %w", err)
		}
		if len(inTrack) > 0 {
			return inTrack, all, nil
		}
	}
	return list, len(list), nil
}

// readChapterTrack reads the chapters of a track. It returns none if the list
// says as much.
func (m *Movie) readChapterTrack(t *Track, inList int, full bool, texts func([]Extent) ([][]byte, error)) (list []Chapter, count int, err error) {
	where, count, err := t.samples(m.file, MaxChapters)
	if err != nil {
		return nil, 0, err
	}
	if inList > 0 && !full && count <= inList {
		return nil, 0, nil
	}
	for i, e := range where {
		if e.End() > m.Size {
			return nil, 0, Truncated
		}
		where[i].Size = min(e.Size, maxTitle)
	}
	spans, err := m.spans(t, len(where))
	if err != nil {
		return nil, 0, err
	}
	samples, err := texts(where)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range spans {
		list = append(list, Chapter{Start: s.from, End: s.to, Title: parseTitle(samples[s.sample])})
	}
	return list, max(count, len(list)), nil
}

// span is when a sample is shown, in seconds on the movie's clock.
type span struct {
	sample   int
	from, to float64
}

// spans says when the first n samples are shown, at most MaxChapters times. The
// edit list may show them later, in part or several times.
func (m *Movie) spans(t *Track, n int) ([]span, error) {
	stts, ok := t.stbl["stts"]
	if !ok {
		return nil, Malformed
	}
	times, err := openTable(m.file, stts, 8)
	if err != nil {
		return nil, err
	}
	var media []span // on the track's clock
	now, scale := uint64(0), float64(t.Timescale)
	err = times.each(func(e []byte) {
		for range binary.BigEndian.Uint32(e) {
			if len(media) == n {
				return
			}
			next := now + uint64(sttsDelta(e))
			media = append(media, span{len(media), float64(now) / scale, float64(next) / scale})
			now = next
		}
	})
	if err != nil || len(t.Edits) == 0 || m.Timescale == 0 {
		return media, err
	}
	media = slices.DeleteFunc(media, func(s span) bool { return s.from == s.to }) // what lasts no time is not shown
	var shown []span
	for _, p := range t.shown {
		first := sort.Search(len(media), func(i int) bool { return media[i].to > p.From })
		for _, s := range media[first:] {
			if s.from >= p.To {
				break
			}
			if len(shown) == MaxChapters {
				return shown, nil
			}
			a, b := max(s.from, p.From), min(s.to, p.To)
			shown = append(shown, span{s.sample, p.At + (a-p.From)/p.Rate, p.At + (b-p.From)/p.Rate})
		}
	}
	return shown, nil
}

// samples lists where the first samples of a small track lie, at most limit, and
// counts all of them.
func (t *Track) samples(r io.ReaderAt, limit int) (list []Extent, count int, err error) {
	sizes, err := t.openSizes(r)
	if err != nil {
		return nil, 0, err
	}
	count = int(sizes.left)
	err = t.eachChunk(r, func(c chunk) error {
		at := c.offset
		for range c.samples {
			if len(list) == limit {
				return nil
			}
			n, err := sizes.next()
			if err != nil {
				return err
			}
			list = append(list, Extent{at, n})
			at += n
		}
		return nil
	})
	return list, count, err
}

// parseTitle reads a text sample: its length, the text, perhaps more.
func parseTitle(sample []byte) string {
	if len(sample) < 2 {
		return ""
	}
	n := int(binary.BigEndian.Uint16(sample))
	text := sample[2:min(len(sample), 2+n)]
	if len(text) < 2 {
		return string(text)
	}
	var order binary.ByteOrder
	switch {
	case text[0] == 0xfe && text[1] == 0xff:
		order = binary.BigEndian
	case text[0] == 0xff && text[1] == 0xfe:
		order = binary.LittleEndian
	default:
		return string(text)
	}
	var units []uint16
	for text = text[2:]; len(text) >= 2; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	return string(utf16.Decode(units))
}

// readChapterList reads the list in the index. full says that it may lack
// something: chapters, or the end of a title.
func (m *Movie) readChapterList() (list []Chapter, full bool, err error) {
	var chpl Box
	err = eachBox(m.file, m.moov, func(b Box) error {
		if b.Kind != "udta" {
			return nil
		}
		err := eachBox(m.file, b, func(b Box) error {
			if b.Kind == "chpl" && chpl.End == 0 {
				chpl = b
			}
			return nil
		})
		if errors.Is(err, Malformed) { // QuickTime ends it with four zeros
			err = nil
		}
		return err
	})
	if err != nil || chpl.End == 0 {
		return nil, false, err
	}
	const greatest = 9 + listed*(9+listed)
	b := make([]byte, min(chpl.End-chpl.Body, greatest))
	if err := readAt(m.file, b, chpl.Body, chpl.End); err != nil {
		return nil, false, err
	}
	if len(b) < 5 {
		return nil, false, Malformed
	}
	count := 4 // behind version and flags
	if b[0] != 0 {
		count = 8
	}
	if len(b) <= count {
		return nil, false, Malformed
	}
	n := int(b[count])
	full = n == listed
	for b = b[count+1:]; len(b) >= 9 && len(list) < n; {
		size := int(b[8])
		if len(b) < 9+size {
			break
		}
		full = full || size == listed
		const tick = 1e-7
		list = append(list, Chapter{Start: float64(binary.BigEndian.Uint64(b)) * tick, Title: string(b[9 : 9+size])})
		b = b[9+size:]
	}
	return list, full, nil
}
