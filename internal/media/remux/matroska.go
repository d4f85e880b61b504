package remux

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"tonearm/internal/media/container"
	"tonearm/internal/media/ebml"
)

// Elements of Matroska (RFC 9559, 5.1).
const (
	mkvHeader    = 0x1a45dfa3
	mkvVoid      = 0xec
	mkvCRC       = 0xbf
	mkvAttached  = 0x1941a469
	mkvTimestamp = 0xe7
	mkvPosition  = 0xa7
	mkvPrevSize  = 0xab
	mkvSimple    = 0xa3
	mkvGroup     = 0xa0
	mkvBlock     = 0xa1
)

// topLevel are the elements that end a cluster of unknown size.
var topLevel = []uint32{ebml.SeekHead, ebml.Info, ebml.Tracks, ebml.Chapters, ebml.Tags, mkvAttached, ebml.Cues, ebml.Cluster}

// Limits of what is held in memory.
const (
	maxPieces = 4 << 20  // runs of blocks
	maxHead   = 64 << 20 // bytes of a seek head
)

// Limits of the clock.
const (
	maxScale = 1_000_000_000     // nanoseconds of a tick
	maxClock = math.MaxInt64 / 4 // nanoseconds
)

// matroska plans a copy of a Matroska or WebM file: the same segment, with the same
// elements in the same order, but for the index and the blocks of other tracks.
// Everything else is copied byte by byte.
func (w *walker) matroska() (*Plan, error) {
	w.container = "matroska"
	if w.o.Pictures {
		return nil, leave(Pictures)
	}
	k := &matroska{w: w, r: &window{r: w.r}}
	err := k.walk()
	if k.r.err != nil {
		return nil, k.r.err
	}
	if err != nil {
		return nil, err
	}
	p, err := k.copy()
	if err != nil {
		return nil, err
	}
	return p, k.same(p)
}

// matroska is a file that is taken apart.
type matroska struct {
	w       *walker
	r       *window
	segment ebml.Element
	tracks  []mkvTrack
	chosen  *mkvTrack
	scale   int64   // nanoseconds of a tick
	pieces  []piece // of the segment, in their order
	blocks  int     // runs of them in all pieces
}

// piece is one element of the segment.
type piece struct {
	ebml.Element
	stamp  ebml.Element // of a cluster
	blocks []run
}

// run is some blocks of one track that lie side by side in a cluster.
type run struct {
	track        *mkvTrack
	offset, size int64
}

// walk looks at every element of the file.
func (k *matroska) walk() error {
	if err := k.findSegment(); err != nil {
		return err
	}
	end := k.segment.End()
	if k.segment.Size < 0 {
		end = k.w.size
	}
	if end != k.w.size {
		return leave(Unclear)
	}
	for at := k.segment.Body; at < end; {
		e, ok := ebml.Read(k.r, at, end)
		if !ok || e.Size < 0 && e.ID != ebml.Cluster || e.Size >= 0 && e.End() > end {
			return leave(Unclear)
		}
		p := piece{Element: e}
		at = e.End()
		switch e.ID {
		case mkvVoid, mkvCRC, ebml.Cues:
			continue
		case ebml.Cluster:
			if k.chosen == nil {
				if k.scale == 0 {
					return leave(Unclear)
				}
				if err := k.choose(); err != nil {
					return err
				}
			}
			var err error
			if at, err = k.cluster(&p, min(at, end)); err != nil {
				return err
			}
			if e.Size >= 0 && at != e.End() {
				return leave(Unclear)
			}
		case ebml.Info:
			if k.scale != 0 { // one is enough
				return leave(Unclear)
			}
			scale := cmp.Or(e.Child(k.r, ebml.Scale).Uint(k.r), 1e6)
			if scale > maxScale {
				return leave(Unclear)
			}
			k.scale = int64(scale)
			if d := e.Child(k.r, ebml.Duration).Float(k.r); k.segment.Size < 0 && d != 0 {
				return leave(Unclear) // whether it is whole is seen by other tracks
			}
		case ebml.Tracks:
			if k.chosen != nil || len(k.tracks) > 0 {
				return leave(UnclearTrack)
			}
			if err := k.readTracks(e); err != nil {
				return err
			}
		case ebml.SeekHead, ebml.Chapters, ebml.Tags, mkvAttached:
		default:
			return leave(Unclear)
		}
		k.pieces = append(k.pieces, p)
	}
	if k.chosen == nil || k.chosen.count == 0 {
		return leave(UnclearTrack)
	}
	return k.inTime()
}

func (k *matroska) findSegment() error {
	for at := int64(0); at < k.w.size; {
		e, ok := ebml.Read(k.r, at, k.w.size)
		switch {
		case !ok:
			return leave(Unclear)
		case e.ID == ebml.Segment:
			k.segment = e
			return nil
		case e.ID != mkvHeader && e.ID != mkvVoid, e.Size < 0, e.End() > 64<<10:
			return leave(Unclear)
		}
		at = e.End()
	}
	return leave(Unclear)
}

// cluster takes the blocks of a cluster that ends at an offset, or before the next
// element of the segment if its size is unknown. It returns where it ends.
func (k *matroska) cluster(p *piece, end int64) (int64, error) {
	at, stamp := p.Body, int64(-1)
	for at < end {
		e, ok := ebml.Read(k.r, at, end)
		if ok && p.Size < 0 && slices.Contains(topLevel, e.ID) {
			return at, nil
		}
		if !ok || e.Size < 0 || e.End() > end {
			return 0, leave(Unclear)
		}
		switch e.ID {
		case mkvTimestamp:
			if p.stamp.ID != 0 {
				return 0, leave(Unclear)
			}
			n := e.Uint(k.r)
			if n > uint64(maxClock/k.scale) {
				return 0, leave(Unclear)
			}
			p.stamp, stamp = e, int64(n)
		case mkvSimple, mkvGroup:
			if stamp < 0 {
				return 0, leave(Unclear)
			}
			if err := k.block(p, e, stamp); err != nil {
				return 0, err
			}
		case mkvPosition, mkvPrevSize, mkvVoid, mkvCRC:
		default:
			return 0, leave(Unclear)
		}
		at = e.End()
	}
	return at, nil
}

// block takes a SimpleBlock or a BlockGroup of a cluster that begins at a time stamp.
func (k *matroska) block(p *piece, e ebml.Element, stamp int64) error {
	b := e
	if e.ID == mkvGroup {
		var ok bool
		if b, ok = k.inGroup(e); !ok {
			return leave(Unclear)
		}
	}
	var h [16]byte
	n, _ := k.r.ReadAt(h[:min(int64(len(h)), b.Size)], b.Body)
	number, width := ebml.Vint(h[:n])
	if width == 0 || n < width+3 {
		return leave(Unclear)
	}
	t := k.track(number)
	if t == nil {
		return leave(Unclear)
	}
	at := stamp + int64(int16(binary.BigEndian.Uint16(h[width:])))
	t.saw(at*k.scale-t.delay, e.At)
	if t == k.chosen {
		if err := k.watch(b, int64(width+2), h[width+2]); err != nil {
			return err
		}
	} else if t.count > firstBlocks {
		return nil
	}
	if last := len(p.blocks) - 1; last >= 0 && p.blocks[last].track == t && p.blocks[last].offset+p.blocks[last].size == e.At {
		p.blocks[last].size += e.End() - e.At
		return nil
	}
	if k.blocks++; k.blocks > maxPieces {
		return leave(TooMany)
	}
	p.blocks = append(p.blocks, run{t, e.At, e.End() - e.At})
	return nil
}

// inGroup returns the only block of a group, whose children fill it.
func (k *matroska) inGroup(group ebml.Element) (block ebml.Element, ok bool) {
	blocks := 0
	whole := k.children(group, func(e ebml.Element) {
		if e.ID == mkvBlock {
			block = e
			blocks++
		}
	})
	return block, whole && blocks == 1
}

// children calls f for the elements in another one. It reports false if they do not fill
// it.
func (k *matroska) children(parent ebml.Element, f func(ebml.Element)) bool {
	at := parent.Body
	for at < parent.End() {
		e, ok := ebml.Read(k.r, at, parent.End())
		if !ok || e.Size < 0 || e.End() > parent.End() {
			return false
		}
		f(e)
		at = e.End()
	}
	return true
}

// copy puts the file together.
func (k *matroska) copy() (*Plan, error) {
	for i := range k.tracks {
		k.tracks[i].early = k.tracks[i].before(k.chosen, k.scale)
	}
	var made []builder // of each piece
	var kept []piece
	for _, p := range k.pieces {
		b := builder{r: k.w.r}
		switch p.ID {
		case ebml.Cluster:
			if !k.copyCluster(&b, p) {
				continue
			}
		case ebml.SeekHead:
			head, err := k.seekHead(p.Element)
			if err != nil {
				return nil, err
			}
			b.add(head)
		default:
			b.copy(p.At, p.End()-p.At)
		}
		made, kept = append(made, b), append(kept, p)
	}
	moved, size := map[int64]int64{}, int64(0) // positions in the segment
	for i, p := range kept {
		moved[p.At-k.segment.Body] = size
		size += made[i].size
	}
	out := builder{r: k.w.r}
	out.copy(0, k.segment.At)
	if k.segment.Size < 0 {
		out.copy(k.segment.At, k.segment.Body-k.segment.At)
	} else {
		out.add(ebmlHead(ebml.Segment, size))
	}
	for i, p := range kept {
		if p.ID == ebml.SeekHead && !moveSeeks(made[i].parts[0].own, moved) {
			return nil, leave(Unclear)
		}
		for _, part := range made[i].parts {
			if part.own != nil {
				out.add(part.own)
			} else {
				out.copy(part.source, part.size)
			}
		}
	}
	return out.plan(k.w.container), nil
}

// copyCluster copies the blocks that are kept of a cluster. It reports false if there
// are none.
func (k *matroska) copyCluster(b *builder, p piece) bool {
	size := int64(0)
	for _, r := range p.blocks {
		if r.track == k.chosen || r.track.early {
			size += r.size
		}
	}
	if size == 0 {
		return false
	}
	b.add(ebmlHead(ebml.Cluster, size+p.stamp.End()-p.stamp.At))
	b.copy(p.stamp.At, p.stamp.End()-p.stamp.At)
	for _, r := range p.blocks {
		if r.track == k.chosen || r.track.early {
			b.copy(r.offset, r.size)
		}
	}
	return true
}

// ebmlHead is the id of 4 bytes and the size of an element.
func ebmlHead(id uint32, size int64) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	return binary.BigEndian.AppendUint64(b, 1<<56|uint64(size))
}

// seekHead is a list of elements like another one, without the index and clusters. It
// has the old positions.
func (k *matroska) seekHead(e ebml.Element) ([]byte, error) {
	if e.Size > maxHead {
		return nil, leave(TooMany)
	}
	var entries []byte
	understood := true
	whole := k.children(e, func(s ebml.Element) {
		if s.ID != ebml.Seek {
			return
		}
		id, position := s.Child(k.r, ebml.SeekID), s.Child(k.r, ebml.SeekPosition)
		switch n := id.Uint(k.r); {
		case id.Size != 4 || position.ID == 0 || position.Size > 8:
			understood = false
		case n == ebml.Cues || n == ebml.Cluster:
		default:
			entry := binary.BigEndian.AppendUint16(nil, ebml.SeekID)
			entry = binary.BigEndian.AppendUint32(append(entry, 0x84), uint32(n))
			entry = append(binary.BigEndian.AppendUint16(entry, ebml.SeekPosition), 0x88)
			entry = binary.BigEndian.AppendUint64(entry, position.Uint(k.r))
			entries = append(binary.BigEndian.AppendUint16(entries, ebml.Seek), 0x80|byte(len(entry)))
			entries = append(entries, entry...)
		}
	})
	if !whole || !understood {
		return nil, leave(Unclear)
	}
	return append(ebmlHead(ebml.SeekHead, int64(len(entries))), entries...), nil
}

// seekEntry is how many bytes an entry of seekHead has.
const seekEntry = 3 + 7 + 11

// moveSeeks writes the new positions into a seek head. It reports false if one of the
// elements is not there.
func moveSeeks(head []byte, moved map[int64]int64) bool {
	for b := head[ebmlHeadSize:]; len(b) >= seekEntry; b = b[seekEntry:] {
		at := b[seekEntry-8:]
		to, ok := moved[int64(binary.BigEndian.Uint64(at))]
		if !ok {
			return false
		}
		binary.BigEndian.PutUint64(at, uint64(to))
	}
	return true
}

const ebmlHeadSize = 12

// same compares what the copy says with what the file says.
func (k *matroska) same(p *Plan) error {
	is, err := container.Inspect(p, p.Size)
	if err != nil {
		return err
	}
	was := k.w.structure
	if is.Whole != was.Whole || is.Late != was.Late || is.Streamable != was.Streamable || is.Open != was.Open || !slices.Equal(is.Tracks, was.Tracks) ||
		is.Size != 0 && is.Size != p.Size || (is.Size == 0) != (was.Size == 0) {
		return leave(Unclear)
	}
	return nil
}
