package encode

import (
	"fmt"
	"math"
	"strings"

	"tonearm/internal/conversion"
)

// mostNotes is how many places of one kind are named, each in a note of its own.
// One more note counts the rest.
const mostNotes = 3

// notes says what is unusual about the track as it was decoded, for an MP3 of that
// many seconds.
func (j *job) notes(seconds float64) []conversion.Note {
	var notes []conversion.Note
	notes = append(notes, placed(changes(j.stretches), func(n int) conversion.Note {
		return conversion.Note{Code: conversion.NoteParametersChanged, Message: fmt.Sprintf("The sound changes its sample rate or its channels %d more times.", n)}
	})...)
	holes := j.heard.holes(j.plan.Start, j.plan.End, seconds)
	var gaps []conversion.Note
	var rest float64
	var lost []hole
	for _, h := range holes {
		switch {
		case h.lost:
			lost = append(lost, h)
		default:
			gaps = append(gaps, conversion.Note{
				Code: conversion.NoteGap, At: milli(h.at),
				Message: fmt.Sprintf("The source's sound pauses for %s. The pause was left out.", lasting(h.seconds)),
			})
			if len(gaps) > mostNotes {
				rest += h.seconds
			}
		}
	}
	notes = append(notes, placed(gaps, func(n int) conversion.Note {
		return conversion.Note{Code: conversion.NoteGap, Message: fmt.Sprintf("%d more pauses, together %s, were left out.", n, lasting(rest))}
	})...)
	if n := j.lostPackets(lost); n != "" {
		note := conversion.Note{Code: conversion.NotePacketsLost, Message: n + " of the sound could not be decoded."}
		if len(lost) > 0 {
			note.At = milli(lost[0].at)
		}
		notes = append(notes, note)
	}
	return notes
}

// lostPackets says how many packets could not be decoded, of which some left the holes;
// it is empty for none. Behind a trim's end ffmpeg decodes as many packets as it happens
// to, so with such an end only what left a hole counts.
func (j *job) lostPackets(left []hole) string {
	switch n := j.heard.lost; {
	case j.plan.End > 0 && len(left) == 0, n == 0:
		return ""
	case j.plan.End > 0:
		return "Packets"
	case n == 1:
		return "1 packet"
	default:
		return fmt.Sprintf("%d packets", n)
	}
}

// placed keeps the first notes and counts the others.
func placed(notes []conversion.Note, more func(n int) conversion.Note) []conversion.Note {
	if n := len(notes) - mostNotes; n > 0 {
		return append(notes[:mostNotes:mostNotes], more(n))
	}
	return notes
}

// changes says where the parameters change.
func changes(stretches []stretch) []conversion.Note {
	var notes []conversion.Note
	at := 0.0
	for i, s := range stretches {
		if i > 0 && s.parameters != stretches[i-1].parameters {
			before := stretches[i-1].parameters
			var what []string
			if before.rate != s.rate {
				what = append(what, fmt.Sprintf("from %d to %d Hz", before.rate, s.rate))
			}
			if a, b := before.name(), s.name(); a != b {
				what = append(what, "from "+a+" to "+b)
			}
			notes = append(notes, conversion.Note{
				Code: conversion.NoteParametersChanged, At: milli(at),
				Message: "The sound changes " + strings.Join(what, " and ") + ".",
			})
		}
		at += s.seconds()
	}
	return notes
}

// name is the layout of the channels.
func (p parameters) name() string {
	if p.layout == "" {
		return fmt.Sprintf("%d channels", p.channels)
	}
	return p.layout
}

func milli(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

// lasting writes a length as precisely as it matters.
func lasting(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", seconds*1000)
	}
	return fmt.Sprintf("%.1f s", seconds)
}
