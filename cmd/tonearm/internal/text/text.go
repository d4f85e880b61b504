// Package text writes what people read on a terminal: names from outside without
// control characters, cut to the width there is; sizes and counts.
package text

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"

	"tonearm/internal/printable"
)

// Printable returns s on one line, with what a terminal would obey as escapes such
// as \x1b: see printable.Escape.
func Printable(s string) string { return printable.Escape(s) }

// Writer writes to W what is printable. Line breaks and tabs stay.
type Writer struct{ W io.Writer }

func (w Writer) Write(p []byte) (int, error) {
	s := string(p)
	if _, err := io.WriteString(w.W, Lines(s)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Lines is Printable, but keeps line breaks and tabs.
func Lines(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexAny(s, "\n\t")
		if i < 0 {
			return b.String() + Printable(s)
		}
		b.WriteString(Printable(s[:i]))
		b.WriteByte(s[i])
		s = s[i+1:]
	}
}

// Width returns how many columns s takes on a terminal.
func Width(s string) int { return runewidth.StringWidth(s) }

// Cut returns s in at most n columns, without its middle if it is longer: the ends
// of names tell them apart.
func Cut(s string, n int) string {
	if Width(s) <= n {
		return s
	}
	if n <= 1 {
		return strings.Repeat("…", max(n, 0))
	}
	tail := (n - 1) / 2
	head := runewidth.Truncate(s, n-1-tail, "")
	return head + "…" + runewidth.TruncateLeft(s, Width(s)-tail, "")
}

// CutApart cuts each of the names to at most n columns. Names that would look the
// same when cut are cut so that their difference is seen, if there is room.
func CutApart(names []string, n int) []string {
	short := make([]string, len(names))
	groups := map[string][]int{}
	for i, name := range names {
		short[i] = Cut(name, n)
		groups[short[i]] = append(groups[short[i]], i)
	}
	const context = 2 // columns before the difference
	for cut, group := range groups {
		if len(group) < 2 || cut == names[group[0]] || n < 8 {
			continue
		}
		same := []rune(names[group[0]])
		for _, i := range group[1:] {
			same = common(same, []rune(names[i]))
		}
		head := n / 4
		for _, i := range group {
			name := []rune(names[i])
			from := max(head, min(len(same)-context, len(name)-(n-head-1)))
			window := runewidth.Truncate(string(name[min(from, len(name)):]), n-head-1, "…")
			short[i] = runewidth.Truncate(names[i], head, "") + "…" + window
		}
	}
	return short
}

// common returns what a and b begin with.
func common(a, b []rune) []rune {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[:i]
		}
	}
	return a[:min(len(a), len(b))]
}

// Fill is Cut, and blanks up to n columns.
func Fill(s string, n int) string {
	s = Cut(s, n)
	return s + strings.Repeat(" ", max(0, n-Width(s)))
}

// Bytes writes bytes as 12.3 MB.
func Bytes(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// Share writes 6.1 of 1,024 MB: a part and the whole in the same unit, so that they are
// compared at a glance. Where the part is nothing in a unit that fits the whole, each
// has its own.
func Share(part, whole int64) string {
	unit, name := 1e3, "kB"
	switch {
	case part >= 1000_000_000:
		unit, name = 1e9, "GB"
	case whole >= 1000_000:
		unit, name = 1e6, "MB"
	case whole < 1000:
		return fmt.Sprintf("%d of %d B", part, whole)
	}
	const least = 0.1 // of what one digit shows
	if float64(part) < least*unit {
		return Bytes(part) + " of " + Bytes(whole)
	}
	figure := func(n int64) string {
		if x := float64(n) / unit; x < 99.95 {
			return fmt.Sprintf("%.1f", x)
		}
		return Count(int(math.Round(float64(n) / unit)))
	}
	return fmt.Sprintf("%s of %s %s", figure(part), figure(whole), name)
}

// Count writes 12345 as 12,345.
func Count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
