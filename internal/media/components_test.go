package media

import (
	"cmp"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// selected are parts that ffmpeg's configure adds because others need them.
var selected = map[string][]string{
	"decoder": {"vp3", "vp6"},                                                       // for theora and vp6f
	"filter":  {"abuffer", "abuffersink", "buffer", "buffersink", "crop", "rotate"}, // for the program itself
}

// listed are the lines of ffmpeg's lists, with the flags of each and its name.
var listed = map[string]*regexp.Regexp{
	"demuxer":  regexp.MustCompile(`(?m)^ [D ][E ][d ]? +(\S+)`),
	"muxer":    regexp.MustCompile(`(?m)^ [D ][E ][d ]? +(\S+)`),
	"decoder":  regexp.MustCompile(`(?m)^ [VAS][.A-Z]{5} (\w\S*)`),
	"encoder":  regexp.MustCompile(`(?m)^ [VAS][.A-Z]{5} (\w\S*)`),
	"filter":   regexp.MustCompile(`(?m)^ [.T][.S][.C] (\S+) +\S+->\S+`),
	"protocol": regexp.MustCompile(`(?m)^  (\w+)$`),
}

// TestComponents: the ffmpeg that scripts/ffmpeg builds has what this package
// uses, and nothing else.
func TestComponents(t *testing.T) {
	path := os.Getenv("TONEARM_TEST_OWN_FFMPEG")
	if path == "" {
		t.Skip("TONEARM_TEST_OWN_FFMPEG is not set: make ffmpeg")
	}
	for kind, pattern := range listed {
		out, err := exec.Command(path, "-v", "error", "-"+kind+"s").Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range pattern.FindAllSubmatch(out, -1) {
			name, _, _ := strings.Cut(string(m[1]), ",")
			name = cmp.Or(configureNames[name], name)
			if !slices.Contains(selected[kind], name) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		got = slices.Compact(got)
		if want := Components()[kind]; !slices.Equal(got, want) {
			t.Errorf("it has the %ss\n%q, want\n%q", kind, got, want)
		}
	}
}

// TestFiltersListed: every filter that this package uses is among the
// components. A chain is written with commas between filters.
func TestFiltersListed(t *testing.T) {
	trimmed := plan{start: 1, end: 2, rate: 44100, channels: 2, track: Track{SampleRate: 44100, Channels: 1}}
	surround := plan{rate: 48000, channels: 2, track: Track{SampleRate: 48000, Channels: 6}}
	held := level{gain: 1, limited: true, ceiling: -1}
	chains := []string{trimmed.filters(held, truePeaks), surround.filters(level{}, samplePeaks), pixels}
	for _, s := range append(posters(0, 30, Info{}), posters(0, 300, Info{})...) {
		chains = append(chains, s.filters)
	}
	reSeparator := regexp.MustCompile(`[^\\],`)
	reQuoted := regexp.MustCompile(`'[^']*'`)
	listed := Components()["filter"]
	for _, chain := range chains {
		plain := reQuoted.ReplaceAllString(strings.ReplaceAll(chain, `\,`, ""), "")
		for _, filter := range reSeparator.Split(plain+" ", -1) {
			name, _, _ := strings.Cut(strings.TrimSpace(filter), "=")
			if !slices.Contains(listed, name) {
				t.Errorf("%q of %q is not listed", name, chain)
			}
		}
	}
}
