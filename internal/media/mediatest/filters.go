package mediatest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/media/ffmpeg"
)

var (
	reSeparator = regexp.MustCompile(`[^\\],`)
	reQuoted    = regexp.MustCompile(`'[^']*'`)
)

// Listed reports filters of a chain that are not among ffmpeg.Components.
func Listed(t testing.TB, chain string) {
	t.Helper()
	plain := reQuoted.ReplaceAllString(strings.ReplaceAll(chain, `\,`, ""), "")
	for _, filter := range reSeparator.Split(plain+" ", -1) {
		name, _, _ := strings.Cut(strings.TrimSpace(filter), "=")
		if !slices.Contains(ffmpeg.Components()["filter"], name) {
			t.Errorf("%q of %q is not listed", name, chain)
		}
	}
}
