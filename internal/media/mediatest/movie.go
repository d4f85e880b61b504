package mediatest

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
)

// movie is an MP4 or MOV whose index is changed box by box. Whatever is written
// behind the samples keeps its place, so the index should stand last or keep its
// size.
type movie struct {
	t             testing.TB
	before, after []byte
	moov          *node
}

// readMovie reads a file with its index.
func readMovie(t testing.TB, path string) *movie {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+8 <= len(b); {
		size := boxSize(b[at:])
		if string(b[at+4:at+8]) == "moov" {
			return &movie{t, b[:at], b[at+size:], &node{kind: "moov", kids: parseNodes(b[at+8 : at+size])}}
		}
		at += size
	}
	t.Fatalf("%s has no index", path)
	return nil
}

// change rewrites the index of a file in its place.
func change(t testing.TB, path string, f func(m *movie)) {
	t.Helper()
	m := readMovie(t, path)
	f(m)
	write(t, path, m.before, m.moov.encode(), m.after)
}

// traks are the tracks with a handler, such as "soun".
func (m *movie) traks(handler string) (list []*node) {
	for _, k := range m.moov.kids {
		if k.kind == "trak" && string(k.child("mdia", "hdlr").body[8:12]) == handler {
			list = append(list, k)
		}
	}
	return list
}

// sound is the first audio track.
func (m *movie) sound() *node { return m.traks("soun")[0] }

// table is a box of a track's sample table.
func (n *node) table(kind string) *node { return n.child("mdia", "minf", "stbl", kind) }

// without removes the boxes of a kind.
func (n *node) without(kind string) {
	var kids []*node
	for _, k := range n.kids {
		if k.kind != kind {
			kids = append(kids, k)
		}
	}
	n.kids = kids
}

// samples is how many samples a track has.
func (n *node) samples() int { return int(fields(n.table("stsz").body, 8)[0]) }

// sizes lists the size of each sample.
func (n *node) sizes() []uint32 {
	z := fields(n.table("stsz").body, 4)
	if z[0] == 0 {
		return z[2:]
	}
	list := make([]uint32, z[1])
	for i := range list {
		list[i] = z[0]
	}
	return list
}

// offsets lists where each sample begins.
func (n *node) offsets() []uint32 {
	sizes, runs := n.sizes(), fields(n.table("stsc").body, 8)
	var list []uint32
	for i, at := range fields(n.table("stco").body, 8) {
		per := uint32(0)
		for r := 0; r < len(runs) && runs[r] <= uint32(i+1); r += 3 {
			per = runs[r+1]
		}
		for range per {
			if len(list) == len(sizes) {
				break
			}
			list = append(list, at)
			at += sizes[len(list)-1]
		}
	}
	return list
}

// scatter gives each sample a chunk of its own, so that they may lie anywhere.
func (n *node) scatter(offsets, sizes []uint32) {
	count := uint32(len(sizes))
	n.table("stsz").body = full(0, append([]uint32{0, count}, sizes...)...)
	n.table("stco").body = full(0, append([]uint32{count}, offsets...)...)
	n.table("stsc").body = full(0, 1, 1, 1, 1)
}

// times are pairs of a number of samples and their length in ticks.
func (n *node) times(pairs ...uint32) {
	n.table("stts").body = full(0, append([]uint32{uint32(len(pairs) / 2)}, pairs...)...)
}

// edits are triples: length on the movie's clock, start on the track's (-1 for
// a pause), rate.
func (n *node) edits(triples ...int64) {
	values := []uint32{uint32(len(triples) / 3)}
	for _, v := range triples {
		values = append(values, uint32(v))
	}
	n.without("edts")
	edts := &node{kind: "edts", kids: []*node{{kind: "elst", body: full(0, values...)}}}
	n.kids = append(n.kids[:1:1], append([]*node{edts}, n.kids[1:]...)...)
}

// rename replaces the four letters of a sample description, or of a box in it.
func (n *node) rename(from, to string) {
	stsd := n.table("stsd")
	stsd.body = bytes.Replace(stsd.body, []byte(from), []byte(to), 1)
}

// put writes a number into a body.
func put(b []byte, at int, v uint32) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[at:], v)
	return b
}

// box is a whole box.
func box(kind string, body ...[]byte) []byte {
	all := bytes.Join(body, nil)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(all)+8)), kind...), all...)
}

// topBoxes lists the outermost boxes.
func topBoxes(b []byte) (list []part) {
	for at := 0; at+8 <= len(b); {
		size := boxSize(b[at:])
		list = append(list, part{string(b[at+4 : at+8]), at, at + size})
		at += size
	}
	return list
}

// part is a stretch of a file.
type part struct {
	kind       string
	begin, end int
}

// lastOf is the last part of a kind.
func lastOf(list []part, kind string) part {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].kind == kind {
			return list[i]
		}
	}
	return part{}
}
