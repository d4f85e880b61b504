// Package container reads what the outermost layer of a file says about it,
// without ffmpeg and without decoding anything.
package container

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"tonearm/internal/media/mp4"
)

// Structure is what the outermost layer of a file says about it.
type Structure struct {
	Known  bool       // some container's signature was found
	Size   int64      // bytes that the file ought to have; 0 where it does not say
	MP4    *mp4.Movie // of MP4, MOV and their kin
	Tracks []Track    // of audio in a Matroska file, as far as it tells
	Open   bool       // an Ogg file without its last page: its length is only what is there
	Last   float64    // seconds, the time stamp at the very end of an FLV; 0 elsewhere

	Streamable bool // it can be played from a pipe and sounds the same
	Late       bool // tags and the like may stand after the audio
}

// Inspect reads the outermost layer of the size bytes in r.
func Inspect(r io.ReaderAt, size int64) (Structure, error) {
	head := make([]byte, 2*tsPacket+1)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return Structure{}, fmt.Errorf("read the head: %w", err)
	}
	head = head[:n]
	has := func(magic string) bool { return strings.HasPrefix(string(head), magic) }
	switch {
	case has("\x1a\x45\xdf\xa3"):
		m := readMatroska(r)
		return Structure{Known: true, Size: m.end, Streamable: true, Late: m.late, Tracks: m.tracks}, nil
	case has("RIFF"):
		wave := len(head) >= 12 && string(head[8:12]) == "WAVE"
		return Structure{Known: true, Size: riffSize(r, size), Streamable: wave, Late: wave}, nil
	case has("fLaC"):
		return Structure{Known: true, Streamable: true}, nil
	case len(head) > 2*tsPacket && head[0] == tsSync && head[tsPacket] == tsSync && head[2*tsPacket] == tsSync:
		return Structure{Streamable: true}, nil
	case has(asfHeader):
		return Structure{Known: true, Size: asfSize(r)}, nil
	case has("FLV\x01"):
		return Structure{Known: true, Last: flvLast(r, size)}, nil
	case has("OggS"):
		return Structure{Known: true, Open: !oggEnds(r, size)}, nil
	case len(head) >= 8 && mp4Start[string(head[4:8])]:
		m, err := mp4.Read(r, size)
		if err != nil {
			return Structure{}, err
		}
		s := Structure{Known: true, MP4: m, Streamable: m.Streamable()}
		if m.Fragmented || !m.Found {
			s.Size = m.End // else the sample tables tell more exactly
		}
		return s, nil
	}
	for _, magic := range []string{"ID3", "#!AMR", "caff", "RF64", "FORM", ".snd", "\x00\x00\x01\xba", "riff\x2e\x91\xcf\x11"} {
		if has(magic) {
			return Structure{Known: true}, nil
		}
	}
	return Structure{}, nil
}

// A transport stream is packets that begin alike (ISO/IEC 13818-1).
const (
	tsPacket = 188 // bytes
	tsSync   = 'G'
)

var mp4Start = map[string]bool{"ftyp": true, "moov": true, "mdat": true, "wide": true, "free": true, "skip": true, "pnot": true, "styp": true}

// riffSize returns where the last RIFF chunk of a WAV or AVI file ends (large
// AVI files have several), or 0 if the writer did not know. Whole files often
// have values that stand for unknown, or are wrong by a few bytes.
func riffSize(r io.ReaderAt, size int64) int64 {
	const slack = 16
	at := int64(0)
	for {
		var h [8]byte
		if n, _ := r.ReadAt(h[:], at); n < len(h) || string(h[:4]) != "RIFF" {
			return max(0, at-slack)
		}
		n := binary.LittleEndian.Uint32(h[4:])
		if n == 0 || n == 0x7fffffff || n == 0x80000000 || n >= 0xffffff00 {
			return 0
		}
		at += 8 + int64(n) + int64(n&1)
		if at >= size {
			return max(0, at-slack)
		}
	}
}

const (
	asfHeader     = "\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
	asfProperties = "\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
)

// asfSize is the size in the File Properties Object, 0 in a broadcast.
func asfSize(r io.ReaderAt) int64 {
	at := int64(30) // behind the Header Object's own fields
	for range 64 {
		var h [92]byte
		n, _ := r.ReadAt(h[:], at)
		if n < 24 {
			return 0
		}
		size := binary.LittleEndian.Uint64(h[16:])
		if bytes.Equal(h[:16], []byte(asfProperties)) && n == len(h) {
			fileSize, broadcast := binary.LittleEndian.Uint64(h[40:]), h[88]&1 != 0
			if broadcast || fileSize > math.MaxInt64 {
				return 0
			}
			return int64(fileSize)
		}
		if size < 24 || size > 1<<20 {
			return 0
		}
		at += int64(size)
	}
	return 0
}

// flvLast returns the time stamp of the last tag in seconds, 0 if the file does
// not end with a whole tag.
func flvLast(r io.ReaderAt, size int64) float64 {
	var n [4]byte
	if err := readAt(r, n[:], size-4, size); err != nil {
		return 0
	}
	length := int64(binary.BigEndian.Uint32(n[:])) // of the tag before
	var tag [11]byte                               // type, size of the data, time stamp in ms
	if length < 11 || length > size-4 || readAt(r, tag[:], size-4-length, size) != nil {
		return 0
	}
	if data := int64(tag[1])<<16 | int64(tag[2])<<8 | int64(tag[3]); data+11 != length {
		return 0
	}
	return float64(uint32(tag[7])<<24|uint32(tag[4])<<16|uint32(tag[5])<<8|uint32(tag[6])) / 1000
}

// readAt fills p from an offset. Reading beyond the size bytes of r gives
// io.EOF.
func readAt(r io.ReaderAt, p []byte, at, size int64) error {
	if at < 0 || at+int64(len(p)) > size {
		return io.EOF
	}
	if n, err := r.ReadAt(p, at); n < len(p) {
		return err
	}
	return nil
}

// oggEnds reports whether the last page of an Ogg file says that it is the
// last of its stream. Pages have less than 64 KiB.
func oggEnds(r io.ReaderAt, size int64) bool {
	const endOfStream = 4
	at := max(0, size-64<<10)
	tail := make([]byte, size-at)
	if readAt(r, tail, at, size) != nil {
		return false
	}
	i := bytes.LastIndex(tail, []byte("OggS"))
	return i >= 0 && i+5 < len(tail) && tail[i+5]&endOfStream != 0
}
