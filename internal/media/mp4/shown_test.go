package mp4_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
)

// packet is one of a video track's, as ffprobe lists them in their order.
type packet struct {
	shown  float64 // seconds
	extent mp4.Extent
	key    bool
}

func packets(t *testing.T, path string) (list []packet) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time,size,pos,flags", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var p packet
		var flags string
		if _, err := fmt.Sscanf(strings.ReplaceAll(line, ",", " "), "%f %d %d %s", &p.shown, &p.extent.Size, &p.extent.Offset, &flags); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		p.key = strings.HasPrefix(flags, "K")
		list = append(list, p)
	}
	return list
}

// end copies a file and makes its track end behind a part.
func end(t *testing.T, path string, part mp4.Part) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range part.End {
		copy(b[p.Offset:], p.Bytes)
	}
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestShown: what is shown is there from the key frame before on, and little
// more.
func TestShown(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string]string{
		"b frames.mp4": "-c:v libx264 -preset ultrafast -g 20 -bf 3", "no edit list.mp4": "-c:v libx264 -preset ultrafast -g 20 -bf 3 -use_editlist 0",
		"key frames.mov": "-c:v mjpeg", "late.mp4": "-c:v mpeg4 -g 20 -output_ts_offset 3",
	} {
		path := filepath.Join(dir, name)
		mediatest.Video(t, path, 60, 440, append(strings.Fields(args), "-c:a", "aac")...)
		_, m := read(t, path)
		all := packets(t, path)
		var video *mp4.Track
		for _, track := range m.Tracks {
			if track.Handler == "vide" {
				video = track
			}
		}
		for _, w := range []mp4.Window{{From: 0, To: 0}, {From: 30.3, To: 31.3}, {From: 59.95, To: 59.95}, {From: 70, To: 71}, {From: 15, To: 45, Keys: 4}} {
			part, err := m.Shown(video, w)
			if err != nil {
				t.Fatalf("%s, %+v: %v", name, w, err)
			}
			held := func(p packet) bool {
				for _, e := range part.Extents {
					if e.Offset <= p.extent.Offset && p.extent.End() <= e.End() {
						return true
					}
				}
				return false
			}
			ended := packets(t, end(t, path, part))
			begin, keys, more := 0, 0, 0
			for i, p := range all {
				if p.key && p.shown <= w.From {
					begin = i
				}
			}
			for i, p := range all {
				switch wanted := p.shown <= w.To && (w.Keys == 0 || p.key && keys < w.Keys); {
				case i >= begin && wanted:
					if keys++; !held(p) {
						t.Errorf("%s, %+v: the picture at %v s is missing", name, w, p.shown)
					}
				case held(p):
					more++
				}
			}
			for _, p := range ended[min(begin, len(ended)):] { // a demuxer may read all of them
				if (p.key || w.Keys == 0) && !held(p) {
					t.Errorf("%s, %+v: the track goes on to %v s, which is missing", name, w, p.shown)
				}
			}
			if len(ended) > len(all) || len(part.End) == 0 && len(ended) < len(all) {
				t.Errorf("%s, %+v: %d of %d pictures are left", name, w, len(ended), len(all))
			}
			if more > 80 { // ten pictures a second, twenty in a group
				t.Errorf("%s, %+v: %d pictures more than needed", name, w, more)
			}
		}
	}
}
