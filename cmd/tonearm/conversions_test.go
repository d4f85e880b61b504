package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

func TestPrintConversion(t *testing.T) {
	created := time.Date(2026, 11, 23, 10, 0, 0, 0, time.Local)
	done := func(m api.MP3) api.Conversion {
		m.ID, m.Name, m.Duration, m.Size = "m", "talk.mp3", 187, 3_000_000
		return api.Conversion{
			ID: "c", State: conversion.Done, Filename: "talk.mp4", Size: 1_500_000, CreatedAt: created, Attempt: 1, MP3: &m,
		}
	}
	full := done(api.MP3{
		BitrateKbps: 64, SampleRateHz: 44100, Channels: 1, LengthChecked: true,
		Loudness: &conversion.Levels{IntegratedLUFS: -16.04, RangeLU: 5.25, PeakDB: -2, TruePeakDB: -1.5},
		GainDB:   3.46, Cover: "12.5", Chapters: 7,
		Notes: []conversion.Note{
			{Code: conversion.NoteDownmixed, Message: "Mixed down from 6 channels."},
			{Code: conversion.NoteGap, Message: "The source's sound pauses for 2.0 s.", At: 61.2},
		},
	})
	full.Options, full.Notify, full.Class = conversion.Options{Preset: "voice", Cover: "12.5"}, conversion.NotifyNone, conversion.CPU
	full.Fallback = &conversion.Fallback{From: conversion.GPU, Reason: conversion.FallbackWaited}
	waits := api.Conversion{
		ID: "c", State: conversion.Running, Filename: "talk.mp4", CreatedAt: created, Attempt: 1,
		Waiting: &conversion.Waiting{Reason: conversion.WaitNode, Since: created.Add(time.Minute)},
	}
	for name, tt := range map[string]struct {
		conversion api.Conversion
		want       string
	}{
		"waiting": {waits, `
waits for  a machine with room for it, since 2026-11-23 10:01:00
attempt    1
`},
		"everything": {full, `
options    {"preset":"voice","cover":"12.5"}
mail       none
runs on    cpu instead of gpu: no GPU was free in time
attempt    1
mp3        m
mp3 name   talk.mp3 (3:07, 3.0 MB)
sound      64 kbit/s, 44100 Hz, mono
loudness   -16.0 LUFS, range 5.2 LU, peak -2.0 dBFS, true peak -1.5 dBTP, gain +3.5 dB
cover      the frame at 12.5 s
chapters   7
note       Mixed down from 6 channels. (downmixed)
note       At 1:01: The source's sound pauses for 2.0 s. (gap)
`},
		"the ordinary": {done(api.MP3{VBRQuality: new(2), SampleRateHz: 48000, Channels: 2, LengthChecked: true, Cover: conversion.CoverAttached,
			Loudness: &conversion.Levels{IntegratedLUFS: -20, RangeLU: 3, PeakDB: -0.5}}), `
attempt   1
mp3       m
mp3 name  talk.mp3 (3:07, 3.0 MB)
sound     variable bit rate, quality 2, 48000 Hz, stereo
loudness  -20.0 LUFS, range 3.0 LU, peak -0.5 dBFS
cover     attached
`},
		"silence of unknown length, passed through": {done(api.MP3{SampleRateHz: 48000, Channels: 2, Encoder: conversion.CopyEncoder}), `
attempt   1
mp3       m
mp3 name  talk.mp3 (3:07, 3.0 MB)
sound     copied, not encoded, 48000 Hz, stereo
note      The video does not say how long it is, so the MP3's length was not checked.
`},
		"only its sound": {api.Conversion{
			ID: "c", State: conversion.Queued, Filename: "talk.mp4", Size: 6_100_000, CreatedAt: created,
			Sent: &conversion.Sent{What: conversion.SentSound, OriginalSize: 1_024_000_000},
		}, ``},
	} {
		var out bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetOut(&out)
		if err := printConversion(cmd, tt.conversion); err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(out.String(), "2026-11-23 10:00:00")
		if sent := "file talk.mp4 (1.0 GB)\nsent 6.1 of 1,024 MB: only the sound\n"; strings.Contains(squeeze(out.String()), sent) != (tt.conversion.Sent != nil) {
			t.Errorf("%s: want %q only where not all was sent:\n%s", name, sent, out.String())
		}
		if squeeze(got) != squeeze(tt.want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, tt.want)
		}
	}
}

func TestWaitReasons(t *testing.T) {
	for _, reason := range slices.Concat(conversion.Waits, conversion.Faults) {
		if got := waitReason(reason); got == string(reason) {
			t.Errorf("no words for %q", reason)
		}
	}
}

// squeeze makes one space of many, as the width of columns does not matter.
func squeeze(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

func TestParseClock(t *testing.T) {
	for s, want := range map[string]float64{
		"0": 0, "90": 90, "90.5": 90.5, ".5": 0.5, "1:30": 90, "90:00": 5400, "1:02:03.5": 3723.5, "0:00:00.001": 0.001, "100:00:00": 360000,
	} {
		if got, err := parseClock(s); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", ":", "1:", ":30", "-1", "+1", "1e3", "0x1", "NaN", "Inf", "1:60", "1:60:00", "1.5:30", "1:2:3:4", "1,5", " 1", "1s", "1..5"} {
		if got, err := parseClock(s); err == nil {
			t.Errorf("%s: got %v, want an error", s, got)
		}
	}
}
