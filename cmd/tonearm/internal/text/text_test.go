package text

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"plain ä 日本 👨‍👩‍👧": "plain ä 日本 👨‍👩‍👧", "narrow\u202fspace": "narrow\u202fspace",
		"\x1b[2Jgone": `\x1b[2Jgone`, "a\r\nb\tc": `a\r\nb\tc`, "bell\a": `bell\a`, "del\x7f": `del\x7f`,
		"\u009b31m": `\u009b31m`, "evil\u202e4pm.exe": `evil\u202e4pm.exe`, "caf\xe9.mp4": `caf\xe9.mp4`, "\ufffd": "\ufffd",
	} {
		if got := Printable(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
	var out strings.Builder
	if n, err := (Writer{&out}).Write([]byte("a\x1b[31m\tb\n\xff\n")); n != 11 || err != nil || out.String() != "a\\x1b[31m\tb\n\\xff\n" {
		t.Errorf("got %q, %d, %v", out.String(), n, err)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{
		{"short.mp4", 9, "short.mp4"}, {"a long name, part 12.mp4", 13, "a long…12.mp4"},
		{"日本語日本語.mp4", 9, "日本….mp4"}, {"abc", 2, "a…"}, {"abc", 1, "…"}, {"abc", 0, ""},
	} {
		got := Cut(tt.s, tt.n)
		if Width(got) > tt.n || got != tt.want {
			t.Errorf("%s to %d: got %q of %d columns, want %q", tt.s, tt.n, got, Width(got), tt.want)
		}
	}
	if got := Fill("ab", 4); got != "ab  " {
		t.Errorf("got %q", got)
	}
}

func TestCutApart(t *testing.T) {
	var names []string
	for _, i := range []string{"0900", "1000", "0701"} {
		names = append(names, "Lectures of the winter term, part "+i+" of 5000.mp4")
	}
	names = append(names, "short.mp4", "short.mp4", "日本語の講義、第一部、その壱、日本語の講義.mp4", "日本語の講義、第一部、その弐、日本語の講義.mp4")
	for n := 16; n < 60; n++ {
		cut := CutApart(names, n)
		seen := map[string]string{}
		for i, got := range cut {
			if Width(got) > n {
				t.Errorf("%d columns for %q", Width(got), got)
			}
			if other, ok := seen[got]; ok && other != names[i] {
				t.Errorf("to %d: %q is %q and %q", n, got, other, names[i])
			}
			seen[got] = names[i]
		}
	}
	if got, want := CutApart(names, 22)[0], "Lectu…t 0900 of 5000.…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 12_345_678: "12.3 MB", 6_000_000_000: "6.0 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := Count(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	for want, tt := range map[string][2]int64{
		"6.1 of 1,024 MB":    {6_100_000, 1_024_000_000},
		"0.3 of 5.2 MB":      {300_000, 5_200_000},
		"12.0 kB of 1.0 GB":  {12_000, 1_024_000_000},
		"1.5 of 20.0 GB":     {1_500_000_000, 20_000_000_000},
		"900 of 50,000 MB":   {900_000_000, 50_000_000_000},
		"99.9 of 100 kB":     {99_900, 99_999},
		"5 of 18 B":          {5, 18},
		"20 B of 900.0 kB":   {20, 900_000},
		"100.0 kB of 1.0 MB": {99_999, 1_000_000},
	} {
		if got := Share(tt[0], tt[1]); got != want {
			t.Errorf("%d of %d: got %q, want %q", tt[0], tt[1], got, want)
		}
	}
}
