package mediatest

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
)

// Layout is how Remux lays an MP4 out anew, as encoders other than ffmpeg do.
type Layout struct {
	ChunkSeconds float64      // one chunk per track and so many seconds, as cameras write
	First        bool         // the index stands before the samples
	Long         bool         // 64-bit chunk offsets (co64)
	Compact      bool         // 16-bit sample sizes (stz2)
	Descriptions bool         // each track has its sample description twice
	Edits        [][2]float64 // of the audio tracks: seconds of length and start
}

// Remux writes an MP4 or MOV file with complete tables anew.
func Remux(t testing.TB, from, to string, l Layout) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var head, moov []byte
	for b := content; len(b) >= 8; {
		size := boxSize(b)
		switch string(b[4:8]) {
		case "ftyp":
			head = b[:size]
		case "moov":
			moov = b[8:size]
		}
		b = b[size:]
	}
	r := remuxer{layout: l, content: content, base: int64(len(head)) + 16}
	r.moov = parseNodes(moov)
	index := r.index() // once for its size
	if l.First {
		r.base += int64(len(index))
	}
	index = r.index()
	var data []byte
	for _, c := range r.order {
		data = append(data, c.bytes...)
	}
	mdat := binary.BigEndian.AppendUint64([]byte("\x00\x00\x00\x01mdat"), uint64(len(data)+16))
	parts := [][]byte{head, mdat, data, index}
	if l.First {
		parts = [][]byte{head, index, mdat, data}
	}
	if err := os.WriteFile(to, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

type remuxer struct {
	layout  Layout
	content []byte
	base    int64 // where the samples begin
	moov    []*node
	order   []*piece
}

// piece is a new chunk.
type piece struct {
	bytes   []byte
	samples int
	at      int64
}

// node is a box.
type node struct {
	kind string
	body []byte
	kids []*node
}

func boxSize(b []byte) int {
	size := int(binary.BigEndian.Uint32(b))
	switch {
	case size == 1:
		return int(binary.BigEndian.Uint64(b[8:]))
	case size < 8 || size > len(b):
		return len(b)
	}
	return size
}

func parseNodes(b []byte) []*node {
	var list []*node
	for len(b) >= 8 {
		size := boxSize(b)
		n := &node{kind: string(b[4:8]), body: b[8:size]}
		switch n.kind {
		case "trak", "mdia", "minf", "stbl", "edts":
			n.kids = parseNodes(n.body)
		}
		list = append(list, n)
		b = b[size:]
	}
	return list
}

func (n *node) encode() []byte {
	body := n.body
	if n.kids != nil {
		body = nil
		for _, k := range n.kids {
			body = append(body, k.encode()...)
		}
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)+8))
	return append(append(b, n.kind...), body...)
}

// child descends by kinds; nil where there is none.
func (n *node) child(path ...string) *node {
	for _, kind := range path {
		var next *node
		for _, k := range n.kids {
			if k.kind == kind {
				next = k
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}

func fields(b []byte, at int) (list []uint32) {
	for at += 4; at <= len(b); at += 4 {
		list = append(list, binary.BigEndian.Uint32(b[at-4:]))
	}
	return list
}

func full(version uint32, values ...uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, version<<24)
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// index is the moov box for the new layout. It also fills order.
func (r *remuxer) index() []byte {
	root := &node{kind: "moov", kids: parseNodes((&node{kind: "moov", kids: r.moov}).encode()[8:])}
	timescale := fields(root.child("mvhd").body, 12)[0]
	var traks []*node
	var pieces [][]*piece // by track and time
	longest := 0
	for _, k := range root.kids {
		if k.kind != "trak" {
			continue
		}
		p := r.pieces(k)
		traks, pieces = append(traks, k), append(pieces, p)
		longest = max(longest, len(p))
	}
	r.order = nil
	at := r.base
	for i := range longest {
		for _, p := range pieces {
			if i < len(p) && p[i].samples > 0 {
				p[i].at = at
				at += int64(len(p[i].bytes))
				r.order = append(r.order, p[i])
			}
		}
	}
	for i, k := range traks {
		r.tables(k, pieces[i], timescale)
	}
	return root.encode()
}

// pieces gathers a track's samples by time.
func (r *remuxer) pieces(trak *node) []*piece {
	stbl := trak.child("mdia", "minf", "stbl")
	var offsets []int64
	if co := stbl.child("stco"); co != nil {
		for _, o := range fields(co.body, 8) {
			offsets = append(offsets, int64(o))
		}
	} else {
		list := fields(stbl.child("co64").body, 8)
		for i := 0; i < len(list); i += 2 {
			offsets = append(offsets, int64(list[i])<<32|int64(list[i+1]))
		}
	}
	runs := fields(stbl.child("stsc").body, 8)
	stsz := fields(stbl.child("stsz").body, 4)
	stts := fields(stbl.child("stts").body, 8)
	scale := float64(fields(trak.child("mdia", "mdhd").body, 12)[0])

	var list []*piece
	sample, run, entry, used, now := 0, 0, 0, uint32(0), uint64(0)
	for i, at := range offsets {
		if 3*run+3 < len(runs) && int(runs[3*run+3]) == i+1 {
			run++
		}
		for range runs[3*run+1] {
			if sample == int(stsz[1]) {
				break
			}
			size := int64(stsz[0])
			if size == 0 {
				size = int64(stsz[2+sample])
			}
			slot := int(float64(now) / scale / r.layout.ChunkSeconds)
			for len(list) <= slot {
				list = append(list, &piece{})
			}
			list[slot].bytes = append(list[slot].bytes, r.content[at:at+size]...)
			list[slot].samples++
			at += size
			sample++
			now += uint64(stts[2*entry+1])
			if used++; used == stts[2*entry] && 2*entry+2 < len(stts) {
				entry, used = entry+1, 0
			}
		}
	}
	return list
}

// tables writes the track's new tables.
func (r *remuxer) tables(trak *node, pieces []*piece, timescale uint32) {
	stbl := trak.child("mdia", "minf", "stbl")
	var runs, short []uint32
	var long []byte
	for _, p := range pieces {
		if p.samples == 0 {
			continue
		}
		short = append(short, uint32(p.at))
		long = binary.BigEndian.AppendUint64(long, uint64(p.at))
		runs = append(runs, uint32(len(short)), uint32(p.samples), 1)
	}
	stbl.child("stsc").body = full(0, append([]uint32{uint32(len(runs) / 3)}, runs...)...)
	for _, k := range stbl.kids {
		switch k.kind {
		case "stco", "co64":
			k.kind, k.body = "stco", full(0, append([]uint32{uint32(len(short))}, short...)...)
			if r.layout.Long {
				k.kind, k.body = "co64", append(full(0, uint32(len(short))), long...)
			}
		case "stsz":
			if sizes := fields(k.body, 4); r.layout.Compact && sizes[0] == 0 {
				k.kind, k.body = "stz2", full(0, 16, sizes[1])
				for _, s := range sizes[2:] {
					k.body = binary.BigEndian.AppendUint16(k.body, uint16(s))
				}
			}
		case "stsd":
			if r.layout.Descriptions {
				k.body = append(append(full(0, 2), k.body[8:]...), k.body[8:]...)
			}
		}
	}
	if handler := trak.child("mdia", "hdlr").body[8:12]; r.layout.Edits != nil && string(handler) == "soun" {
		scale := float64(fields(trak.child("mdia", "mdhd").body, 12)[0])
		elst := []uint32{uint32(len(r.layout.Edits))}
		for _, e := range r.layout.Edits {
			start := uint32(0xffffffff)
			if e[1] >= 0 {
				start = uint32(e[1] * scale)
			}
			elst = append(elst, uint32(e[0]*float64(timescale)), start, 1<<16)
		}
		var kids []*node
		for _, k := range trak.kids {
			if k.kind != "edts" {
				kids = append(kids, k)
			}
		}
		trak.kids = append(kids[:1:1], append([]*node{{kind: "edts", kids: []*node{{kind: "elst", body: full(0, elst...)}}}}, kids[1:]...)...)
	}
}
