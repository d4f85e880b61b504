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
	sound   int64        // bytes of them
	gaps    gaps         // between them
}

func newRest(extents []mp4.Extent) *rest {
	r := &rest{extents: extents}
	for i, e := range extents {
		r.sound += e.Size
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

// take removes the first n bytes of the sound's, which lie within the first
// extent.
func (r *rest) take(n int64) {
	first := r.extents[0]
	r.sound -= n
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
	plain   bool
	gap     int64
	within  bool // the gaps read are at most a twentieth of the sound
	seconds float64
}

// frugal says which part of the sound may be read in gaps where only the sound
// is wanted.
const frugal = 20

// sparse finds the best gap, each request saved costing bytes, and the best
// one that adds no more than a twentieth.
func (r *rest) sparse(e estimate) (best, thrifty choice) {
	best.seconds = math.Inf(1)
	requests, bytes := r.requests(), r.sound
	for c := range len(r.gaps.count) {
		requests -= r.gaps.count[c]
		bytes += r.gaps.bytes[c]
		now := choice{
			gap: 1 << min(c, 62), within: bytes-r.sound <= r.sound/frugal,
			seconds: float64(max(requests, bytes/maxRange+1))*e.request.Seconds() + float64(bytes)/e.side,
		}
		if now.seconds < best.seconds {
			best = now
		}
		if now.within {
			thrifty = now
		}
	}
	return best, thrifty
}

// requests is how many there are if no gap is read.
func (r *rest) requests() int64 {
	n := int64(1) + r.sound/maxRange
	for _, c := range r.gaps.count {
		n += c
	}
	return n
}

// plain is one long answer.
func (r *rest) plain(e estimate) choice {
	return choice{plain: true, seconds: float64(r.span()) / e.rate}
}

// choose finds the quicker way for what is left. Whoever is under way changes
// only for a clear gain; where it makes little difference, few bytes are read.
func (r *rest) choose(e estimate, mode Mode, under *choice) choice {
	const gain, little = 0.8, 1.1
	sparse, thrifty := r.sparse(e)
	plain := r.plain(e)
	switch {
	case mode == Sparse:
		return thrifty
	case mode == Plain:
		return plain
	case thrifty.seconds <= little*sparse.seconds:
		sparse = thrifty
	}
	worth := 1.0
	if under != nil && !under.plain {
		worth = gain
	} else if under != nil {
		worth = 1 / gain
	}
	if plain.seconds < worth*sparse.seconds {
		return plain
	}
	return sparse
}
