// Package printable makes text of others harmless: what a terminal would obey,
// what begins another line, and what shows the rest in another order. Clean is for
// names that are stored, Escape for what is printed.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Control reports whether r is a control character (C0, DEL, C1) or separates
// lines or paragraphs (U+2028, U+2029). No name needs one.
func Control(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) }

// Unsafe reports whether r is a Control, or a bidirectional control (UAX 9): those
// show the text behind them in another order, "evil\u202egpj.exe" as "evilexe.jpg".
func Unsafe(r rune) bool { return Control(r) || unicode.Is(unicode.Bidi_Control, r) }

// Clean returns a name as it is stored: UTF-8, with U+FFFD for each Control and
// for bytes that are not UTF-8, and without bidirectional controls. If nothing is
// left of a name, the result is U+FFFD.
func Clean(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, Unsafe) {
		return name
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case Control(r):
			return utf8.RuneError
		case Unsafe(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	if clean == "" {
		return "\uFFFD"
	}
	return clean
}

// Escape returns s as a terminal may show it: on one line, with what Hidden reports
// and what is not UTF-8 as escapes such as \x1b.
func Escape(s string) string {
	if strings.IndexFunc(s, hiddenOrBroken) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case Hidden(r):
			b.WriteString(escape(r))
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// EscapeJSON returns a JSON text with what Hidden reports as \u escapes, which mean
// the same. Line breaks and tabs, which JSON has between its values, stay.
func EscapeJSON(json string) string {
	if strings.IndexFunc(json, Hidden) < 0 {
		return json
	}
	var b strings.Builder
	for _, r := range json {
		switch {
		case !Hidden(r), r == '\n', r == '\t':
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Hidden reports whether r may not reach a terminal: what Unsafe reports, and all
// else that has no picture. The joiners stay, which make one picture or letter of
// several, and so do other spaces than ' '.
func Hidden(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) && r != nonJoiner && r != joiner
}

func hiddenOrBroken(r rune) bool { return r == utf8.RuneError || Hidden(r) }

func escape(r rune) string { return strings.Trim(strconv.QuoteRuneToASCII(r), "'") }
