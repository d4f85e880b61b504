package probe

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of what is kept of one line of ffmpeg's metadata, in bytes. No text that
// an MP3 repeats is longer, whatever the source has.
const (
	maxKey   = 256
	maxValue = 64 << 10
)

// Texts reads ffmpeg's metadata format as ffmpeg writes it: lines of key=value
// below headings for the file, each stream and each chapter. A backslash takes
// away the special meaning of the next character. It never fails: what makes no
// sense is left out. However much a source says, little of it is held.
type Texts struct {
	meta    Meta
	section string
	keys    map[string]string

	key, value []byte // of the line that is being read
	inValue    bool
	escaped    bool
}

// Write takes the next bytes.
func (x *Texts) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if x.escaped {
			x.take(p[:1])
			x.escaped, p = false, p[1:]
			continue
		}
		special := "\\\n="
		if x.inValue {
			special = "\\\n"
		}
		i := bytes.IndexAny(p, special)
		if i < 0 {
			x.take(p)
			break
		}
		x.take(p[:i])
		switch p[i] {
		case '\\':
			x.escaped = true
		case '=':
			x.inValue = true
		default:
			x.line()
		}
		p = p[i+1:]
	}
	return n, nil
}

// take adds to the key or the value of the line.
func (x *Texts) take(p []byte) {
	if x.inValue {
		x.value = append(x.value, p[:min(len(p), maxValue-len(x.value))]...)
	} else {
		x.key = append(x.key, p[:min(len(p), maxKey-len(x.key))]...)
	}
}

// line ends a line.
func (x *Texts) line() {
	switch key := string(x.key); {
	case strings.HasPrefix(key, ";"), strings.HasPrefix(key, "#"):
	case strings.HasPrefix(key, "[") && !x.inValue:
		x.finish()
		x.section = key
	case x.inValue:
		if key = strings.ToLower(key); repeated[key] {
			if x.keys == nil {
				x.keys = map[string]string{}
			}
			x.keys[key] = decodeText(string(x.value))
		}
	}
	x.key, x.value, x.inValue, x.escaped = x.key[:0], x.value[:0], false, false
}

// finish ends a section.
func (x *Texts) finish() {
	switch m := &x.meta; x.section {
	case "":
		m.file = tagsOf(x.keys)
	case "[STREAM]":
		if len(m.tracks) < MaxTracks {
			m.tracks = append(m.tracks, tagsOf(x.keys))
		}
	case "[CHAPTER]":
		if c, ok := chapterOf(x.keys); ok {
			m.addChapter(c)
		}
	}
	x.keys = nil
}

// done ends the text and returns what it says.
func (x *Texts) done() Meta {
	x.line()
	x.finish()
	m := x.meta
	slices.SortStableFunc(m.Chapters, func(a, b Chapter) int { return cmp.Compare(a.Start, b.Start) })
	return m
}

// decodeText returns the text as UTF-8. Bytes that are no UTF-8 are taken for
// Windows-1252, which Windows' tools write where no encoding is named, and so are
// the control characters that come of reading Windows-1252 as ISO 8859-1.
func decodeText(s string) string {
	if utf8.ValidString(s) {
		s = misread(s)
	} else {
		s = decodeBytes(s)
	}
	return strings.Map(func(r rune) rune {
		if r >= 0x80 && r < 0xa0 {
			return windows1252[r-0x80]
		}
		return r
	}, s)
}

// decodeBytes keeps what is UTF-8 and reads the other bytes as Windows-1252. A
// text that was cut off within its last character loses it.
func decodeBytes(s string) string {
	var b strings.Builder
	several, wrong := false, false
	for rest := s; rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case r != utf8.RuneError || n > 1:
			several = several || n > 1
			b.WriteRune(r)
		case several && !wrong && !utf8.FullRuneInString(rest):
			return b.String()
		default:
			wrong = true
			b.WriteRune(rune(rest[0])) // 0x80 to 0x9f are mapped later
		}
		rest = rest[n:]
	}
	return b.String()
}

// windows1252 are the characters from 0x80 to 0x9f (WHATWG Encoding Standard,
// index windows-1252); those that it does not have become spaces.
var windows1252 = [32]rune{
	'€', ' ', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', ' ', 'Ž', ' ',
	' ', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', ' ', 'ž', 'Ÿ',
}

// misread undoes that UTF-8 was read as ISO 8859-1: tools write it into ID3 tags
// of an older version, which have no UTF-8, and call it ISO 8859-1. Text that is
// nothing but well-formed UTF-8 in that reading is hardly meant otherwise.
func misread(s string) string {
	var b []byte
	beyond := false
	for _, r := range s {
		if r > 0xff {
			return s
		}
		beyond = beyond || r >= 0x80
		b = append(b, byte(r))
	}
	if !beyond || !utf8.Valid(b) {
		return s
	}
	return string(b)
}
