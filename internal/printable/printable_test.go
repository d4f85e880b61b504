package printable

import (
	"encoding/json"
	"testing"
	"unicode"
	"unicode/utf8"
)

// unsafe are characters of each kind that a name could do harm with.
var unsafe = []rune{
	0, '\a', '\b', '\t', '\n', '\r', 0x1b, 0x1f, // C0
	0x7f, 0x80, 0x85, 0x9b, 0x9f, // DEL, C1
	0x2028, 0x2029, // line, paragraph
	0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, // bidirectional
}

func TestUnsafe(t *testing.T) {
	for _, r := range unsafe {
		if !Unsafe(r) || !Hidden(r) {
			t.Errorf("%U: unsafe %t, hidden %t", r, Unsafe(r), Hidden(r))
		}
		name := "a" + string(r) + "b.mp4"
		for _, got := range []string{Clean(name), Escape(name)} {
			for _, r := range got {
				if Unsafe(r) {
					t.Errorf("%q became %q", name, got)
				}
			}
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		safe := EscapeJSON(string(quoted))
		var back string
		if err := json.Unmarshal([]byte(safe), &back); err != nil || back != name {
			t.Errorf("%s means %q, %v; want %q", safe, back, err, name)
		}
		for _, r := range safe {
			if Unsafe(r) {
				t.Errorf("%q became %q", quoted, safe)
			}
		}
	}
	for _, r := range "aé日🎬 \u00a0\u200c\u200d\ufe0f" {
		if Unsafe(r) || Hidden(r) {
			t.Errorf("%U: unsafe %t, hidden %t", r, Unsafe(r), Hidden(r))
		}
	}
}

func TestClean(t *testing.T) {
	for name, want := range map[string]string{
		"talk.mp4": "talk.mp4", "été 日本 🎬.mp4": "été 日本 🎬.mp4", "": "",
		"a\x1b[2J\nb.mp4":       "a\uFFFD[2J\uFFFDb.mp4",
		"a\u009b31m\u2028b":     "a\uFFFD31m\uFFFDb",
		"evil\u202egpj.exe":     "evilgpj.exe",
		"\u05e9\u200f.mp4":      "\u05e9.mp4", // a mark that such names may have
		"caf\xe9.mp4":           "caf\uFFFD.mp4",
		"\u202e":                "\uFFFD",
		"👨\u200d👩\u200d👧 1.mp4": "👨\u200d👩\u200d👧 1.mp4",
	} {
		if got := Clean(name); got != want || Clean(got) != got {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	for s, want := range map[string]string{
		"plain ü 日本.mp4": "plain ü 日本.mp4", "caf\xe9.mp4": `caf\xe9.mp4`, "\ufffd": "\ufffd",
		"x\x1b[2J\nID": `x\x1b[2J\nID`, "\U000e0001": `\U000e0001`, "\u2028": `\u2028`,
	} {
		if got := Escape(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b\n\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Clean(s), Escape(s)} {
			for _, r := range got {
				if Unsafe(r) || unicode.IsControl(r) {
					t.Errorf("%q became %q", s, got)
				}
			}
			if !utf8.ValidString(got) || (s == "") != (got == "") {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}
