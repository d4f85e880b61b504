package probe

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tonearm/internal/conversion"
)

// Limits of what is taken over from a source. Texts may be as long as
// conversion.Options allows.
const (
	MaxMetadata = 4 << 20 // bytes of ffmpeg's text
	maxChapters = 1000
	maxTitle    = 250 // characters, of a chapter and of a title that nobody asked for
	maxText     = 1000
	maxComment  = 10_000
	MaxTime     = 1e6 // seconds
)

// Chapter is one part of the source. Times are seconds from where a player
// begins.
type Chapter struct {
	Start, End float64
	Title      string // may be ''
}

// Told takes over the source's tags and chapters as ffmpeg wrote them.
func (i *Info) Told(metadata string) {
	told := parseMetadata(metadata)
	told.Attached = i.Attached
	i.Meta = told
	if i.Container == "mp3" || i.Start < 0 { // ffmpeg counts from the first time stamp, a player from 0
		i.shift(i.Start)
	}
}

// Tags returns the tags of the file, or those of an audio track if the format has
// tags only for tracks.
func (i *Info) Tags(track int) conversion.Tags {
	if i.Container == "ogg" && track < len(i.tracks) {
		return i.tracks[track]
	}
	return i.file
}

// shift moves all chapters by some seconds, except times at the beginning.
func (m Meta) shift(by float64) {
	for i := range m.Chapters {
		for _, t := range []*float64{&m.Chapters[i].Start, &m.Chapters[i].End} {
			if *t > 0 {
				*t += by
			}
		}
	}
}

// parseMetadata reads ffmpeg's metadata format: lines of key=value below
// headings for the file, each stream and each chapter. A backslash takes away
// the special meaning of the next character. parseMetadata never fails: what
// makes no sense is left out.
func parseMetadata(text string) Meta {
	var m Meta
	section, keys := "", map[string]string{}
	finish := func() {
		switch section {
		case "":
			m.file = tagsOf(keys)
		case "[STREAM]":
			if len(m.tracks) < MaxTracks {
				m.tracks = append(m.tracks, tagsOf(keys))
			}
		case "[CHAPTER]":
			if c, ok := chapterOf(keys); ok && len(m.Chapters) < maxChapters {
				m.Chapters = append(m.Chapters, c)
			}
		}
		keys = map[string]string{}
	}
	for text != "" {
		var line string
		line, text = cutLine(text)
		switch {
		case strings.HasPrefix(line, "["):
			finish()
			section = line
		case strings.HasPrefix(line, ";"), strings.HasPrefix(line, "#"):
		default:
			if key, value, ok := cutUnescaped(line); ok {
				keys[strings.ToLower(key)] = value
			}
		}
	}
	finish()
	slices.SortStableFunc(m.Chapters, func(a, b Chapter) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	return m
}

// cutLine returns the first line; an escaped line break does not end it.
func cutLine(text string) (line, rest string) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\n':
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// cutUnescaped splits a line at its first unescaped "=" and removes the
// backslashes.
func cutUnescaped(line string) (key, value string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case line[i] == '=' && !ok:
			key, ok = b.String(), true
			b.Reset()
		default:
			b.WriteByte(line[i])
		}
	}
	return key, b.String(), ok
}

// tagsOf picks the tags that an MP3 repeats, cleaned.
func tagsOf(keys map[string]string) conversion.Tags {
	return conversion.Tags{
		Title:   cleanText(keys["title"], maxTitle),
		Artist:  cleanText(keys["artist"], maxText),
		Album:   cleanText(keys["album"], maxText),
		Date:    cleanDate(keys["date"]),
		Genre:   cleanText(keys["genre"], maxText),
		Comment: cleanComment(keys["comment"]),
		Track:   cleanNumber(keys["track"]),
	}
}

// chapterOf reads TIMEBASE (a fraction of a second), START and END.
func chapterOf(keys map[string]string) (Chapter, bool) {
	a, b, _ := strings.Cut(keys["timebase"], "/")
	num, err1 := strconv.ParseFloat(a, 64)
	den, err2 := strconv.ParseFloat(b, 64)
	start, err3 := strconv.ParseFloat(keys["start"], 64)
	end, err4 := strconv.ParseFloat(keys["end"], 64)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return Chapter{}, false
		}
	}
	c := Chapter{Start: start * num / den, End: end * num / den, Title: cleanText(keys["title"], maxTitle)}
	sane := func(t float64) bool { return math.Abs(t) <= MaxTime } // false for NaN
	return c, sane(c.Start) && sane(c.End)
}

// cleanText is s on one line, with at most limit characters.
func cleanText(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s) // which also replaces what is not UTF-8
	return shorten(strings.Join(strings.Fields(s), " "), limit)
}

// cleanComment keeps the lines of a comment.
func cleanComment(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = cleanText(line, maxComment)
	}
	return shorten(strings.TrimSpace(strings.Join(lines, "\n")), maxComment)
}

func shorten(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return strings.TrimSpace(string(r[:limit]))
	}
	return s
}

// cleanDate is the date at the beginning of s, as precise as it is valid.
func cleanDate(s string) string {
	s = strings.TrimSpace(s)
	if day, err := time.Parse("20060102", s); err == nil {
		return day.Format(time.DateOnly)
	}
	for _, length := range []int{len("2006-01-02"), len("2006-01"), len("2006")} {
		if len(s) >= length && conversion.ValidDate(s[:length]) && s[:4] != "0000" {
			return s[:length]
		}
	}
	return ""
}

// cleanNumber is the number on an album, without a total that makes no sense.
func cleanNumber(s string) string {
	s = strings.TrimSpace(s)
	for _, n := range []string{s, strings.Split(s, "/")[0]} {
		if conversion.ValidTrackNumber(n) {
			return n
		}
	}
	return ""
}

// head keeps the beginning of what is written to it.
type head struct {
	bytes []byte
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.bytes = append(h.bytes, p[:min(len(p), h.limit-len(h.bytes))]...)
	return len(p), nil
}

// CleanTitle is s as a title: on one line, and not too long.
func CleanTitle(s string) string { return cleanText(s, maxTitle) }
