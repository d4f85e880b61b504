package remux

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"sort"
)

// Plan is a file to send. It is read at any offset, in any order, by any number of
// goroutines at a time, as long as the source can be: for parts that are sent again,
// for hashes, for a resume. The same source and options give the same bytes.
type Plan struct {
	Size      int64  // bytes to send
	Whole     bool   // the source is sent as it is
	Reason    Reason // why that is so; '' where not Whole
	Container string // what the source is: "mp4", "matroska", "mpegts"; '' for any other
	// Fingerprint says what the file is made of, in hex. A resumed upload goes on only
	// if it is still the same: another version of this package may plan another file.
	Fingerprint string

	r     io.ReaderAt
	parts []part // in the order of the file
}

// part is a run of bytes of the file: of its own, or of the source.
type part struct {
	at     int64  // in the file
	size   int64  // bytes
	own    []byte // nil where the bytes are the source's
	source int64  // where they are in the source
}

// Reason says in a stable word why the whole file is sent.
type Reason string

// Reasons of this package; those of [mp4.Reason] come besides.
const (
	UnknownContainer Reason = "unknown_container" // one that is not taken apart
	Pictures         Reason = "pictures"          // a cover is made of the pictures
	UnclearTrack     Reason = "unclear_track"     // who reads it may choose another track
	Unclear          Reason = "unclear"           // something in it is not understood to the last byte
	TooMany          Reason = "too_many_pieces"   // so many that the copy would be no gain
	VaryingRate      Reason = "varying_rate"      // how large its packets are is seen differently in a copy
	VaryingSound     Reason = "varying_sound"     // likewise, which sample rate and channels it has
	Late             Reason = "late"              // so late that a demuxer may not see it before it plays
	NothingSaved     Reason = "nothing_saved"     // the copy is hardly smaller
)

// whole plans to send the source as it is.
func whole(r io.ReaderAt, size int64, container string, why Reason) *Plan {
	b := builder{r: r}
	b.copy(0, size)
	p := b.plan(container)
	p.Whole, p.Reason = true, why
	return p
}

// builder puts a file together.
type builder struct {
	r     io.ReaderAt
	size  int64
	parts []part
}

// add appends bytes, which must not change any more.
func (b *builder) add(own []byte) {
	if len(own) == 0 {
		return
	}
	b.parts = append(b.parts, part{at: b.size, size: int64(len(own)), own: own})
	b.size += int64(len(own))
}

// copy appends bytes of the source.
func (b *builder) copy(offset, size int64) {
	if size == 0 {
		return
	}
	if n := len(b.parts); n > 0 && b.parts[n-1].own == nil && b.parts[n-1].source+b.parts[n-1].size == offset {
		b.parts[n-1].size += size
	} else {
		b.parts = append(b.parts, part{at: b.size, size: size, source: offset})
	}
	b.size += size
}

func (b *builder) plan(container string) *Plan {
	p := &Plan{Size: b.size, Container: container, r: b.r, parts: b.parts}
	h := sha256.New()
	var fields [24]byte
	for _, part := range p.parts {
		binary.BigEndian.PutUint64(fields[:], uint64(part.size))
		binary.BigEndian.PutUint64(fields[8:], uint64(part.source))
		binary.BigEndian.PutUint64(fields[16:], uint64(len(part.own)))
		h.Write(fields[:])
		h.Write(part.own)
	}
	p.Fingerprint = hex.EncodeToString(h.Sum(nil)[:16])
	return p
}

// ReadAt implements io.ReaderAt. Its errors are io.EOF and those of the source.
func (p *Plan) ReadAt(b []byte, off int64) (int, error) {
	read := 0
	for i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].at+p.parts[i].size > off }); i < len(p.parts) && read < len(b); i++ {
		part := p.parts[i]
		within := off + int64(read) - part.at
		n := int(min(int64(len(b)-read), part.size-within))
		if part.own != nil {
			copy(b[read:read+n], part.own[within:])
		} else if got, err := p.r.ReadAt(b[read:read+n], part.source+within); got < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // the source has become shorter
			}
			return read + got, err
		}
		read += n
	}
	if read < len(b) {
		return read, io.EOF
	}
	return read, nil
}

// NewReader reads the file from its beginning. It can seek.
func (p *Plan) NewReader() *io.SectionReader { return io.NewSectionReader(p, 0, p.Size) }
