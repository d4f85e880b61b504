package encode

import (
	"math"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/unfit"
)

// mostRuns bounds memory: a track whose clock jumps 65,536 times.
const mostRuns = 1 << 16

// run is a part of a decoded track with the same parameters and a steady clock.
type run struct {
	parameters
	at      float64 // seconds on the track's clock where it begins
	from    int64   // samples of the track before it
	samples int64
}

func (r run) end() float64 { return r.at + float64(r.samples)/float64(r.rate) }

// runs lists the parts of a track from which pieces are taken.
type runs struct {
	list  []run
	until float64 // seconds on the track's clock: what lies behind is not needed
}

// newRuns returns nil for a track that is not played in pieces.
func newRuns(pieces []mp4.Piece) *runs {
	if pieces == nil {
		return nil
	}
	r := &runs{}
	for _, p := range pieces {
		r.until = max(r.until, p.To)
	}
	return r
}

// add takes the next frame, which begins at some second on the track's clock. The error
// says why no more are needed.
func (r *runs) add(f frame, at float64) error {
	const steady = 0.001 // seconds
	n := len(r.list)
	if n == 0 || r.list[n-1].parameters != f.parameters || math.Abs(r.list[n-1].end()-at) > steady {
		next := run{parameters: f.parameters, at: at}
		if n > 0 {
			next.from = r.list[n-1].from + r.list[n-1].samples
		}
		r.list = append(r.list, next)
		n++
	}
	r.list[n-1].samples += f.samples
	switch {
	case n > mostRuns:
		return unfit.New(conversion.CodeLimitExceeded, "The clock of the sound jumps more than %d times.", mostRuns)
	case at > r.until:
		return errEnough
	}
	return nil
}

// cut takes the pieces out of the runs, up to one more than maxStretches: what is wanted of them between start and end, in
// seconds on a player's clock, and where that clock and the sound part. end is 0 for none.
func (r *runs) cut(pieces []mp4.Piece, start, end float64) ([]stretch, []jump) {
	if end == 0 {
		end = math.Inf(1)
	}
	var all []stretch
	var jumps []jump
	sound := 0.0 // seconds, of all pieces
	for _, p := range pieces {
		for _, n := range r.list {
			from, to := max(p.From, n.at), min(p.To, n.end())
			if from >= to {
				continue
			}
			at := p.At + (from-p.From)/p.Rate
			if len(all) > maxStretches {
				return all, jumps
			}
			if offset := at - sound; len(jumps) == 0 || len(jumps) < maxJumps && math.Abs(jumps[len(jumps)-1].offset-offset) > pause {
				jumps = append(jumps, jump{at: sound, offset: offset})
			}
			seconds := (to - from) / p.Rate
			sound += seconds
			a, b := max(0, start-at), min(seconds, end-at)
			if a >= b {
				continue
			}
			sample := func(wanted float64) int64 {
				return n.from + int64(math.Round((from-n.at+wanted*p.Rate)*float64(n.rate)))
			}
			all = appendStretch(all, stretch{parameters: n.parameters, from: sample(a), samples: sample(b) - sample(a), speed: p.Rate})
		}
	}
	return all, jumps
}

// appendStretch appends a stretch, joined to the last one if it goes on with that.
func appendStretch(list []stretch, s stretch) []stretch {
	if s.samples <= 0 {
		return list
	}
	if n := len(list); n > 0 {
		last := &list[n-1]
		if last.parameters == s.parameters && last.speed == s.speed && last.from+last.samples == s.from {
			last.samples += s.samples
			return list
		}
	}
	return append(list, s)
}

// ascending is how many of the stretches a decoder comes past without going back.
func ascending(list []stretch) int {
	for i := 1; i < len(list); i++ {
		if list[i].from < list[i-1].from+list[i-1].samples {
			return i
		}
	}
	return len(list)
}

// decodings is how many seconds are decoded to get at the stretches: all that lies before
// them, anew each time that they go back.
func decodings(list []stretch) (seconds float64) {
	for len(list) > 0 {
		n := ascending(list)
		seconds += float64(list[n-1].from+list[n-1].samples) / float64(list[n-1].rate)
		list = list[n:]
	}
	return seconds
}

// How many times sound may be decoded: the longest that is allowed, and that of the
// file with what becomes of it. An hour that is cut into pieces in any order may go
// back 30 times.
const (
	mostDecoded = 4
	mostAnew    = 16
)

// takePieces makes stretches of the pieces, once the track has been decoded.
func (j *job) takePieces(r *runs, h *heard) error {
	j.stretches, h.jumps = r.cut(j.plan.Track.Pieces, j.plan.Start, j.plan.End)
	for i := range h.jumps {
		if i > 0 {
			h.jumps[i].lost = h.lost
		}
	}
	switch {
	case len(j.stretches) > maxStretches:
		return unfit.New(conversion.CodeLimitExceeded, "The file's edit list has more than %d pieces of sound.", maxStretches)
	case decodings(j.stretches) > min(mostDecoded*j.spec.MaxSeconds, mostAnew*(j.plan.Track.Media+j.plan.Track.Seconds)+600):
		return unfit.New(conversion.CodeLimitExceeded, "The file's edit list goes back too often in a long recording.")
	}
	return nil
}

// inPieces are the options with which ffmpeg plays a track as if it had no edit list, on
// the track's own clock; none for other tracks.
func (j *job) inPieces() []string {
	if j.plan.Track.Pieces == nil {
		return nil
	}
	return []string{"-ignore_editlist", "1", "-copyts", "-flags2", "+skip_manual"}
}
