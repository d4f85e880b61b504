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

// rest is the part of a plan that was not requested yet.
type rest struct {
	extents []mp4.Extent // the first one may be shortened
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

// span returns how many bytes one long answer with all of the rest has.
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

// choice is how the rest is read: in one long answer, or in requests that
// include gaps of less than gap bytes.
type choice struct {
	plain  bool
	gap    int64
	frugal bool // few bytes of gaps are read
}

const (
	smallPart = 20        // frugal: the gaps are at most 1/smallPart of the wanted bytes
	near      = 10e-3     // seconds until an answer begins; up to this, the window of one connection does not limit it
	largeRest = 256 << 20 // bytes; if more are left, trying many requests costs little in comparison
)

// choose finds the quickest way to read the rest. If the difference is small,
// it prefers few bytes, and then few requests.
func (r *rest) choose(e estimate, mode Mode, current *choice) choice {
	const (
		readGaps  = 1.1   // a choice that reads gaps must be this much quicker than one that does not
		readAll   = 1.25  // one that reads more than half of all bytes
		long      = 1.05  // one long answer
		leaveLong = 1.2   // any other choice while a long answer is being read
		restart   = 30e-3 // seconds that a change costs,
		restarts  = 10    // and latencies that it costs: connections start slowly
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
				parallel = fastestRate // not measured yet, and worth a try
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

// requests returns how many requests are needed if no gap is read.
func (r *rest) requests() int64 {
	n := int64(1) + r.wanted/maxWanted
	for _, c := range r.gaps.count {
		n += c
	}
	return n
}
