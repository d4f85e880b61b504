package mediatest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/media/ffmpeg"
)

var reQuoted = regexp.MustCompile(`'[^']*'`)

// Listed reports filters of a chain that are not among ffmpeg.Components.
func Listed(t testing.TB, chain string) {
	t.Helper()
	plain := reQuoted.ReplaceAllString(strings.ReplaceAll(chain, `\,`, ""), "")
	for filter := range strings.SplitSeq(plain, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(filter), "=")
		if !slices.Contains(ffmpeg.Components()["filter"], name) {
			t.Errorf("%q of %q is not listed", name, chain)
		}
	}
}
