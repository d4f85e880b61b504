package ebml_test

import (
	"bytes"
	"io"
	"math"
	"testing"

	"tonearm/internal/media/ebml"
)

// TestValues: an element's value as a number and as a text, which ends before a zero byte.
func TestValues(t *testing.T) {
	for _, tt := range []struct {
		element string
		uint    uint64
		float   float64
		text    string
	}{
		{"\x86\x85A_AC3", 0x415f414333, 0, "A_AC3"},
		{"\x86\x88A_AC3\x00\x00\x00", 0x415f414333000000, math.Float64frombits(0x415f414333000000), "A_AC3"},
		{"\x44\x89\x84\x42\xf6\xe9\x79", 0x42f6e979, float64(float32(123.456)), "B\xf6\xe9y"},
		{"\xd7\x81\x02", 2, 0, "\x02"},
		{"\xd7\x80", 0, 0, ""},
		{"\xd7\x82\x02", 0, 0, ""}, // it ends behind the file
	} {
		r := bytes.NewReader([]byte(tt.element))
		e, ok := ebml.Read(r, 0, r.Size())
		if !ok || e.Uint(r) != tt.uint || e.Text(r) != tt.text {
			t.Errorf("%x: %+v, %v, %#x, %q", tt.element, e, ok, e.Uint(r), e.Text(r))
		}
		if got := e.Float(r); got != tt.float {
			t.Errorf("%x: %v, want %v", tt.element, got, tt.float)
		}
	}
}

// TestLongText: a text of any length, up to some bytes.
func TestLongText(t *testing.T) {
	b := append([]byte("\x85\x40\x64"), bytes.Repeat([]byte("a"), 100)...)
	r := bytes.NewReader(b)
	e, _ := ebml.Read(r, 0, r.Size())
	if e.Text(r) != "" || len(e.LongText(r, 1000)) != 100 || len(e.LongText(r, 50)) != 50 {
		t.Errorf("%q, %q", e.Text(r), e.LongText(r, 50))
	}
}

// TestRead: heads of elements, and what is none.
func TestRead(t *testing.T) {
	for head, want := range map[string]ebml.Element{
		"\xec\x81":                     {ID: 0xec, Body: 2, Size: 1},
		"\x1f\x43\xb6\x75\xff":         {ID: ebml.Cluster, Body: 5, Size: -1},
		"\x1f\x43\xb6\x75\x40\x02":     {ID: ebml.Cluster, Body: 6, Size: 2},
		"\x18\x53\x80\x67\x01\xff\xff": {},
		"\x00\x81":                     {},
		"\x08\x00\x00\x00\x00\x81":     {}, // an id of five bytes
		"\xec":                         {},
		"":                             {},
	} {
		r := bytes.NewReader([]byte(head))
		e, ok := ebml.Read(r, 0, r.Size())
		if ok != (want.ID != 0) || ok && e != want {
			t.Errorf("%x: %+v, %v", head, e, ok)
		}
	}
	if end := (ebml.Element{Body: 5, Size: -1}).End(); end != math.MaxInt64 {
		t.Errorf("an element of unknown size ends at %d", end)
	}
	if end := (ebml.Element{Body: 5, Size: math.MaxInt64 - 1}).End(); end != math.MaxInt64 {
		t.Errorf("an element of a huge size ends at %d", end)
	}
}

// TestTrackEntry: what a track is where its entry does not say.
func TestTrackEntry(t *testing.T) {
	for content, want := range map[string]struct {
		audio, standard bool
		language        string
	}{
		"":                                    {false, true, "eng"},
		"\x83\x81\x02\x88\x81\x01":            {true, true, "eng"},
		"\x83\x81\x01\x88\x81\x00":            {false, false, "eng"},
		"\x83\x81\x02\x22\xb5\x9c\x84ger\x00": {true, true, "ger"},
		"\x22\xb5\x9c\x80":                    {false, true, ""},
	} {
		r := bytes.NewReader(append([]byte{0xae, 0x80 | byte(len(content))}, content...))
		e, _ := ebml.Read(r, 0, r.Size())
		if e.IsAudio(r) != want.audio || e.IsDefault(r) != want.standard || e.Language(r) != want.language {
			t.Errorf("%x: %v, %v, %q", content, e.IsAudio(r), e.IsDefault(r), e.Language(r))
		}
	}
}

// TestElements: those of one level, up to the first that is broken.
func TestElements(t *testing.T) {
	b := []byte("\xec\x81.\xbf\x80\xec\x82..\xa3\x85cut")
	var ids []uint32
	for e := range ebml.Elements(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), 0, int64(len(b))) {
		ids = append(ids, e.ID)
	}
	if len(ids) != 3 || ids[0] != 0xec || ids[1] != 0xbf || ids[2] != 0xec {
		t.Errorf("%x", ids)
	}
	n := 0
	for range ebml.Some(bytes.NewReader(b), 0, int64(len(b)), 2) {
		n++
	}
	if n != 2 {
		t.Errorf("%d elements of two", n)
	}
}
