package screen

import (
	"fmt"
	"slices"
	"time"

	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/conversion"
)

// Line is how far one file is.
type Line struct {
	s        *Screen
	name     string
	expected int64 // bytes to send at the most
	begun    int   // its place in the order of the lines

	// Guarded by s.mu.
	size        int64 // bytes to send
	sized       bool  // that is known
	phase       string
	done, total float64 // of the phase; total is 0 where it has no measure
	measure     string  // done and total in words
	sent        int64   // bytes that have arrived
	counted     bool    // sent holds a first figure
}

// Set shows a phase that has no measure, such as "queued".
func (l *Line) Set(phase string) { l.set(phase, 0, 0, "") }

// SetBytes shows how far a download is.
func (l *Line) SetBytes(phase string, done, total int64) {
	l.set(phase, float64(done), float64(total), fmt.Sprintf("%s of %s", text.Bytes(done), text.Bytes(total)))
}

// SetClock shows how far a conversion is, in seconds of sound.
func (l *Line) SetClock(phase string, done, total float64) {
	l.set(phase, done, total, fmt.Sprintf("%s of %s", conversion.Clock(done), conversion.Clock(total)))
}

// Sent shows how far the upload is.
func (l *Line) Sent(done, total int64) {
	l.SetBytes("uploading", done, total)
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.counted {
		l.s.moved += done - l.sent
	}
	l.sent, l.counted = done, true // what an earlier run has sent does not count as speed
}

func (l *Line) set(phase string, done, total float64, measure string) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.phase, l.done, l.total, l.measure = text.Printable(phase), done, total, measure // a server names the phase
}

// End takes the line away. failed says that the file has no MP3.
func (l *Line) End(failed bool) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.lines {
		if other == l {
			s.lines = append(s.lines[:i], s.lines[i+1:]...)
			break
		}
	}
	if !l.sized {
		l.resize(l.size)
	}
	s.ended++
	s.endedBytes += l.size
	if failed {
		s.failed++
	}
}

// measured reports whether the phase has a measure.
func (l *Line) measured() bool { return l.total > 0 }

// waiting are the phases in which nothing is done for the file.
var waiting = []string{"starting", "uploaded", string(conversion.Queued), string(conversion.AwaitingUpload)}

// moves reports whether something is done for the file now.
func (l *Line) moves() bool { return l.measured() || !slices.Contains(waiting, l.phase) }

// short returns such as "uploading 43%".
func (l *Line) short() string {
	if !l.measured() {
		return l.phase
	}
	return fmt.Sprintf("%s %d%%", l.phase, int(100*min(l.done/l.total, 1)))
}

// long returns such as "uploading 43% (12.1 MB of 28.0 MB)".
func (l *Line) long() string {
	if !l.measured() {
		return l.phase
	}
	return l.short() + " (" + l.measure + ")"
}

// full is long with how much of the file is sent, if it is not all of it.
func (l *Line) full() string {
	switch {
	case l.size >= l.expected:
		return l.long()
	case l.sent < l.size:
		return l.long() + ", only the sound of " + text.Bytes(l.expected)
	}
	return l.long() + ", sent " + text.Share(l.size, l.expected) + ": only the sound"
}

// perFile is what a file weighs beside its bytes when the time left is estimated:
// small files take time, too.
const perFile = 1 << 20

// share returns how much of everything is done, from 0 to 1.
func (s *Screen) share() float64 {
	bytes, _ := s.all()
	all := float64(bytes) + perFile*float64(s.files)
	done := float64(s.endedBytes) + perFile*float64(s.ended)
	for _, l := range s.lines {
		done += float64(min(l.sent, l.size))
	}
	if all <= 0 {
		return 0
	}
	return min(done/all, 1)
}

// left returns how long the rest takes if it goes on like this; 0 if nobody can say.
func (s *Screen) left(now time.Time) time.Duration {
	elapsed, share := now.Sub(s.start), s.share()
	if elapsed < 3*time.Second || share < 0.001 || share >= 1 {
		return 0
	}
	return time.Duration(float64(elapsed) * (1 - share) / share)
}

const speedOver = 10 * time.Second

// sample is how many bytes had moved at a time.
type sample struct {
	at    time.Time
	moved int64
}

// speed returns bytes per second over the last seconds.
func (s *Screen) speed(now time.Time) float64 {
	s.samples = append(s.samples, sample{now, s.moved})
	for len(s.samples) > 2 && now.Sub(s.samples[1].at) >= speedOver {
		s.samples = s.samples[1:]
	}
	first := s.samples[0]
	if seconds := now.Sub(first.at).Seconds(); seconds >= 1 {
		return max(0, float64(s.moved-first.moved)/seconds)
	}
	return 0
}
