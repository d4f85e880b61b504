package media_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tonearm/internal/media"
	"tonearm/internal/media/ffmpeg"
)

// TestMain lets the test binary stand in for a transcoder that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("MEDIA_TEST_FFMPEG"); path != "" {
		in, err := media.Open(ffmpeg.Program{Path: path, ExtraFiles: []*os.File{os.NewFile(3, "inherited")}}, os.Args[0])
		if err == nil {
			_, err = in.Probe(context.Background())
		}
		panic(err) // not reached: the fake never ends
	}
	os.Exit(m.Run())
}

// TestDiesWithItsParent kills the process that runs ffmpeg and waits until
// nobody holds the inherited file any more.
func TestDiesWithItsParent(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho runs >&3\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "MEDIA_TEST_FFMPEG="+fake)
	parent.ExtraFiles = []*os.File{w}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	lines := bufio.NewReader(r)
	if line, err := lines.ReadString('\n'); line != "runs\n" {
		t.Fatalf("ffmpeg did not start with the inherited file: %q, %v", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	if _, err := io.ReadAll(lines); err != nil { // returns once ffmpeg is gone
		t.Fatal(err)
	}
}
