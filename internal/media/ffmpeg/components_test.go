package ffmpeg

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

// TestComponents: the ffmpeg that scripts/ffmpeg builds has what Tonearm
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
