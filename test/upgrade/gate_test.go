package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/media/mediatest"
)

// gate stops attempts in the middle, until they are ended. Programs run it in
// place of ffmpeg.
type gate struct {
	t      *testing.T
	dir    string
	ffmpeg string // value for TONEARM_FFMPEG
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{t: t, dir: t.TempDir()}
	g.ffmpeg = filepath.Join(g.dir, "ffmpeg")
	// An attempt that takes a ticket waits for ever.
	script := fmt.Sprintf(`#!/bin/sh
for ticket in '%[1]s'/ticket-*; do
	if rm "$ticket" 2>/dev/null; then exec sleep 3600; fi
done
exec '%[2]s' "$@"
`, g.dir, mediatest.FFmpeg(t))
	if err := os.WriteFile(g.ffmpeg, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return g
}

// catch keeps the next n attempts as soon as they run ffmpeg.
func (g *gate) catch(n int) {
	g.t.Helper()
	for i := range n {
		if err := os.WriteFile(filepath.Join(g.dir, fmt.Sprintf("ticket-%d", i)), nil, 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
}

// caught reports whether all of these attempts have been stopped.
func (g *gate) caught() bool {
	left, _ := filepath.Glob(filepath.Join(g.dir, "ticket-*"))
	return len(left) == 0
}
