package mp4

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf16"
)

// Limits of chapters that are kept in a list: those of its fields.
const (
	maxChapters = 255
	maxTitle    = 255
)

// Chapter is one chapter; it ends where the next one begins.
type Chapter struct {
	Start float64 // seconds
	Title string
}

// Chapters reads the titles of chapters that the source holds in a track of its
// own, between the pictures. title returns the bytes of one title. If the index
// itself lists chapters, Chapters returns none, because Plan keeps that list.
// The error is a Reason or one of the readers'.
func (m *Movie) Chapters(title func(Extent) ([]byte, error)) ([]Chapter, error) {
	t := m.Track(m.chapters)
	if m.chapters == 0 || t == nil || t.Handler != "text" || t.Timescale == 0 || m.listsChapters() {
		return nil, nil
	}
	chapters, err := m.readChapters(t, title)
	if err != nil {
		return nil, fmt.Errorf("read the chapters: %w", err)
	}
	return chapters, nil
}

func (m *Movie) readChapters(t *Track, title func(Extent) ([]byte, error)) ([]Chapter, error) {
	where, err := t.samples(m.file, maxChapters+1)
	if err != nil {
		return nil, err
	}
	if len(where) > maxChapters {
		return nil, Chapters
	}
	stts, ok := t.stbl["stts"]
	if !ok {
		return nil, nil
	}
	times, err := openTable(m.file, stts, 8)
	if err != nil {
		return nil, err
	}
	var chapters []Chapter
	var now uint64
	err = times.each(func(e []byte) {
		for range binary.BigEndian.Uint32(e) {
			if len(chapters) == len(where) {
				return
			}
			chapters = append(chapters, Chapter{Start: float64(now) / float64(t.Timescale)})
			now += uint64(binary.BigEndian.Uint32(e[4:]))
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range chapters {
		if where[i].Size > 64<<10 || where[i].End() > m.Size {
			return nil, Chapters
		}
		text, err := title(where[i])
		if err != nil {
			return nil, err
		}
		chapters[i].Title = parseTitle(text)
	}
	return chapters, nil
}

// samples lists where the first samples of a small track lie, at most limit.
func (t *Track) samples(r io.ReaderAt, limit int) ([]Extent, error) {
	sizes, err := t.openSizes(r)
	if err != nil {
		return nil, err
	}
	var list []Extent
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
	return list, err
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

// listsChapters reports whether the index lists the chapters itself.
func (m *Movie) listsChapters() bool {
	found := false
	_ = eachBox(m.file, m.moov, func(b Box) error {
		if b.Kind != "udta" {
			return nil
		}
		return eachBox(m.file, b, func(b Box) error {
			found = found || b.Kind == "chpl"
			return nil
		})
	})
	return found
}

// hasChapters reports whether the content of a udta box lists chapters.
func hasChapters(udta []byte) bool {
	for len(udta) >= 8 {
		size := int64(binary.BigEndian.Uint32(udta))
		if string(udta[4:8]) == "chpl" {
			return true
		}
		if size < 8 || size > int64(len(udta)) {
			return false
		}
		udta = udta[size:]
	}
	return false
}

// chapterList makes the box in which Nero and ffmpeg list chapters, in units of
// 100 ns.
func chapterList(chapters []Chapter) ([]byte, error) {
	if len(chapters) > maxChapters {
		return nil, Chapters
	}
	list := []byte{1, 0, 0, 0, 0, 0, 0, 0, byte(len(chapters))}
	for _, c := range chapters {
		if len(c.Title) > maxTitle {
			return nil, Chapters
		}
		list = binary.BigEndian.AppendUint64(list, uint64(c.Start*1e7+0.5))
		list = append(append(list, byte(len(c.Title))), c.Title...)
	}
	return appendBox(nil, "chpl", list), nil
}
