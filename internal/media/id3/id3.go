// Package id3 writes ID3v2.4 tags: texts in UTF-8, one picture, chapters. It
// writes only what it is given, and the same bytes each time.
//
// Formats: id3.org's "ID3 tag version 2.4.0 - Main Structure" and "- Native
// Frames", and "ID3v2 Chapter Frame Addendum 1.0".
//
// Unsynchronisation is not used: every player that knows version 2.4 skips a
// tag by its size, and several misread tags that use it.
package id3

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Tag is what a tag can say. Empty fields are left out.
type Tag struct {
	Title, Artist, Album string
	Date                 string // 2026, 2026-11 or 2026-11-23
	Genre                string
	Comment              string // may have line breaks
	Track                string // 3 or 3/12
	JPEG                 []byte // the cover
	Chapters             []Chapter
}

// Chapter is one part of the audio. Times count from its beginning and are
// written in milliseconds.
type Chapter struct {
	Start, End time.Duration
	Title      string // may be ''; longer than 126 bytes it is cut
}

// ErrTooLarge is wrapped where something is longer than a tag can say.
var ErrTooLarge = errors.New("too large for an ID3 tag")

// maxSize is the largest number in four bytes of seven bits.
const maxSize = 1<<28 - 1

// maxEntries is how many elements one table of contents may list.
const maxEntries = 255

const utf8 = 3 // the encoding's number

// Bytes returns the whole tag with its header. It is nil for an empty tag.
func (t Tag) Bytes() ([]byte, error) {
	var frames []byte
	for _, f := range []struct{ id, text string }{
		{"TIT2", t.Title}, {"TPE1", t.Artist}, {"TALB", t.Album}, {"TDRC", t.Date}, {"TCON", t.Genre}, {"TRCK", t.Track},
	} {
		frames = appendText(frames, f.id, f.text)
	}
	if t.Comment != "" { // language, an empty description, the text
		frames = appendFrame(frames, "COMM", []byte{utf8}, []byte("XXX\x00"), plain(t.Comment))
	}
	chapters, err := appendChapters(frames, t.Chapters)
	if err != nil {
		return nil, err
	}
	frames = chapters
	if len(t.JPEG) > 0 { // the front cover (3), without a description
		frames = appendFrame(frames, "APIC", []byte("\x00image/jpeg\x00\x03\x00"), t.JPEG)
	}
	switch {
	case len(frames) == 0:
		return nil, nil
	case len(frames) > maxSize:
		return nil, fmt.Errorf("%d bytes: %w", len(frames), ErrTooLarge)
	}
	head := append([]byte("ID3\x04\x00\x00"), syncsafe(len(frames))...)
	return append(head, frames...), nil
}

// appendChapters adds the tables of contents and a frame for each chapter.
func appendChapters(b []byte, chapters []Chapter) ([]byte, error) {
	ids := make([]string, len(chapters))
	for i := range chapters {
		ids[i] = "ch" + strconv.Itoa(i)
	}
	b, err := appendContents(b, ids)
	if err != nil {
		return nil, err
	}
	for i, c := range chapters {
		start, err := milliseconds(c.Start)
		if err != nil {
			return nil, err
		}
		end, err := milliseconds(c.End)
		if err != nil {
			return nil, err
		}
		body := append([]byte(ids[i]), 0)
		body = binary.BigEndian.AppendUint32(body, start)
		body = binary.BigEndian.AppendUint32(body, end)
		body = append(body, "\xff\xff\xff\xff\xff\xff\xff\xff"...) // no byte offsets: the times count
		b = appendFrame(b, "CHAP", appendText(body, "TIT2", short(c.Title)))
	}
	return b, nil
}

// maxChapterTitle is how many bytes the title of a chapter may have. ffmpeg, and
// with it many players, reads the size of the frame with the title as a plain
// number (libavformat/id3v2.c, read_chapter), and drops the chapter if that is too
// long. Up to 127 with the encoding's number both readings agree.
const maxChapterTitle = 126

// short cuts a title between two characters.
func short(title string) string {
	const ellipsis = "…"
	if len(title) <= maxChapterTitle {
		return title
	}
	end := maxChapterTitle - len(ellipsis)
	for end > 0 && title[end]&0xc0 == 0x80 {
		end--
	}
	return strings.TrimRight(title[:end], " ") + ellipsis
}

// appendContents adds the table at the top. If there are more elements than a
// table may have, the top table lists further tables.
func appendContents(b []byte, ids []string) ([]byte, error) {
	const ordered, top = 1, 2
	switch {
	case len(ids) == 0:
		return b, nil
	case len(ids) <= maxEntries:
		return appendTable(b, "toc", ordered|top, ids), nil
	case len(ids) > maxEntries*maxEntries:
		return nil, fmt.Errorf("%d chapters: %w", len(ids), ErrTooLarge)
	}
	var names []string
	var tables []byte
	for at := 0; at < len(ids); at += maxEntries {
		name := "toc" + strconv.Itoa(len(names))
		names = append(names, name)
		tables = appendTable(tables, name, ordered, ids[at:min(at+maxEntries, len(ids))])
	}
	return append(appendTable(b, "toc", ordered|top, names), tables...), nil
}

func appendTable(b []byte, id string, flags byte, ids []string) []byte {
	body := append([]byte(id), 0, flags, byte(len(ids)))
	for _, id := range ids {
		body = append(append(body, id...), 0)
	}
	return appendFrame(b, "CTOC", body)
}

// appendText adds a text frame. A frame with one value ends with it: a zero
// would begin another value.
func appendText(b []byte, id, text string) []byte {
	if text == "" {
		return b
	}
	return appendFrame(b, id, []byte{utf8}, plain(text))
}

// plain is the text without zeros and as valid UTF-8.
func plain(text string) []byte {
	return []byte(strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", " "))
}

// appendFrame adds a frame without flags. If a size is beyond maxSize, so is
// the size of the whole tag, which is checked later.
func appendFrame(b []byte, id string, parts ...[]byte) []byte {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	b = append(append(b, id...), syncsafe(size)...)
	b = append(b, 0, 0)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// syncsafe writes n in four bytes of seven bits each.
func syncsafe(n int) []byte {
	return []byte{byte(n >> 21 & 127), byte(n >> 14 & 127), byte(n >> 7 & 127), byte(n & 127)}
}

func milliseconds(d time.Duration) (uint32, error) {
	ms := d.Round(time.Millisecond).Milliseconds()
	if ms < 0 || ms >= math.MaxUint32 {
		return 0, fmt.Errorf("a chapter at %v: %w", d, ErrTooLarge)
	}
	return uint32(ms), nil
}
