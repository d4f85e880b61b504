package screen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/conversion"
)

const (
	mostLines = 10 // of files
	leastName = 16 // columns of a name that a long description leaves
)

// frame returns the block for a terminal of this size: lines of files, how many
// more there are, and the total.
func (s *Screen) frame(width, height int, now time.Time) []string {
	speed := s.speed(now)
	if len(s.lines) == 0 {
		return nil
	}
	room := max(1, width-1) // the last column would wrap on some terminals
	lines := slices.Clone(s.lines)
	slices.SortStableFunc(lines, func(a, b *Line) int {
		if a.moves() != b.moves() {
			if a.moves() {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.begun, b.begun)
	})
	most := max(1, min(mostLines, height-3))
	hidden := 0
	if len(lines) > most {
		hidden = len(lines) - max(1, most-1) // their number takes a row
		lines = lines[:len(lines)-hidden]
	}
	var names, full, long, short int // widest
	for _, l := range lines {
		names, full = max(names, text.Width(l.name)), max(full, text.Width(l.full()))
		long, short = max(long, text.Width(l.long())), max(short, text.Width(l.short()))
	}
	describe, widest := (*Line).long, long
	switch {
	case room-2-full >= names: // no name is cut for it
		describe, widest = (*Line).full, full
	case room-2-long < min(names, leastName):
		describe, widest = (*Line).short, short
	}
	names = min(names, max(room-2-widest, 8))
	var cut []string
	for _, l := range lines {
		cut = append(cut, l.name)
	}
	var block []string
	for i, name := range text.CutApart(cut, names) {
		block = append(block, strings.TrimRight(text.Cut(text.Fill(name, names)+"  "+describe(lines[i]), room), " "))
	}
	if hidden > 0 && height > 3 {
		block = append(block, text.Cut(fmt.Sprintf("and %s more", text.Count(hidden)), room))
	}
	if total := s.total(room, speed, now); total != "" {
		block = append(block, total)
	}
	return block
}

// total returns the line for all files together, in at most room columns. What does
// not fit is left out, the least important first.
func (s *Screen) total(room int, speed float64, now time.Time) string {
	var sent int64
	for _, l := range s.lines {
		sent += min(l.sent, l.size)
	}
	sent += s.endedBytes
	var files, few, failed, bytes, rate, left string
	if s.files > 1 {
		files = fmt.Sprintf("%s of %s files", text.Count(s.ended), text.Count(s.files))
		few = fmt.Sprintf("%s/%s", text.Count(s.ended), text.Count(s.files))
	}
	if s.failed > 0 {
		failed = text.Count(s.failed) + " failed"
	}
	if all, about := s.all(); about {
		bytes = fmt.Sprintf("%s of about %s", text.Bytes(sent), text.Bytes(all))
	} else if all > 0 {
		bytes = fmt.Sprintf("%s of %s", text.Bytes(sent), text.Bytes(all))
	}
	if speed > 0 {
		rate = text.Bytes(int64(speed)) + "/s"
	}
	if d := s.left(now); d > 0 {
		left = conversion.Clock(d.Round(time.Second).Seconds()) + " left"
	}
	for _, parts := range [][]string{
		{files, failed, bytes, rate, left}, {few, failed, bytes, rate, left}, {few, failed, rate, left},
		{few, failed, left}, {few, failed}, {few},
	} {
		parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
		if line := strings.Join(parts, ", "); text.Width(line) <= room {
			return line
		}
	}
	return text.Cut(few, room)
}
