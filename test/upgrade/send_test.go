package upgrade

import (
	"os"
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/test/world"
)

// TestSend converts a video with the command line of each version at the server of the
// other. The previous server knows nothing of videos that are sent as their sound: it
// gets all of them.
func TestSend(t *testing.T) {
	bin := versions(t)
	t.Parallel()
	m := newMachine(t)
	if err := mediatest.Make(t.Context(), m.dir, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=3", "-f", "lavfi", "-i", "sine=440:duration=3",
		"-c:v", "mpeg4", "-q:v", "2", "-c:a", "aac", "film.mp4"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(m.source("film.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	convert := func(cli commands, args ...string) (sound bool) {
		t.Helper()
		before := m.front.Bytes()
		id := m.result(m.cli(cli, "film.mp4", nil, append(args, "--notify", "none")...), 0)
		var cv api.Conversion
		if status, body := m.user.Do("GET", "/v1/conversions/"+id, nil, &cv); status != 200 {
			t.Fatalf("get: %d %s", status, body)
		}
		took := m.front.Bytes() - before
		if cv.State != conversion.Done || cv.Size != took || cv.Sent == nil && took != info.Size() || cv.Sent != nil && took > info.Size()/4 {
			t.Errorf("%q: the store took %d of %d bytes of %+v", args, took, info.Size(), cv)
		}
		return cv.Sent != nil
	}
	r := m.start(bin.before)
	m.join(bin.before)
	if convert(bin.after, "--title", "new to old") {
		t.Error("the previous server took only the sound")
	}
	r.end((*world.Program).Stop)
	m.start(bin.after)
	if convert(bin.before, "--title", "old to new") {
		t.Error("the previous command line sent only the sound")
	}
	if !convert(bin.after, "--title", "new to new") {
		t.Error("all of the video was sent")
	}
}
