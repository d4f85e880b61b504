package mp3

import "math"

// plan is how to make room behind the sound of a line of frames.
type plan struct {
	raised []int // indices of bit rates: of the last frame, of the one before it, …
	bytes  int   // that this adds
}

// planRoom makes room for need bytes. Frames are raised from the last one on.
// That puts more bytes between the payloads of those behind them and where
// their sound begins, which has a limit.
func planRoom(line []Frame, need int) (plan, bool) {
	var p plan
	last := len(line) - 1
	limit := line[last].maxBegin()
	missing := need - line[last].spare()
	most := math.MaxInt // that a frame may grow: none is behind the last
	for i := last; missing > 0; i-- {
		if i < 0 || most <= 0 {
			return plan{}, false
		}
		h := raise(line[i].Header, missing, most)
		added := h.Size - line[i].Size
		most = min(most-added, limit-line[i].begin())
		p.raised = append(p.raised, h.index)
		p.bytes += added
		missing -= added
	}
	return p, true
}

// raise returns the header at the lowest bit rate that gives want more bytes;
// where none does, at the highest that gives at most the given number.
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

// carryOut makes the room, and puts what it is for at its end.
func (p plan) carryOut(line []Frame, reservoir []byte) {
	raised := line[len(line)-len(p.raised):]
	var sound []byte
	for _, f := range raised {
		sound = append(sound, f.Bytes[f.payload():]...)
	}
	added := 0
	for i := range raised {
		f := &raised[i]
		head := f.Bytes[:f.payload()]
		before := f.Size
		f.Header = f.withIndex(p.raised[len(raised)-1-i])
		f.Bytes = append(make([]byte, 0, f.Size), head...)
		f.Bytes[2] = f.Bytes[2]&0x0f | byte(f.index<<4)
		f.setBegin(f.begin() + added)
		added += f.Size - before
		n := min(len(sound), f.Size-f.payload())
		f.Bytes = append(f.Bytes, sound[:n]...)[:f.Size]
		sound = sound[n:]
	}
	putBefore(line, reservoir)
}

// putBefore overwrites the end of the frames' payloads.
func putBefore(line []Frame, b []byte) {
	for i := len(line) - 1; i >= 0 && len(b) > 0; i-- {
		p := line[i].Bytes[line[i].payload():]
		n := min(len(p), len(b))
		copy(p[len(p)-n:], b[len(b)-n:])
		b = b[:len(b)-n]
	}
}
