package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"tonearm/bench/input"
	"tonearm/bench/link"
	"tonearm/bench/results"
)

// made returns a lab with the ffmpeg that is installed, and a clip.
func made(t *testing.T) (l *lab, clip string) {
	t.Helper()
	inputs, err := input.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l = &lab{inputs: inputs, scratch: t.TempDir(), ffmpeg: "ffmpeg", encoders: map[string]float64{}}
	if clip, err = inputs.Clip(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, clip
}

func TestFloor(t *testing.T) {
	l, clip := made(t)
	facts, err := input.Measure(clip)
	if err != nil {
		t.Fatal(err)
	}
	var here results.Figure
	if err := l.floor(t.Context(), &here, "loopback", clip); err != nil {
		t.Fatal(err)
	}
	if cpu := l.encoders[clip]; cpu <= 0 || here.Floor != here.More["floor_encoder"] || here.More["floor_link"] != 0 ||
		here.Floor != results.Plain(cpu/float64(runtime.NumCPU()), "s").Ours {
		t.Errorf("on this machine: %+v, the encoder takes %v s", here, cpu)
	}
	if left, _ := os.ReadDir(l.scratch); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	l.encoders[clip] = 1e-9 // so that the link decides
	var far results.Figure
	if err := l.floor(t.Context(), &far, "200m", clip); err != nil {
		t.Fatal(err)
	}
	bytes := facts.Index + facts.Audio
	if want := results.Plain(float64(bytes)*8/(200e6*link.Payload), "s").Ours; far.Floor != want {
		t.Errorf("behind a link: %+v, want %v for %d bytes", far, want, bytes)
	}
	if bytes <= 5*128e3/8/2 || bytes >= facts.Size/2 {
		t.Errorf("%d bytes hold the sound of %d", bytes, facts.Size)
	}
}

// A container without an index has to be read whole.
func TestFewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "video.ts")
	if err := os.WriteFile(path, make([]byte, 188), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := fewest(path); n != 188 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestLooped(t *testing.T) {
	_, clip := made(t)
	dir := t.TempDir()
	files, err := copies(clip, filepath.Join(dir, "clips"), 3)
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := looped(t.Context(), "ffmpeg", dir, files)
	if err != nil || seconds <= 0 {
		t.Fatalf("%v s, %v", seconds, err)
	}
	for _, file := range files {
		path := filepath.Join(dir, stem(file)+".mp3")
		if err := long(path, 5); err != nil {
			t.Error(err)
		}
		if long(path, 6) == nil {
			t.Error("an MP3 of 5 s passes as one of 6 s")
		}
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := looped(t.Context(), "ffmpeg", dir, files); err == nil {
		t.Error("a file is missing, and nobody noticed")
	}
}
