package encode

import (
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/plan"
	"tonearm/internal/media/probe"
)

// TestFiltersListed: every filter that this package uses is among the components
// of our own ffmpeg.
func TestFiltersListed(t *testing.T) {
	trimmed := job{plan: plan.Plan{Start: 1, End: 2, Rate: 44100, Channels: 2, Track: probe.Track{SampleRate: 44100, Channels: 1}}}
	surround := job{plan: plan.Plan{Rate: 48000, Channels: 2, Track: probe.Track{SampleRate: 48000, Channels: 6}}}
	mediatest.Listed(t, trimmed.filters(level{gain: 1, limited: true, ceiling: -1}, truePeaks))
	mediatest.Listed(t, surround.filters(level{}, samplePeaks))
	mediatest.Listed(t, surveyed)
	mediatest.Listed(t, decoded8)
}
