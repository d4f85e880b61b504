package mp3

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrNoSeam says that two runs cannot be joined: the first has no space for the
// bit reservoir of the second. A run that was encoded without a reservoir can
// always be joined.
var ErrNoSeam = errors.New("no space for the bit reservoir")

// Lookahead is the number of frames at the beginning of a run among which the
// seam is chosen.
const Lookahead = 8

// Joiner writes runs of frames, which an encoder made of overlapping stretches
// of one signal, as one stream.
//
// The main data of a frame may begin in the payloads of earlier frames: the bit
// reservoir. At a seam, the reservoir of the new run is moved into the space
// that the last frames before it left free. The seam is placed where that costs
// least. If there is no free space at all, these frames get a higher bit rate.
type Joiner struct {
	w    *Writer
	run  []Frame // the newest, not yet written
	own  int     // how many of these frames are the run's own, before those of the next run
	cost Cost
}

// Cost is what joining cost.
type Cost struct {
	Seams  int
	Raised int // frames that got a higher bit rate
	Bytes  int // added by that
}

// NewJoiner returns a joiner of runs into w.
func NewJoiner(w *Writer) *Joiner { return &Joiner{w: w} }

// Run splits what an encoder wrote into its frames, which share b's memory.
// It refuses an information frame, and checksums, which joining would spoil.
func Run(b []byte) ([]Frame, error) {
	var run []Frame
	for f, err := range Frames(bytes.NewReader(b)) {
		switch {
		case err != nil:
			return nil, err
		case f.protected || f.IsInfo():
			return nil, fmt.Errorf("%w: frame %d has a checksum or holds no audio", ErrFormat, len(run))
		case f.mainDataSize() > f.mainDataBegin()+f.Size-f.payload():
			return nil, fmt.Errorf("%w: frame %d has more main data than bytes", ErrFormat, len(run))
		}
		f.Bytes, b = b[:f.Size:f.Size], b[f.Size:]
		run = append(run, f)
	}
	return run, nil
}

// Append joins a run. Its first lead frames repeat frames of the runs before
// it. Then come the own frames, and after them frames of the next run's
// beginning; up to [Lookahead] of these are used. After an error that wraps
// [ErrNoSeam], another run of the same frames may be tried. Otherwise the run's
// bytes now belong to the joiner.
func (j *Joiner) Append(run []Frame, lead, own int) error {
	if lead < 0 || own < 0 || lead+own > len(run) {
		return fmt.Errorf("%w: run of %d frames, want %d", ErrFormat, len(run), lead+own)
	}
	if len(j.run) == 0 {
		if own > 0 && run[lead].mainDataBegin() > 0 {
			return fmt.Errorf("%w: the first frame begins before the stream", ErrFormat)
		}
		j.run, j.own = run[lead:], own
		return nil
	}
	at, err := j.join(run[:lead+own], lead)
	if err != nil {
		return err
	}
	if err := j.flush(); err != nil {
		return err
	}
	j.run, j.own = run[at:], lead+own-at
	return nil
}

// Close writes what was kept back. It does not close the writer.
func (j *Joiner) Close() (Cost, error) {
	return j.cost, j.flush()
}

func (j *Joiner) flush() error {
	for _, f := range j.run[:j.own] {
		if err := j.w.WriteFrame(f.Bytes); err != nil {
			return err
		}
	}
	j.run, j.own = nil, 0
	return nil
}

// join chooses the seam and frees the space. It returns the frame at which the
// run takes over.
func (j *Joiner) join(run []Frame, lead int) (at int, err error) {
	best, chosen, found := 0, reservoirPlan{}, false
	for ahead := 0; ahead <= Lookahead && j.own+ahead <= len(j.run) && lead+ahead < len(run); ahead++ {
		p, ok := planReservoir(j.run[:j.own+ahead], run[lead+ahead].mainDataBegin())
		if ok && (!found || p.bytes < chosen.bytes) {
			best, chosen, found = ahead, p, true
		}
		if found && chosen.bytes == 0 {
			break
		}
	}
	if !found {
		return 0, ErrNoSeam
	}
	at = lead + best
	reservoir, err := reservoirBefore(run[:at], run[at].mainDataBegin())
	if err != nil {
		return 0, err
	}
	j.own += best
	chosen.apply(j.run[:j.own], reservoir)
	j.cost.Seams++
	j.cost.Raised += len(chosen.raised)
	j.cost.Bytes += chosen.bytes
	return at, nil
}

// reservoirBefore returns a copy of the last n bytes of the frames' payloads.
func reservoirBefore(run []Frame, n int) ([]byte, error) {
	out := make([]byte, n)
	rest := out
	for i := len(run) - 1; i >= 0 && len(rest) > 0; i-- {
		p := run[i].Bytes[run[i].payload():]
		k := min(len(p), len(rest))
		copy(rest[len(rest)-k:], p[len(p)-k:])
		rest = rest[:len(rest)-k]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: a frame begins before its run", ErrFormat)
	}
	return out, nil
}
