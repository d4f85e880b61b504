package media_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
)

var one = flag.String("case", "", "the `name` of the only case that TestMedia tries, on every way")

// wholeCorpus says whether all of it is tried, as make media-test does.
func wholeCorpus() bool { return os.Getenv("TONEARM_TEST_MEDIA") != "" }

// quick are the cases that plain go test tries, from a file.
var quick = []string{
	"fmp4-cut-in-mdat.mp4", "mvhd-unknown.mp4", "encrypted-pictures.mp4", "iphone-spatial.mov", "chapter-track-sbtl.mov", "chpl-version-0.m4b",
	"long-subtitle.mp4", "tracks-last.mkv", "recorder-killed.mkv", "ogg-midstream.ogg", "ts-latm.ts", "wav-ffffffff.wav", "wav-odd-data.wav", "joined.mp3",
	"gapless.m4a", "downmix 5.1 [0 1 2 4 5] to 2.wav", "rate 88200.wav", "late.mp4", "copied q.mkv", "texts.mov",
	"aax.aax", "unknown-ac-4.mp4", "unknown-apac.mp4", "unknown-iamf.mp4", "unknown-mhm1.mp4",
}

// chosen says whether a case is tried.
func chosen(name string) bool {
	if *one != "" {
		return name == *one
	}
	return wholeCorpus() || slices.Contains(quick, name)
}

// TestMedia converts every input of the corpus on every way and judges what is
// heard. Without TONEARM_TEST_MEDIA it tries the quick cases from a file.
func TestMedia(t *testing.T) {
	table := &verdicts{}
	cases := mediatest.Cases()
	for _, c := range cases {
		table.unusual = append(table.unusual, c.Name)
	}
	cases = slices.Concat(cases, mediatest.OptionCases())
	if wholeCorpus() && *one == "" {
		var asked atomic.Int32
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		cases = slices.Concat(cases, mediatest.SampleCases(t, elsewhere.URL+"/secret.ts"), mediatest.MovieCases(t))
		t.Cleanup(func() {
			elsewhere.Close()
			if n := asked.Load(); n != 0 {
				t.Errorf("ffmpeg went elsewhere %d times", n)
			}
			table.finish(t)
			if len(table.rows) == len(cases) { // not only some of them, by -run
				table.document(t)
			}
		})
	}
	seen := map[string]bool{}
	defer func() {
		for _, name := range quick {
			if !seen[name] {
				t.Errorf("no case has the name %s", name)
			}
		}
	}()
	for _, c := range cases {
		if seen[c.Name] || len(c.From) == 0 || c.About == "" {
			t.Errorf("%s: the name is taken, or nothing says what it is and why that is right", c.Name)
		}
		seen[c.Name] = true
		if !chosen(c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			try(t, c, table)
		})
	}
}

// try makes the input and converts it with all options that the case names.
func try(t *testing.T, c mediatest.Case, table *verdicts) {
	path := filepath.Join(t.TempDir(), c.Name)
	c.Make(t, path, &c.Want)
	row := row{Case: c}
	if told, err := mediatest.Tell(t.Context(), path); err == nil {
		row.container, row.codec = told.Container, told.Codec
	}
	// No name tells Tonearm what is in the file.
	unnamed := filepath.Join(t.TempDir(), "source")
	if err := os.Rename(path, unnamed); err != nil {
		t.Fatal(err)
	}
	for i, try := range c.AllTries() {
		var first *mediatest.Result
		for _, way := range ways {
			if !wholeCorpus() && *one == "" && way.name != "file" {
				break
			}
			r := way.convert(t)(t.Context(), unnamed, c.Name, try.Options)
			var faults []string
			if first == nil {
				faults = try.Want.Judge(t, r)
				first = &r
			} else if faults = differs(*first, r); len(faults) > 0 {
				faults = append(faults, try.Want.Judge(t, r)...)
			}
			row.conversions++
			if r.Code != "" && i == 0 {
				row.code = r.Code
			}
			for _, f := range faults {
				f = fmt.Sprintf("%s%s: %s", way.name, named(try.Options), f)
				row.faults = append(row.faults, f)
				t.Error(f)
			}
		}
	}
	table.add(row)
}

// differs compares two results of one source and the same options: the MP3s must
// be the same byte for byte, and the records must say the same.
func differs(a, b mediatest.Result) []string {
	switch {
	case a.Err != nil || b.Err != nil:
		if b.Err != nil {
			return []string{"neither an MP3 nor a refusal: " + b.Err.Error()}
		}
		return nil
	case a.Code != b.Code || a.Message != b.Message:
		return []string{fmt.Sprintf("the outcome is %q (%s), that of the file %q (%s)", b.Code, b.Message, a.Code, a.Message)}
	case a.Code != "":
		return nil
	}
	var faults []string
	x, errA := os.ReadFile(a.Path)
	y, errB := os.ReadFile(b.Path)
	if errA != nil || errB != nil || !bytes.Equal(x, y) {
		faults = append(faults, "the MP3 is not that of the file")
	}
	known := func(r mediatest.Result) string {
		return fmt.Sprintf("length_checked %v, source's duration %.3f s, notes %v", r.MP3.LengthChecked, r.Source.Duration, r.MP3.Notes)
	}
	if known(a) != known(b) {
		faults = append(faults, fmt.Sprintf("the record says %s, that of the file %s", known(b), known(a)))
	}
	return faults
}

func named(o conversion.Options) string {
	b, err := json.Marshal(o)
	if err != nil || string(b) == "{}" {
		return ""
	}
	return " " + string(b)
}

// row is what became of one input.
type row struct {
	mediatest.Case
	container, codec string          // as ffprobe names them, '' where it finds none
	code             conversion.Code // of the refusal
	unusual          bool
	faults           []string
	conversions      int
}

func (r row) verdict() string {
	switch {
	case len(r.faults) > 0:
		return "wrong"
	case r.code != "":
		return "refused rightly"
	}
	return "right"
}

// verdicts collects rows.
type verdicts struct {
	unusual []string // names of the cases that the documentation lists one by one

	mu   sync.Mutex
	rows []row
}

func (v *verdicts) add(r row) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r.unusual = slices.Contains(v.unusual, r.Name)
	v.rows = append(v.rows, r)
}

// finish prints the table.
func (v *verdicts) finish(t *testing.T) {
	slices.SortFunc(v.rows, func(a, b row) int { return strings.Compare(a.Name, b.Name) })
	count, conversions := map[string]int{}, 0
	var b strings.Builder
	for _, r := range v.rows {
		count[r.verdict()]++
		conversions += r.conversions
		fmt.Fprintf(&b, "%-15s %-34s %s\n", r.verdict(), r.Name, strings.ReplaceAll(strings.Join(r.faults, "\n"+strings.Repeat(" ", 51)), "\n\n", "\n"))
	}
	fmt.Printf("\n%s\n%d inputs, %d conversions: %d right, %d refused rightly, %d wrong\n",
		b.String(), len(v.rows), conversions, count["right"], count["refused rightly"], count["wrong"])
}
