package mp4

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// Window is the part of a video track that has to be decoded.
type Window struct {
	From, To float64 // seconds on the clock of a demuxer
	// Keys is how many sync samples from From on are enough, without other
	// samples; 0 means all samples until To.
	Keys int
}

// What is read beyond a window. A demuxer seeks to the sync sample before the
// window by times of decoding, which may be a few pictures off. Behind the
// window, a decoder may hold back 16 pictures to put them in order. If only sync
// samples of closed groups are decoded, there is nothing to put in order. In
// those of open groups it finds no order, and gives them back late and with
// wrong times.
const (
	slack     = 1.0 // seconds on each side
	moreKeys  = 4   // sync samples behind the last that is wanted
	moreOpen  = 16  // still more of them in open groups
	moreShown = 20  // of all samples
)

// Part is what a demuxer reads of a video track to show a window.
type Part struct {
	Extents []Extent // ascending and apart from each other
	// End makes the track end behind the part in a copy of the index. A
	// demuxer may run far ahead of what is shown; there it has to stop. If it is
	// empty, the part reaches to the track's end.
	End []Patch
}

// Patch is bytes that replace others.
type Patch struct {
	Offset int64 // in the file
	Bytes  []byte
}

// What a demuxer reads of each track while it looks at the streams. That is one
// second (see media.lookShortly), in the order of times or, within a second, of
// the file. If no rate is known, it is 30 samples.
const (
	headSeconds = 2
	headSamples = 32
	maxHead     = 1 << 16 // samples
)

// maxSamples limits how many samples are looked at: three days at 60 pictures a
// second.
const maxSamples = 1 << 24

// Heads is what a demuxer reads of the tracks while it looks at the streams: the
// first seconds of each. The error is a Reason where the file has to be read as
// a whole, or one of the reader's.
func (m *Movie) Heads() ([]Extent, error) {
	var all []Extent
	for _, t := range m.Tracks {
		if t.Duration == 0 || t.External {
			continue // the track is empty, or its samples are in another file
		}
		if err := m.check(t); err != nil {
			return nil, err
		}
		n, until := 0, headSeconds*int64(t.Timescale)
		err := t.eachSample(m.file, func(s sample) error {
			switch {
			case n >= headSamples && s.at > until:
				return errEnough
			case n == maxHead:
				return LargeIndex
			}
			n++
			return m.collect(&all, s.Extent)
		})
		if err != nil {
			return nil, err
		}
	}
	return m.few(all)
}

// Shown is the part of a video track that shows a window. It may be a little
// longer. Errors are as of Heads.
func (m *Movie) Shown(t *Track, w Window) (Part, error) {
	if err := m.check(t); err != nil {
		return Part{}, err
	}
	if t.split || t.Skip < 0 {
		return Part{}, Edited
	}
	if t.partialSync {
		return Part{}, SyncSamples
	}
	var before, since []Extent // the last but one sync sample that is early enough, and the last one
	wanted, more := w.Keys, moreShown
	if w.Keys > 0 {
		more = moreKeys
	}
	reorder := float64(m.firstOffset(t)) / float64(t.Timescale)
	var key int64 // when the last sync sample is shown
	var open bool
	var end []Patch
	var last uint32 // the chunk to read to its end, if the track cannot end within it
	err := t.eachSample(m.file, func(s sample) (err error) {
		if last > 0 && s.chunk != last {
			return errEnough
		}
		at := t.Delay - t.Skip + float64(s.at)/float64(t.Timescale)
		early, late := at-reorder, at+reorder // when it may be shown
		if s.key {
			key = s.shown
		} else if w.Keys > 0 && !open && s.shown < key {
			open, more = true, more+moreOpen
		}
		switch {
		case s.key && late <= w.From-slack:
			before, since = since, nil
		case w.Keys > 0 && !s.key:
			return nil
		case last > 0:
		case early > w.To+slack, w.Keys > 0 && early > w.From+slack && wanted == 0:
			if more--; more >= 0 {
				break
			}
			var within bool
			if end, within, err = t.endBefore(m.file, s); err != nil {
				return err
			}
			if within {
				return errEnough
			}
			last = s.chunk
		case w.Keys > 0 && early > w.From+slack:
			wanted--
		}
		return m.collect(&since, s.Extent)
	})
	if err != nil {
		return Part{}, err
	}
	extents, err := m.few(append(before, since...))
	return Part{extents, end}, err
}

// endBefore returns what makes the track end before a sample, which is not its
// first one. If the last run of chunks does not begin with the sample's chunk,
// there is no room for a run that is shorter. Then the track ends with that
// chunk, and within is false.
func (t *Track) endBefore(r io.ReaderAt, s sample) (end []Patch, within bool, err error) {
	runs := t.stbl["stsc"]
	list, err := openTable(r, runs, 12)
	if err != nil {
		return nil, false, err
	}
	count := list.left
	var kept, description uint32
	for kept < count {
		e, err := list.next()
		if err != nil {
			return nil, false, err
		}
		first := binary.BigEndian.Uint32(e)
		if first <= s.chunk {
			description = binary.BigEndian.Uint32(e[8:])
		}
		if first >= s.chunk {
			break
		}
		kept++
	}
	chunks := s.chunk
	switch {
	case s.nth == 0:
		chunks--
	case kept < count:
		end = append(end, patch(runs.Body+8+12*int64(kept), s.chunk, s.nth, description))
		kept++
	default:
		offsets, _ := t.offsets()
		return []Patch{patch(offsets.Body+4, chunks)}, false, nil
	}
	// A demuxer refuses runs of chunks that do not exist.
	offsets, _ := t.offsets()
	return append(end, patch(runs.Body+4, kept), patch(offsets.Body+4, chunks)), true, nil
}

func patch(offset int64, fields ...uint32) Patch {
	p := Patch{Offset: offset}
	for _, f := range fields {
		p.Bytes = binary.BigEndian.AppendUint32(p.Bytes, f)
	}
	return p
}

// errEnough ends a walk over samples.
var errEnough = errors.New("enough")

// collect appends an extent, joined to the last one where they touch.
func (m *Movie) collect(all *[]Extent, e Extent) error {
	switch n := len(*all); {
	case e.Size == 0:
		return nil
	case e.Size > m.Size || e.Offset > m.Size-e.Size:
		return Truncated
	case n > 0 && (*all)[n-1].End() == e.Offset:
		(*all)[n-1].Size += e.Size
		return nil
	case n == maxExtents:
		return LargeIndex
	}
	*all = append(*all, e)
	return nil
}

// few sorts extents by offset and joins those that touch. If they are more than
// half of the file, it returns Dense.
func (m *Movie) few(all []Extent) ([]Extent, error) {
	slices.SortFunc(all, func(a, b Extent) int { return cmp.Compare(a.Offset, b.Offset) })
	var apart []Extent
	var sum int64
	for _, e := range all {
		n := len(apart)
		if n == 0 || e.Offset > apart[n-1].End() {
			apart, sum = append(apart, e), sum+e.Size
			continue
		}
		if more := e.End() - apart[n-1].End(); more > 0 {
			apart[n-1].Size, sum = apart[n-1].Size+more, sum+more
		}
	}
	if sum > m.Size/2 {
		return nil, Dense
	}
	return apart, nil
}

// sample is one sample of a track. If the track counts PCM frames, it is a
// chunk of them.
type sample struct {
	Extent
	at    int64  // when it is decoded, units of the track's timescale
	shown int64  // when it is shown, on a clock that may be shifted against that
	key   bool   // a sync sample
	chunk uint32 // the number of its chunk, from 1
	nth   uint32 // its number in the chunk, from 0
}

// eachSample calls f for the samples in their order until it returns errEnough.
func (t *Track) eachSample(r io.ReaderAt, f func(sample) error) error {
	times, err := t.openTimes(r)
	if err != nil {
		return err
	}
	waits, err := t.openWaits(r)
	if err != nil {
		return err
	}
	keys, err := t.openKeys(r)
	if err != nil {
		return err
	}
	sizes, err := t.openSizes(r)
	if err != nil {
		return err
	}
	seen, number := 0, uint32(0)
	err = t.eachChunk(r, func(c chunk) error {
		number++
		n := c.samples
		if t.frames() {
			n = 1
		}
		for i := range n {
			if seen++; seen > maxSamples {
				return LargeIndex
			}
			s := sample{Extent: Extent{c.offset, c.size}, chunk: number, nth: uint32(i)}
			var err error
			if t.frames() {
				s.at, err = times.next(c.samples)
			} else if s.Size, err = sizes.next(); err == nil {
				s.at, err = times.next(1)
			}
			if err != nil {
				return err
			}
			if s.key, err = keys.next(); err != nil {
				return err
			}
			wait, err := waits.next()
			if err != nil {
				return err
			}
			s.shown = s.at + wait
			c.offset += s.Size
			if err := f(s); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// times tells when samples are decoded.
type times struct {
	list        *table
	left        int64 // samples of the entry
	at, between int64
}

func (t *Track) openTimes(r io.ReaderAt) (*times, error) {
	list, err := openTable(r, t.stbl["stts"], 8)
	return &times{list: list}, err
}

// next is the time of the next one of n samples.
func (s *times) next(n int64) (int64, error) {
	at := s.at
	for n > 0 {
		for s.left == 0 {
			e, err := s.list.next()
			if err != nil {
				return 0, err
			}
			if e == nil || int32(binary.BigEndian.Uint32(e[4:])) < 0 { // a demuxer corrects its times
				return 0, Malformed
			}
			s.left, s.between = int64(binary.BigEndian.Uint32(e)), int64(binary.BigEndian.Uint32(e[4:]))
		}
		some := min(n, s.left)
		s.at, s.left, n = s.at+some*s.between, s.left-some, n-some
	}
	return at, nil
}

// waits tells how long after their decoding samples are shown: at once if there
// is no list, or behind its end.
type waits struct {
	list *table
	left uint32 // samples of the entry
	wait int64
}

func (t *Track) openWaits(r io.ReaderAt) (*waits, error) {
	b, ok := t.stbl["ctts"]
	if !ok {
		return &waits{}, nil
	}
	list, err := openTable(r, b, 8)
	return &waits{list: list}, err
}

// next is the wait of the next sample.
func (w *waits) next() (int64, error) {
	for w.left == 0 {
		if w.list == nil {
			return 0, nil
		}
		e, err := w.list.next()
		if err != nil {
			return 0, err
		}
		if e == nil {
			return 0, nil
		}
		w.left, w.wait = binary.BigEndian.Uint32(e), int64(int32(binary.BigEndian.Uint32(e[4:])))
	}
	w.left--
	return w.wait, nil
}

// keys says which samples are sync samples: those in the list, or all if there
// is no list.
type keys struct {
	list   *table
	number uint32 // of the next sample, from 0
	key    uint32 // the next sync sample, from 1; 0 behind the last
}

func (t *Track) openKeys(r io.ReaderAt) (*keys, error) {
	b, ok := t.stbl["stss"]
	if !ok {
		return &keys{}, nil
	}
	list, err := openTable(r, b, 4)
	if err != nil {
		return nil, err
	}
	k := &keys{list: list}
	if list.left == 0 { // a demuxer has to guess then
		return nil, SyncSamples
	}
	return k, k.read()
}

// read looks at the sync sample after.
func (k *keys) read() error {
	e, err := k.list.next()
	if err != nil {
		return err
	}
	last := k.key
	if k.key = 0; e == nil {
		return nil
	}
	if k.key = binary.BigEndian.Uint32(e); k.key <= last {
		return SyncSamples
	}
	return nil
}

// next reports whether the next sample is a sync sample.
func (k *keys) next() (bool, error) {
	if k.list == nil {
		return true, nil
	}
	if k.number++; k.number != k.key {
		return false, nil
	}
	return true, k.read()
}
