package mp3

import "math"

// reservoirPlan is a way to free space for the next run's bit reservoir in the
// last frames of a run.
type reservoirPlan struct {
	raised []int // indices of bit rates: of the last frame, of the one before it, …
	bytes  int   // that this adds
}

// planReservoir frees space for need bytes. The last frames get a higher bit
// rate, beginning with the very last. This moves the main data of a frame
// further away from its payload, for which there is a limit.
func planReservoir(line []Frame, need int) (reservoirPlan, bool) {
	var p reservoirPlan
	last := len(line) - 1
	limit := line[last].maxMainDataBegin()
	missing := need - line[last].spare()
	most := math.MaxInt // bytes that a frame may grow; no limit for the last one
	for i := last; missing > 0; i-- {
		if i < 0 || most <= 0 {
			return reservoirPlan{}, false
		}
		h := raise(line[i].Header, missing, most)
		added := h.Size - line[i].Size
		most = min(most-added, limit-line[i].mainDataBegin())
		p.raised = append(p.raised, h.index)
		p.bytes += added
		missing -= added
	}
	return p, true
}

// raise returns the header with the lowest bit rate that gives want more bytes.
// If there is none, it returns the highest that gives no more than most.
func raise(h Header, want, most int) Header {
	best := h
	for i := h.index + 1; i <= topIndex && best.Size-h.Size < want; i++ {
		next := h.withIndex(i)
		if next.Size-h.Size > most {
			break
		}
		best = next
	}
	return best
}

// apply frees the space and puts the reservoir at its end.
func (p reservoirPlan) apply(line []Frame, reservoir []byte) {
	raised := line[len(line)-len(p.raised):]
	var payloads []byte
	for _, f := range raised {
		payloads = append(payloads, f.Bytes[f.payload():]...)
	}
	added := 0
	for i := range raised {
		f := &raised[i]
		head := f.Bytes[:f.payload()]
		before := f.Size
		f.Header = f.withIndex(p.raised[len(raised)-1-i])
		f.Bytes = append(make([]byte, 0, f.Size), head...)
		f.Bytes[2] = f.Bytes[2]&0x0f | byte(f.index<<4)
		f.setMainDataBegin(f.mainDataBegin() + added)
		added += f.Size - before
		n := min(len(payloads), f.Size-f.payload())
		f.Bytes = append(f.Bytes, payloads[:n]...)[:f.Size]
		payloads = payloads[n:]
	}
	putReservoir(line, reservoir)
}

// putReservoir overwrites the end of the frames' payloads.
func putReservoir(line []Frame, b []byte) {
	for i := len(line) - 1; i >= 0 && len(b) > 0; i-- {
		p := line[i].Bytes[line[i].payload():]
		n := min(len(p), len(b))
		copy(p[len(p)-n:], b[len(b)-n:])
		b = b[:len(b)-n]
	}
}
