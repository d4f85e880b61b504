package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// TestListLines: a list fits the terminal, and its names differ.
func TestListLines(t *testing.T) {
	var all []api.Conversion
	for i := range 30 {
		all = append(all, api.Conversion{
			ID: fmt.Sprintf("0192f3a8-5f3c-7d21-9c1e-2b7a%08d", i), State: conversion.AwaitingUpload, CreatedAt: time.Now(),
			Filename: fmt.Sprintf("Lectures of the winter term, part %04d of 5000.mp4", i),
		})
	}
	all[0].Filename, all[0].State = "\x1b[2J.mp4", "done\x1b[2J"
	for _, width := range []int{30, 40, 71, 72, 80, 200} {
		seen := map[string]bool{}
		for i, line := range listLines(all, width) {
			if text.Width(line) >= width {
				t.Errorf("%d columns of %d: %q", text.Width(line), width, line)
			}
			if i > 0 && !strings.Contains(line, all[i-1].ID[28:]) {
				t.Errorf("%q has no id", line)
			}
			if name := line[8:]; width >= 40 {
				if seen[name] {
					t.Errorf("at %d columns two names look like %q", width, name)
				}
				seen[name] = true
			}
			if strings.Contains(line, "\x1b") {
				t.Errorf("a control character: %q", line)
			}
		}
	}
}
