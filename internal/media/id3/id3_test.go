package id3_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dhowden/tag"

	"tonearm/internal/media/id3"
)

// frame is one frame of a tag, as a walk that knows nothing of package id3
// finds it.
type frame struct {
	id   string
	body []byte
}

func walk(t *testing.T, b []byte) []frame {
	t.Helper()
	if len(b) < 10 || string(b[:6]) != "ID3\x04\x00\x00" || number(t, b[6:10]) != len(b)-10 {
		t.Fatalf("no header of a tag of %d bytes: %q", len(b), b[:min(10, len(b))])
	}
	return frames(t, b[10:])
}

func frames(t *testing.T, b []byte) []frame {
	t.Helper()
	var all []frame
	for len(b) > 0 {
		n := number(t, b[4:8])
		if b[8] != 0 || b[9] != 0 {
			t.Fatalf("frame %q has flags", b[:4])
		}
		all = append(all, frame{string(b[:4]), b[10 : 10+n]})
		b = b[10+n:]
	}
	return all
}

func number(t *testing.T, b []byte) int {
	t.Helper()
	n := 0
	for _, c := range b[:4] {
		if c > 127 {
			t.Fatalf("size % x is not of seven bits a byte", b[:4])
		}
		n = n<<7 | int(c)
	}
	return n
}

func encode(t *testing.T, tag id3.Tag) []byte {
	t.Helper()
	b, err := tag.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadBackByAnotherLibrary(t *testing.T) {
	picture := bytes.Repeat([]byte("\xff\xd8\xff\xe0\x00picture"), 30_000)
	b := encode(t, id3.Tag{
		Title: "Tïtle 日本 🎬", Artist: "Artist", Album: strings.Repeat("long ", 60), Date: "2026-11-23", Genre: "Jazz",
		Comment: "two\nlines", Track: "3/12", JPEG: picture,
		Chapters: []id3.Chapter{{0, time.Second, "one"}, {time.Second, 90 * time.Second, ""}},
	})
	m, err := tag.ReadFrom(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	n, total := m.Track()
	got := []any{m.Format(), m.Title(), m.Artist(), m.Album(), m.Genre(), m.Raw()["TDRC"], m.Comment(), n, total}
	want := []any{tag.ID3v2_4, "Tïtle 日本 🎬", "Artist", strings.Repeat("long ", 60), "Jazz", "2026-11-23", "two\nlines", 3, 12}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if p := m.Picture(); p == nil || p.MIMEType != "image/jpeg" || p.Type != "Cover (front)" || !bytes.Equal(p.Data, picture) {
		t.Error("not the picture")
	}
	if got, want := m.Raw()["CTOC"], "toc\x00\x03\x02ch0\x00ch1\x00"; string(got.([]byte)) != want {
		t.Errorf("table of contents %q, want %q", got, want)
	}
	none := "\xff\xff\xff\xff\xff\xff\xff\xff"
	if got, want := m.Raw()["CHAP"], "ch0\x00\x00\x00\x00\x00\x00\x00\x03\xe8"+none+"TIT2\x00\x00\x00\x04\x00\x00\x03one"; string(got.([]byte)) != want {
		t.Errorf("first chapter %q, want %q", got, want)
	}
	if got, want := m.Raw()["CHAP_0"], "ch1\x00\x00\x00\x03\xe8\x00\x01\x5f\x90"+none; string(got.([]byte)) != want {
		t.Errorf("second chapter %q, want %q", got, want)
	}
	if again := encode(t, id3.Tag{Title: "x", JPEG: picture}); !bytes.Equal(again, encode(t, id3.Tag{Title: "x", JPEG: picture})) {
		t.Error("not the same bytes twice")
	}
}

func TestOnlyWhatIsGiven(t *testing.T) {
	if b := encode(t, id3.Tag{}); b != nil {
		t.Errorf("an empty tag is %q", b)
	}
	got := walk(t, encode(t, id3.Tag{Artist: "A\x00B", Comment: "bad\xff"}))
	want := []frame{{"TPE1", []byte("\x03A B")}, {"COMM", []byte("\x03XXX\x00bad\uFFFD")}}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTablesOfContents: no table lists more than 255 elements, and all
// chapters are reached from the top in their order.
func TestTablesOfContents(t *testing.T) {
	for _, n := range []int{1, 255, 256, 1000} {
		chapters := make([]id3.Chapter, n)
		for i := range chapters {
			chapters[i] = id3.Chapter{Start: time.Duration(i) * time.Second, End: time.Duration(i+1) * time.Second, Title: fmt.Sprint(i)}
		}
		tables, starts := map[string][]string{}, map[string]uint32{}
		tops := 0
		for _, f := range walk(t, encode(t, id3.Tag{Chapters: chapters})) {
			id, rest, _ := strings.Cut(string(f.body), "\x00")
			switch f.id {
			case "CTOC":
				if rest[0]&2 != 0 {
					tops++
				}
				elements := strings.Split(strings.TrimSuffix(rest[2:], "\x00"), "\x00")
				if rest[0]&1 == 0 || int(rest[1]) != len(elements) {
					t.Errorf("%d chapters: table %q counts %d elements, has %d", n, id, rest[1], len(elements))
				}
				tables[id] = elements
			case "CHAP":
				starts[id] = binary.BigEndian.Uint32([]byte(rest))
			}
		}
		var reached []uint32
		var follow func(id string)
		follow = func(id string) {
			for _, e := range tables[id] {
				if start, ok := starts[e]; ok {
					reached = append(reached, start)
				}
				follow(e)
			}
		}
		follow("toc")
		if tops != 1 || len(reached) != n || !slices.IsSorted(reached) {
			t.Errorf("%d chapters: %d tables at the top, %d chapters reached", n, tops, len(reached))
		}
	}
}

func TestTooLarge(t *testing.T) {
	for name, chapters := range map[string][]id3.Chapter{
		"too many": make([]id3.Chapter, 255*255+1),
		"too late": {{Start: 0, End: 50 * 24 * time.Hour}},
		"negative": {{Start: -time.Second, End: 0}},
	} {
		if _, err := (id3.Tag{Chapters: chapters}).Bytes(); !errors.Is(err, id3.ErrTooLarge) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestLongChapterTitle: the size of a title's frame is the same as a plain number
// and with seven bits in a byte.
func TestLongChapterTitle(t *testing.T) {
	for _, title := range []string{strings.Repeat("x", 126), strings.Repeat("x", 127), strings.Repeat("ü", 100), strings.Repeat("日", 42), "x" + strings.Repeat("日", 100)} {
		b, err := id3.Tag{Chapters: []id3.Chapter{{End: time.Second, Title: title}}}.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.Index(b, []byte("TIT2"))
		size := int(binary.BigEndian.Uint32(b[i+4:]))
		got := string(b[i+11 : i+10+size])
		whole := len(title) <= 126
		if size > 127 || !utf8.ValidString(got) || whole && got != title || !whole && (len(got) < 120 || !strings.HasSuffix(got, "…")) {
			t.Errorf("%q became %q", title, got)
		}
	}
}
