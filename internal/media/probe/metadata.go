package probe

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mp4"
)

// Limits of what is taken over from a source. Texts may be as long as
// conversion.Options allows.
const (
	maxChapters = mp4.MaxChapters
	maxTitle    = 250 // characters, of a chapter and of a title that nobody asked for
	maxText     = 1000
	maxComment  = 10_000
	MaxTime     = 1e6 // seconds
)

// Chapter is one part of the source. Times are seconds from where a player
// begins.
type Chapter struct {
	Start float64
	End   float64 // where it is not behind Start, the chapter lasts until the next one begins
	Title string  // may be ''
}

// Told takes over the source's tags and chapters, all of which ffmpeg has written
// to x.
func (i *Info) Told(x *Texts) {
	told := x.done()
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

// addChapter keeps the chapter, or counts it where there are too many.
func (m *Meta) addChapter(c Chapter) {
	if m.Listed++; len(m.Chapters) < maxChapters {
		m.Chapters = append(m.Chapters, c)
	}
}

// quickTime are QuickTime's names of what is otherwise called so, best first
// (QuickTime File Format, metadata keys). Its creationdate says when something was
// recorded, which is not the date of a work.
var quickTime = map[string][]string{
	"title": {"title", "displayname"}, "artist": {"artist", "performer", "author"}, "album": {"album"},
	"date": {"year"}, "genre": {"genre"}, "comment": {"comment"},
}

const quickTimeKey = "com.apple.quicktime."

// repeated are the keys that say something.
var repeated = func() map[string]bool {
	keys := map[string]bool{"track": true, "timebase": true, "start": true, "end": true}
	for key, names := range quickTime {
		keys[key] = true
		for _, name := range names {
			keys[quickTimeKey+name] = true
		}
	}
	return keys
}()

// tagsOf picks the tags that an MP3 repeats, cleaned.
func tagsOf(keys map[string]string) conversion.Tags {
	of := func(key string) string {
		if keys[key] != "" {
			return keys[key]
		}
		for _, name := range quickTime[key] {
			if v := keys[quickTimeKey+name]; v != "" {
				return v
			}
		}
		return ""
	}
	return conversion.Tags{
		Title:   cleanText(of("title"), maxTitle),
		Artist:  cleanText(of("artist"), maxText),
		Album:   cleanText(of("album"), maxText),
		Date:    cleanDate(of("date")),
		Genre:   cleanText(of("genre"), maxText),
		Comment: cleanComment(of("comment")),
		Track:   cleanNumber(of("track")),
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
	return c, sane(c.Start) && sane(c.End)
}

func sane(seconds float64) bool { return math.Abs(seconds) <= MaxTime } // false for NaN

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

// CleanTitle is s as a title: on one line, and not too long.
func CleanTitle(s string) string { return cleanText(s, maxTitle) }
