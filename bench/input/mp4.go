package input

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// box is one of an MP4's boxes: with others in it, or with content.
type box struct {
	kind    string
	content []byte // of a box that is kept as it is
	inner   []*box
}

// holders are the boxes whose content matters here.
var holders = []string{"moov", "trak", "mdia", "minf", "stbl"}

var errDamaged = errors.New("not an MP4 as ffmpeg writes them")

// parseBoxes reads the boxes that content holds.
func parseBoxes(content []byte) ([]*box, error) {
	var boxes []*box
	for len(content) > 0 {
		if len(content) < 8 {
			return nil, errDamaged
		}
		size := int(binary.BigEndian.Uint32(content))
		if size < 8 || size > len(content) {
			return nil, errDamaged
		}
		b := &box{kind: string(content[4:8]), content: content[8:size]}
		if slices.Contains(holders, b.kind) {
			inner, err := parseBoxes(b.content)
			if err != nil {
				return nil, err
			}
			b.inner, b.content = inner, nil
		}
		boxes, content = append(boxes, b), content[size:]
	}
	return boxes, nil
}

// append writes the box.
func (b *box) append(to []byte) []byte {
	at := len(to)
	to = append(append(to, 0, 0, 0, 0), b.kind...)
	to = append(to, b.content...)
	for _, inner := range b.inner {
		to = inner.append(to)
	}
	binary.BigEndian.PutUint32(to[at:], uint32(len(to)-at))
	return to
}

// find returns the first box below b along a path, or an empty one.
func (b *box) find(path ...string) *box {
	for _, kind := range path {
		i := slices.IndexFunc(b.inner, func(inner *box) bool { return inner.kind == kind })
		if i < 0 {
			return &box{}
		}
		b = b.inner[i]
	}
	return b
}

// replace puts the box with in place of the inner boxes of these kinds.
func (b *box) replace(with *box, kinds ...string) {
	for i, inner := range b.inner {
		if slices.Contains(kinds, inner.kind) {
			b.inner[i] = with
		}
	}
}

// numbers are a box's content as 32-bit numbers; 0 beyond its end.
type numbers []byte

func (n numbers) at(i int) int {
	if 4*i+4 > len(n) {
		return 0
	}
	return int(binary.BigEndian.Uint32(n[4*i:]))
}

// long is the 64-bit number that begins at the 32-bit number i.
func (n numbers) long(i int) int64 { return int64(n.at(i))<<32 | int64(n.at(i+1)) }

// movie is an MP4's index.
type movie struct {
	ftyp, moov []byte // as in the file, with their headers
	tree       *box   // of moov
	tracks     []*track
}

// track is one track of a movie, in the order of the file.
type track struct {
	kind    string // vide, soun
	stbl    *box
	samples []sample
}

type sample struct {
	offset, size int64
	at           float64 // seconds at which the sample is decoded
}

// bytes is the size of all samples.
func (t *track) bytes() (sum int64) {
	for _, s := range t.samples {
		sum += s.size
	}
	return sum
}

// readMovie reads the index of a file of the given size.
func readMovie(file io.ReaderAt, size int64) (*movie, error) {
	m := &movie{}
	for at := int64(0); at < size && m.moov == nil; {
		var header [16]byte
		if _, err := file.ReadAt(header[:], at); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the index: %w", err)
		}
		length, kind := int64(binary.BigEndian.Uint32(header[:])), string(header[4:8])
		if length == 1 {
			length = int64(binary.BigEndian.Uint64(header[8:]))
		}
		if length < 8 || at+length > size {
			return nil, errDamaged
		}
		if kind == "ftyp" || kind == "moov" {
			content := make([]byte, length)
			if _, err := file.ReadAt(content, at); err != nil {
				return nil, fmt.Errorf("read the index: %w", err)
			}
			if kind == "ftyp" {
				m.ftyp = content
			} else {
				m.moov = content
			}
		}
		at += length
	}
	boxes, err := parseBoxes(m.moov)
	if err != nil || len(boxes) != 1 {
		return nil, errDamaged
	}
	m.tree = boxes[0]
	for _, b := range m.tree.inner {
		if b.kind == "trak" {
			m.tracks = append(m.tracks, readTrack(b))
		}
	}
	return m, nil
}

// readTrack finds the samples of a track.
func readTrack(trak *box) *track {
	t := &track{stbl: trak.find("mdia", "minf", "stbl")}
	if handler := trak.find("mdia", "hdlr").content; len(handler) >= 12 {
		t.kind = string(handler[8:12])
	}
	sizes := numbers(t.stbl.find("stsz").content)
	for i := range sizes.at(2) {
		size := sizes.at(1)
		if size == 0 {
			size = sizes.at(3 + i)
		}
		t.samples = append(t.samples, sample{size: int64(size)})
	}
	t.time(float64(numbers(trak.find("mdia", "mdhd").content).at(3)))
	t.locate()
	return t
}

// time sets when the samples are decoded, from runs of equal length.
func (t *track) time(timescale float64) {
	runs, ticks, n := numbers(t.stbl.find("stts").content), 0, 0
	for i := range runs.at(1) {
		for range runs.at(2 + 2*i) {
			if n < len(t.samples) {
				t.samples[n].at = float64(ticks) / timescale
				n++
			}
			ticks += runs.at(3 + 2*i)
		}
	}
}

// locate sets where the samples are. It uses the chunks' places and the runs of
// chunks that have the same number of samples.
func (t *track) locate() {
	runs := numbers(t.stbl.find("stsc").content)
	short, long := numbers(t.stbl.find("stco").content), numbers(t.stbl.find("co64").content)
	run, n := 0, 0
	for chunk := range max(short.at(1), long.at(1)) {
		for run+1 < runs.at(1) && runs.at(2+3*(run+1)) <= chunk+1 {
			run++
		}
		offset := int64(short.at(2 + chunk))
		if len(long) > 0 {
			offset = long.long(2 + 2*chunk)
		}
		for range runs.at(3 + 3*run) {
			if n < len(t.samples) {
				t.samples[n].offset = offset
				offset += t.samples[n].size
				n++
			}
		}
	}
}
