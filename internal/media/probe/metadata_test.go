package probe

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"tonearm/internal/conversion"
)

// metadata parses a text, a few bytes at a time.
func metadata(text string) Meta {
	var x Texts
	for len(text) > 0 {
		n := min(len(text), 7)
		if k, err := x.Write([]byte(text[:n])); k != n || err != nil {
			panic("a part was not taken")
		}
		text = text[n:]
	}
	return x.done()
}

func TestParseMetadata(t *testing.T) {
	const text = `;FFMETADATA1
title=A\=B\; \#c \\ "d"
ARTIST=Ä
date=2026-11-23T18:00:00Z
track=3/0
genre=two\
lines
comment=one\
[CHAPTER]\
two	tab
location=+48.1+11.5/
#artist=no
[STREAM]
title=Commentary
artist=of the track
[STREAM]
title=second
[CHAPTER]
TIMEBASE=1/1000
START=1500
END=2000
title=late
[CHAPTER]
TIMEBASE=1/1000000000
START=0
END=1500000000
[CHAPTER]
TIMEBASE=1/0
START=1
END=2
[CHAPTER]
START=1
END=2
title=without a clock`
	m := metadata(text)
	want := conversion.Tags{
		Title: `A=B; #c \ "d"`, Artist: "Ä", Date: "2026-11-23", Genre: "two lines", Track: "3",
		Comment: "one\n[CHAPTER]\ntwo tab",
	}
	if m.file != want {
		t.Errorf("got  %+v\nwant %+v", m.file, want)
	}
	if got, want := fmt.Sprint(m.Chapters), "[{0 1.5 } {1.5 2 late}]"; got != want {
		t.Errorf("chapters %s, want %s", got, want)
	}
	for container, want := range map[string]string{"ogg": "second", "matroska,webm": `A=B; #c \ "d"`} {
		info := Info{Container: container, Meta: m}
		if got := info.Tags(1).Title; got != want {
			t.Errorf("%s: title %q, want %q", container, got, want)
		}
	}
	var many strings.Builder
	for i := range 10_200 {
		fmt.Fprintf(&many, "[CHAPTER]\nTIMEBASE=1/1\nSTART=%d\nEND=%d\ntitle=%s\n", i, i+1, strings.Repeat("ä", 300))
	}
	m = metadata(many.String())
	if len(m.Chapters) != 10_000 || m.Listed != 10_200 || utf8.RuneCountInString(m.Chapters[0].Title) != 250 {
		t.Errorf("%d chapters, a title of %d characters", len(m.Chapters), utf8.RuneCountInString(m.Chapters[0].Title))
	}
}

// TestDecodeText tries texts that are not UTF-8, or were read as if they were not.
func TestDecodeText(t *testing.T) {
	for s, want := range map[string]string{
		"Caf\xe9 \x96 M\xfcnchner Stra\xdfe": "Café – Münchner Straße", // Windows-1252
		"Caf\u00e9 \u0096 \u0080":            "Café – €",               // the same, read as ISO 8859-1
		"CafÃ© â\u0080\u0093 x":              "Café – x",               // UTF-8, read so
		"Café – x":                           "Café – x",               // UTF-8
		"ÄÖÜ «CAFÉ» ß¼":                      "ÄÖÜ «CAFÉ» ß¼",          // nothing but Latin letters and signs
		"Ä\xfc":                              "Äü",                     // both
		"Münchner Stra\xc3":                  "Münchner Stra",          // UTF-8, cut off
		"M\xfcnchner Stra\xdf":               "Münchner Straß",         // Windows-1252, which ends so
		"\x81\xff\xfe":                       " ÿþ",                    // not in Windows-1252
		"日本\xe6\x9c":                         "日本",                     // cut off
		"\u0085":                             "…",
		"":                                   "",
	} {
		if got := decodeText(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

// TestLongTexts: a text beyond all bounds hides nothing that comes behind it.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("w\\\n", 1<<20)
	m := metadata("comment=" + long + "\n" + long + "=x\ntitle=T\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle=" + long + "\n[STREAM]\ntitle=S\n")
	if m.file.Title != "T" || len(m.Chapters) != 1 || len(m.tracks) != 1 || m.tracks[0].Title != "S" || len(m.file.Comment) < 1000 {
		t.Errorf("got %+v", m.file)
	}
}

func TestCleanDateAndNumber(t *testing.T) {
	for s, want := range map[string]string{
		"2026": "2026", "2026-11": "2026-11", " 2026-11-23 ": "2026-11-23", "20261123": "2026-11-23",
		"2026-13-40": "2026", "2026-02-30": "2026-02", "2026/11/23": "2026", "yesterday": "", "0000": "", "": "", "99": "",
	} {
		if got := cleanDate(s); got != want {
			t.Errorf("date %q: got %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]string{"3": "3", "03/12": "03/12", "3/0": "3", "12/3": "12", "0": "", "A1": "", "": ""} {
		if got := cleanNumber(s); got != want {
			t.Errorf("number %q: got %q, want %q", s, got, want)
		}
	}
}
