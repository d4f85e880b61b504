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
	var first, rest float64
	for _, h := range holes {
		switch {
		case h.lost && first == 0:
			first = h.at
		case h.lost:
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
	if lost := j.heard.lost; lost > 0 {
		packets := "1 packet"
		if lost > 1 {
			packets = fmt.Sprintf("%d packets", lost)
		}
		notes = append(notes, conversion.Note{Code: conversion.NotePacketsLost, At: milli(first), Message: packets + " of the sound could not be decoded."})
	}
	return notes
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
