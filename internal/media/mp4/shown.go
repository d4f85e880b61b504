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

// What a demuxer reads beyond a window. It seeks to the sync sample before the
// window by times of decoding, which may be a few pictures off. It reads on
// until the decoder, which holds pictures back to put them in order, returns
// one that lies behind the window. With ffmpeg that took up to two sync
// samples, or up to ten samples of any kind. A codec may hold back 16. Reading
// too many sync samples is expensive; too few are noticed.
const (
	slack     = 1.0 // seconds on each side
	moreKeys  = 4   // sync samples behind the last that is wanted
	moreShown = 20  // of all samples
)

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

// Shown is what a demuxer reads of a video track to show a window, or a little
// more. Errors are as of Heads.
func (m *Movie) Shown(t *Track, w Window) ([]Extent, error) {
	if err := m.check(t); err != nil {
		return nil, err
	}
	if t.pieces() || t.Skip < 0 {
		return nil, Edited
	}
	if t.partialSync {
		return nil, SyncSamples
	}
	var before, since []Extent // the last but one sync sample that is early enough, and the last one
	begin := t.Delay - t.Skip + float64(m.firstOffset(t))/float64(t.Timescale)
	wanted, more := w.Keys, moreShown
	if w.Keys > 0 {
		more = moreKeys
	}
	err := t.eachSample(m.file, func(s sample) error {
		at := begin + float64(s.at)/float64(t.Timescale)
		switch {
		case s.key && at <= w.From-slack:
			before, since = since, nil
		case w.Keys > 0 && !s.key:
			return nil
		case at > w.To+slack, w.Keys > 0 && at > w.From+slack && wanted == 0:
			if more--; more < 0 {
				return errEnough
			}
		case w.Keys > 0 && at > w.From+slack:
			wanted--
		}
		return m.collect(&since, s.Extent)
	})
	if err != nil {
		return nil, err
	}
	return m.few(append(before, since...))
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
	at  int64 // when it is decoded, units of the track's timescale
	key bool  // a sync sample
}

// eachSample calls f for the samples in their order until it returns errEnough.
func (t *Track) eachSample(r io.ReaderAt, f func(sample) error) error {
	times, err := t.openTimes(r)
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
	seen := 0
	err = t.eachChunk(r, func(c chunk) error {
		n := c.samples
		if t.frames() {
			n = 1
		}
		for range n {
			if seen++; seen > maxSamples {
				return LargeIndex
			}
			s := sample{Extent: Extent{c.offset, c.size}}
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
			if e == nil {
				return 0, Malformed
			}
			s.left, s.between = int64(binary.BigEndian.Uint32(e)), int64(sttsDelta(e))
		}
		some := min(n, s.left)
		s.at, s.left, n = s.at+some*s.between, s.left-some, n-some
	}
	return at, nil
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
