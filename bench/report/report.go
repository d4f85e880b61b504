// Package report makes the page about Tonearm's performance. It uses nothing
// but the file of figures.
package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"tonearm/bench/results"
)

// Write writes performance.md and performance.svg into a folder, from the
// figures of a file.
func Write(figures, folder string) error {
	all, err := results.Read(figures)
	if err != nil {
		return err
	}
	page, err := render(all)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"performance.md": page, "performance.svg": draw(races(all))} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil { //nolint:gosec // pages are for everybody
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

//go:embed performance.md.tmpl
var text string

// page is what the template shows.
type page struct {
	All    map[string]results.Figure
	Races  []race
	Missed []misses
	Once   []race // that were lost once
}

// race compares one way from a store to an MP3 with the better of its peers.
type race struct {
	results.Figure
	Link, Video string // in words
	Once        string // how many times faster it was when it was first lost; '' if it was not
	Missed      bool   // its goal
	kind        reason
}

// misses is a reason to miss a goal, with the races where it was seen.
type misses struct {
	Reason reason
	Races  []race
}

// reason is why a race can miss its goal. Its words are in the template.
type reason string

// The reasons; the first that applies is given.
const (
	noIndex    reason = "no index" // of the audio in the container
	noWire     reason = "no wire"  // reading costs nothing
	lowRate    reason = "low rate" // most of the file is worth reading
	unexpected reason = "unexpected"
)

func render(all map[string]results.Figure) ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{"spread": spread, "number": number, "has": has(all), "goal": goal(all), "times": func(x, y float64) float64 { return x * y }}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	p := page{All: all, Races: races(all)}
	for _, why := range []reason{noIndex, noWire, lowRate, unexpected} {
		missed := slices.DeleteFunc(slices.Clone(p.Races), func(r race) bool { return r.kind != why || !r.Missed })
		if len(missed) > 0 {
			p.Missed = append(p.Missed, misses{why, missed})
		}
	}
	p.Once = slices.DeleteFunc(slices.Clone(p.Races), func(r race) bool { return r.Once == "" })
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Bytes(), nil
}

// linkNames and videoNames translate parts of names into words, in the order of
// the page.
var (
	linkNames  = [][2]string{{"loopback", "same machine"}, {"1g", "1 Gbit/s, 1 ms"}, {"200m", "200 Mbit/s, 10 ms"}}
	videoNames = [][2]string{
		{"2m_cam", "MP4, 2 Mbit/s, camera"}, {"2m_default", "MP4, 2 Mbit/s, ffmpeg"},
		{"20m_cam", "MP4, 20 Mbit/s, camera"}, {"20m_default", "MP4, 20 Mbit/s, ffmpeg"},
		{"50m_cam", "MP4, 50 Mbit/s, camera"}, {"50m_default", "MP4, 50 Mbit/s, ffmpeg"},
		{"8m_webm", "WebM, 8 Mbit/s"}, {"20m_ts", "MPEG-TS, 20 Mbit/s"},
	}
)

// once are the races that were lost before Tonearm had an ffmpeg of its own,
// with how many times faster they were than ffmpeg -i URL: the smallest and the
// largest of two machines.
var once = map[string]string{
	"source.1g_20m_default": "0.94 to 0.96", "source.1g_8m_webm": "0.95 to 0.96", "source.1g_20m_ts": "0.99 to 1.00",
	"source.200m_2m_cam": "0.97", "source.200m_2m_default": "0.91 to 0.92",
}

// races returns the races that were measured.
func races(all map[string]results.Figure) (races []race) {
	for _, l := range linkNames {
		for _, v := range videoNames {
			name := "source." + l[0] + "_" + v[0]
			f, ok := all[name]
			if !ok || f.Peer == nil || f.Ratio == nil {
				continue
			}
			met, _ := f.Goal(name)
			r := race{Figure: f, Link: l[1], Video: v[1], Once: once[name], Missed: !met, kind: unexpected}
			switch {
			case !strings.HasPrefix(r.Video, "MP4"):
				r.kind = noIndex
			case l[0] == "loopback":
				r.kind = noWire
			case strings.HasPrefix(v[0], "2m") || strings.Contains(f.Note, "(dense)"):
				r.kind = lowRate
			}
			races = append(races, r)
		}
	}
	return races
}

// has returns a function for the template, which says whether all of these
// figures exist.
func has(all map[string]results.Figure) func(...string) bool {
	return func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { _, ok := all[name]; return !ok })
	}
}

// goal returns a function for the template, which says whether a figure meets
// its goal.
func goal(all map[string]results.Figure) func(string) string {
	return func(name string) string {
		if met, _ := all[name].Goal(name); met {
			return "met"
		}
		return "**missed**"
	}
}

// spread writes a value with its spread: 1.2 s (1.1 to 1.4). who is ours, peer,
// or a name in More.
func spread(f results.Figure, who string) string {
	value, ok := f.More[who]
	switch {
	case who == "ours":
		value = f.Ours
	case who == "peer":
		value = *f.Peer
	case !ok: // measured by an earlier version
		return "–"
	}
	s := strings.TrimSpace(number(value) + " " + f.Unit)
	if r, ok := f.Spread[who]; ok && r[0] != r[1] {
		s += fmt.Sprintf(" (%s to %s)", number(r[0]), number(r[1]))
	}
	return s
}

// number writes three digits, or more if there are more before the point.
func number(x float64) string {
	if x == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(x)))))
	return fmt.Sprintf("%.*f", digits, x)
}
