package probe

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"tonearm/internal/conversion"
)

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
	m := parseMetadata(text)
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
	for i := range 1200 {
		fmt.Fprintf(&many, "[CHAPTER]\nTIMEBASE=1/1\nSTART=%d\nEND=%d\ntitle=%s\n", i, i+1, strings.Repeat("ä", 300))
	}
	m = parseMetadata(many.String())
	if len(m.Chapters) != 1000 || utf8.RuneCountInString(m.Chapters[0].Title) != 250 {
		t.Errorf("%d chapters, a title of %d characters", len(m.Chapters), utf8.RuneCountInString(m.Chapters[0].Title))
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
