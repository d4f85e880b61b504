package source

import (
	"math"
	"math/bits"

	"tonearm/internal/media/mp4"
)

// gaps counts what lies between a plan's extents, by size: class c holds the
// gaps of less than 1<<c bytes and at least half of that.
type gaps struct {
	count, bytes [64]int64
}

func class(gap int64) int { return bits.Len64(uint64(gap)) }

// rest is what of a plan is still to be asked for.
type rest struct {
	extents []mp4.Extent // the first one perhaps shortened
	wanted  int64        // bytes of them
	gaps    gaps         // between them
}

func newRest(extents []mp4.Extent) *rest {
	r := &rest{extents: extents}
	for i, e := range extents {
		r.wanted += e.Size
		if i > 0 {
			gap := e.Offset - extents[i-1].End()
			r.gaps.count[class(gap)]++
			r.gaps.bytes[class(gap)] += gap
		}
	}
	return r
}

// span is how many bytes one long answer with all of it has.
func (r *rest) span() int64 {
	if len(r.extents) == 0 {
		return 0
	}
	return r.extents[len(r.extents)-1].End() - r.extents[0].Offset
}

// take removes the first n wanted bytes, which lie within the first
// extent.
func (r *rest) take(n int64) {
	first := r.extents[0]
	r.wanted -= n
	if n < first.Size {
		r.extents[0] = mp4.Extent{Offset: first.Offset + n, Size: first.Size - n}
		return
	}
	r.extents = r.extents[1:]
	if len(r.extents) > 0 {
		gap := r.extents[0].Offset - first.End()
		r.gaps.count[class(gap)]--
		r.gaps.bytes[class(gap)] -= gap
	}
}

// choice is how the rest is read: by one long answer, or in requests that reach
// over gaps of less than gap bytes.
type choice struct {
	plain  bool
	gap    int64
	frugal bool // few bytes of gaps are read
}

const (
	smallPart = 20        // frugal: the gaps are at most 1/smallPart of the wanted bytes
	near      = 10e-3     // seconds until an answer begins, at most, where one connection's window bounds nothing
	largeRest = 256 << 20 // bytes of which trying what comes side by side is a small part
)

// choose finds the quickest way for what is left. Where it makes little
// difference few bytes are read, and if not that, few requests are made.
func (r *rest) choose(e estimate, mode Mode, current *choice) choice {
	const (
		readGaps  = 1.1   // how much quicker than without has to be what reads gaps
		readAll   = 1.25  // what reads more of them than of anything else
		long      = 1.05  // one long answer
		leaveLong = 1.2   // anything else while a long answer is under way
		restart   = 30e-3 // seconds that a change costs,
		restarts  = 10    // and latencies: connections start slowly
	)
	var best choice
	least := math.Inf(1)
	consider := func(c choice, seconds, worth float64) {
		if current != nil && c.plain != current.plain {
			seconds += restart + restarts*e.latency
		}
		if seconds*worth < least {
			best, least = c, seconds*worth
		}
	}
	if mode != Sparse {
		consider(choice{plain: true}, float64(r.span())/e.rate, long)
	}
	if mode == Plain {
		return best
	}
	requests, bytes := r.requests(), r.wanted
	leaving := current != nil && current.plain
	for c := range len(r.gaps.count) {
		requests -= r.gaps.count[c]
		bytes += r.gaps.bytes[c]
		parallel := e.parallel
		now := choice{gap: 1 << min(c, 62), frugal: bytes-r.wanted <= r.wanted/smallPart}
		worth := 1.0
		switch {
		case mode == Sparse && !now.frugal:
			return best
		case bytes > r.span()/2:
			worth = readAll
			if leaving && best.plain && !e.tried && e.latency > near && r.span() > largeRest {
				parallel = fastestRate // worth a try
			}
		case !now.frugal:
			worth = readGaps
		}
		if leaving {
			worth *= leaveLong
		}
		n := max(requests, bytes/maxRange+1)
		consider(now, float64(n)*e.request+float64(bytes)/parallel, worth)
	}
	return best
}

// requests is how many there are if no gap is read.
func (r *rest) requests() int64 {
	n := int64(1) + r.wanted/maxWanted
	for _, c := range r.gaps.count {
		n += c
	}
	return n
}
