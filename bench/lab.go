package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tonearm/bench/input"
	"tonearm/bench/link"
	"tonearm/bench/results"
	"tonearm/test/server"
)

// lab is what measurements work with. The store and the places are opened at
// their first use.
type lab struct {
	options
	inputs  input.Folder
	scratch string // a folder that is removed at the end
	ffmpeg  string // path of Tonearm's own

	opened  *store
	network *link.Namespace // of the store
	places  map[string]*place

	encoders map[string]float64 // seconds that the encoder alone takes, by path of the video
}

// ffmpegVariable names the ffmpeg that Tonearm's programs use.
const ffmpegVariable = "TONEARM_FFMPEG"

// ownFFmpeg returns the path of the ffmpeg that Tonearm's programs are measured
// with: that of the images, unless the environment names another one.
func ownFFmpeg() (string, error) {
	path, err := filepath.Abs(cmp.Or(os.Getenv(ffmpegVariable), "bin/ffmpeg"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil { //nolint:gosec // of the one who measures
		return "", fmt.Errorf("no ffmpeg for Tonearm (make ffmpeg makes it): %w", err)
	}
	return path, os.Setenv(ffmpegVariable, path)
}

// place is where clients run, and how they reach the store.
type place struct {
	client *link.Namespace
	host   string // the store's address, as seen from here
	link   *link.Link
}

// links are the places behind a link, by name.
var links = map[string]struct {
	number  int
	profile link.Profile
}{
	"1g":   {1, link.Profile{Rate: 1e9, RTT: time.Millisecond}},
	"200m": {2, link.Profile{Rate: 200e6, RTT: 10 * time.Millisecond}},
	"20m":  {3, link.Profile{Rate: 20e6, RTT: 20 * time.Millisecond}},
	"100m": {4, link.Profile{Rate: 100e6, RTT: 10 * time.Millisecond}},
}

func openLab(o options) (*lab, error) {
	cache, err := server.Cache()
	if err != nil {
		return nil, err
	}
	inputs, err := input.Open(cache)
	if err != nil {
		return nil, err
	}
	own, err := ownFFmpeg()
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "tonearm-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, inputs: inputs, scratch: scratch, ffmpeg: own, places: map[string]*place{}, encoders: map[string]float64{}}
	if l.network, err = link.NewNamespace(); err != nil && !errors.Is(err, link.ErrUnsupported) {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// close takes down what was opened.
func (l *lab) close() error {
	var errs []error
	for _, p := range l.places {
		if p.link != nil {
			errs = append(errs, p.link.Close(), p.client.Close())
		}
	}
	if l.opened != nil {
		errs = append(errs, l.opened.close())
	}
	return errors.Join(append(errs, l.network.Close(), os.RemoveAll(l.scratch))...)
}

// store returns the object store.
func (l *lab) store(ctx context.Context) (_ *store, err error) {
	if l.opened == nil {
		l.opened, err = startStore(ctx, l.network, l.scratch)
	}
	return l.opened, err
}

// place returns the place with this name: loopback, or one behind a link.
func (l *lab) place(name string) (*place, error) {
	if p := l.places[name]; p != nil {
		return p, nil
	}
	p := &place{client: l.network, host: "127.0.0.1"}
	if kind, ok := links[name]; ok {
		if l.network == nil {
			return nil, link.ErrUnsupported
		}
		var err error
		if p.client, err = link.NewNamespace(); err != nil {
			return nil, err
		}
		if p.link, err = link.Open(p.client, l.network, kind.number, kind.profile); err != nil {
			return nil, errors.Join(err, p.client.Close())
		}
		p.host = p.link.B.String()
	}
	l.places[name] = p
	return p, nil
}

// seconds returns the length of a video that should have n seconds.
func (l *lab) seconds(n int) int { return max(n/l.shorten, 10) }

// machine describes the machine.
func machine(ctx context.Context, l *lab) (results.Figure, error) {
	first := func(name string, args ...string) string {
		out, _ := exec.CommandContext(ctx, name, args...).Output()
		line, _, _ := strings.Cut(string(out), "\n")
		return line
	}
	version := func(ffmpeg string) string {
		if words := strings.Fields(first(ffmpeg, "-version")); len(words) > 2 {
			return words[2]
		}
		return ""
	}
	f := results.Plain(float64(runtime.NumCPU()), "cores")
	f.Note = fmt.Sprintf("%s, Linux %s, ffmpeg %s, Tonearm's own %s, %s",
		cmp.Or(processor(), runtime.GOARCH), first("uname", "-r"), version("ffmpeg"), version(l.ffmpeg), runtime.Version())
	return f, nil
}

// processor returns the name of the processor's model, empty if it is unknown.
func processor() string {
	content, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(content)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// speed returns the Mbit/s that one plain download of some bytes reaches.
func (p *place) speed(ctx context.Context, url string, bytes int64) (float64, error) {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, "curl", "-fsS", "-o", os.DevNull, "-r", fmt.Sprintf("0-%d", bytes-1), "-w", "%{speed_download}", url)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := p.client.Start(cmd); err != nil {
		return 0, err
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("download: %w", err)
	}
	speed, err := strconv.ParseFloat(out.String(), 64)
	return speed * 8 / 1e6, err
}
