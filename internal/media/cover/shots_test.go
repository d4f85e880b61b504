package cover

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/probe"
)

// TestFiltersListed: every filter that this package uses is among the components
// of our own ffmpeg.
func TestFiltersListed(t *testing.T) {
	mediatest.Listed(t, pixels)
	for _, s := range append(posters(0, 30, probe.Info{}), posters(0, 300, probe.Info{})...) {
		mediatest.Listed(t, s.filters)
	}
}

// TestCoverFits: noise, which compresses worst, in the largest size.
func TestCoverFits(t *testing.T) {
	noise := image.NewRGBA(image.Rect(0, 0, 1000, 1000))
	random := rand.New(rand.NewPCG(1, 1))
	for i := range noise.Pix {
		noise.Pix[i] = byte(random.Uint32()) | byte(i%4/3*255)
	}
	b, err := encodeJPEG(noise)
	if err != nil || len(b) > coverBytes || len(b) < coverBytes/4 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
}

// TestWithoutGPU: if the GPU turns out to be unusable, the cover is made
// without it.
func TestWithoutGPU(t *testing.T) {
	source := filepath.Join(t.TempDir(), "in.mp4")
	mediatest.Video(t, source, 2, 440, "-c:v", "mpeg4", "-c:a", "aac")
	in, info, err := look(t.Context(), ffmpeg.Program{Path: mediatest.FFmpeg(t)}, source)
	if err != nil {
		t.Fatal(err)
	}
	j := &job{in: in, spec: Spec{Cover: "1.5", Class: conversion.GPU}}
	_, shots, err := j.shots(info)
	if err != nil || len(shots) != 2 || !shots[0].gpu || shots[1].gpu || !strings.Contains(strings.Join(shots[0].input, " "), "-hwaccel cuda") {
		t.Errorf("got %+v, %v", shots, err)
	}
	known := make(chan probe.Info, 2)
	known <- info
	known <- info
	with, err := Make(t.Context(), in, j.spec, known)
	if err != nil {
		t.Fatal(err)
	}
	j.spec.Class = conversion.CPU
	without, err := Make(t.Context(), in, j.spec, known)
	if err != nil || len(with) == 0 || !bytes.Equal(with, without) {
		t.Errorf("%d bytes with a GPU, %d without, %v", len(with), len(without), err)
	}
}
