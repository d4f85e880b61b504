package container

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
)

// linear are files of samples in a row behind a header.
type linear struct {
	rate     float64 // Hz
	block    int64   // bytes of a sample of all channels, or of a packet of constant size
	frames   int64   // samples in that block
	flow     float64 // bytes a second, where blocks do not tell
	from, to int64   // where the samples lie
	endless  bool    // the writer did not know where they end
}

// structure is what that means for a file of some bytes. A header may be wrong by
// a few bytes.
func (l linear) structure(size int64) Structure {
	const slack = 16
	switch {
	case l.from == 0:
		return Structure{}
	case l.endless || l.to <= l.from:
		return Structure{Open: true}
	}
	s := Structure{Size: max(0, l.to-slack)}
	n := min(l.to, size) - l.from
	switch {
	case l.block > 0 && l.frames > 0:
		s.Tracks = counted(n/l.block*l.frames, l.rate)
	case l.flow > 0:
		s.Tracks = []Track{{Seconds: float64(n) / l.flow}}
	}
	return s
}

// largest is the largest 64-bit size that is believed.
const largest = 1<<62 - 1

// noSize reports whether a 32-bit size stands for unknown: recorders write it
// first and the right one last.
func noSize(n uint32) bool {
	return n == 0 || n >= 0x7fffff00 && n <= 0x80000000 || n >= 0xffff0000
}

// chunks calls f for the chunks of a file from an offset on, until it returns
// false. A chunk's header has width bytes; size reads the bytes of the content from
// it and pad is what the content is filled up to.
func chunks(r io.ReaderAt, at, size int64, width int, pad int64, length func(h []byte) uint64, f func(h []byte, body int64, n uint64) bool) {
	const most = 1 << 16
	for range most {
		h := make([]byte, width)
		if readAt(r, h, at, size) != nil {
			return
		}
		body, n := at+int64(width), length(h)
		if !f(h, body, n) || n > uint64(size) {
			return
		}
		at = body + (int64(n)+pad-1)/pad*pad
	}
}

func little32(h []byte) uint64 { return uint64(binary.LittleEndian.Uint32(h[4:])) }
func big32(h []byte) uint64    { return uint64(binary.BigEndian.Uint32(h[4:])) }

// waveFormat reads a WAVEFORMATEX structure.
func (l *linear) waveFormat(r io.ReaderAt, at, size int64) {
	const pcm, float, alaw, mulaw, extensible = 1, 3, 6, 7, 0xfffe
	b := make([]byte, 26)
	if readAt(r, b[:16], at, size) != nil {
		return
	}
	tag := binary.LittleEndian.Uint16(b)
	if tag == extensible && readAt(r, b, at, size) == nil {
		tag = binary.LittleEndian.Uint16(b[24:])
	}
	channels, bits := int64(binary.LittleEndian.Uint16(b[2:])), int64(binary.LittleEndian.Uint16(b[14:]))
	l.rate = float64(binary.LittleEndian.Uint32(b[4:]))
	l.flow = float64(binary.LittleEndian.Uint32(b[8:]))
	if slices.Contains([]uint16{pcm, float, alaw, mulaw}, tag) {
		l.block, l.frames = (bits+7)/8*channels, 1
	}
}

// inspectRIFF reads WAV and AVI files.
func inspectRIFF(r io.ReaderAt, size int64) Structure {
	var h [12]byte
	s := Structure{Size: riffSize(r, size)}
	if readAt(r, h[:], 0, size) != nil || string(h[8:]) != "WAVE" {
		return s
	}
	l := linear{}
	chunks(r, 12, size, 8, 2, little32, func(h []byte, body int64, n uint64) bool {
		switch string(h[:4]) {
		case "fmt ":
			l.waveFormat(r, body, size)
		case "data":
			l.from, l.to, l.endless = body, body+int64(n), noSize(uint32(n))
			return false
		}
		return true
	})
	w := l.structure(size)
	w.Streamable, w.Late = true, true
	w.Size = max(w.Size, s.Size)
	return w
}

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
		if noSize(n) {
			return 0
		}
		at += 8 + int64(n) + int64(n&1)
		if at >= size {
			return max(0, at-slack)
		}
	}
}

// inspectRF64 reads WAV files with sizes of 64 bits (EBU Tech 3306, section 3;
// ITU-R BS.2088).
func inspectRF64(r io.ReaderAt, size int64) Structure {
	l, long := linear{}, uint64(0)
	chunks(r, 12, size, 8, 2, little32, func(h []byte, body int64, n uint64) bool {
		switch string(h[:4]) {
		case "ds64":
			var b [16]byte
			if readAt(r, b[:], body, size) == nil {
				long = binary.LittleEndian.Uint64(b[8:])
			}
		case "fmt ":
			l.waveFormat(r, body, size)
		case "data":
			if n == math.MaxUint32 {
				n = long
			}
			l.from, l.to, l.endless = body, body+int64(n&largest), n == 0 || n > largest
			return false
		}
		return true
	})
	return l.structure(size)
}

// inspectW64 reads Sony's files, whose chunks have GUIDs, sizes of 64 bits that
// include the header, and contents filled up to 8 bytes.
func inspectW64(r io.ReaderAt, size int64) Structure {
	l := linear{}
	const header = 24
	length := func(h []byte) uint64 { return max(header, binary.LittleEndian.Uint64(h[16:])) - header }
	chunks(r, header+16, size, header, 8, length, func(h []byte, body int64, n uint64) bool {
		switch string(h[:4]) {
		case "fmt ":
			l.waveFormat(r, body, size)
		case "data":
			l.from, l.to, l.endless = body, body+int64(n&largest), n == 0 || n > largest
			return false
		}
		return true
	})
	return l.structure(size)
}

// inspectAIFF reads AIFF and AIFF-C (Audio Interchange File Format 1.3; AIFF-C,
// draft of 1991).
func inspectAIFF(r io.ReaderAt, size int64) Structure {
	l := linear{}
	var h [12]byte
	if readAt(r, h[:], 0, size) != nil || string(h[8:11]) != "AIF" {
		return Structure{}
	}
	chunks(r, 12, size, 8, 2, big32, func(h []byte, body int64, n uint64) bool {
		switch string(h[:4]) {
		case "COMM":
			l.common(r, body, size, n)
		case "SSND":
			const header = 8 // offset and block size
			l.from, l.to, l.endless = body+header, body+int64(n), noSize(uint32(n))
			return false
		}
		return true
	})
	return l.structure(size)
}

// common reads the COMM chunk: channels, frames, bits, rate and in AIFF-C the
// compression.
func (l *linear) common(r io.ReaderAt, at, size int64, n uint64) {
	b := make([]byte, min(22, n))
	if len(b) < 18 || readAt(r, b, at, size) != nil {
		return
	}
	bits := int64(binary.BigEndian.Uint16(b[6:]))
	l.rate = math.Ldexp(float64(binary.BigEndian.Uint64(b[10:])), int(binary.BigEndian.Uint16(b[8:])&0x7fff)-16383-63)
	kind := "NONE"
	if len(b) == 22 {
		kind = string(b[18:])
	}
	width := map[string]int64{
		"NONE": (bits + 7) / 8, "twos": (bits + 7) / 8, "sowt": (bits + 7) / 8, "raw ": (bits + 7) / 8,
		"in24": 3, "in32": 4, "fl32": 4, "FL32": 4, "fl64": 8, "FL64": 8, "ulaw": 1, "ULAW": 1, "alaw": 1, "ALAW": 1,
	}[kind]
	l.block, l.frames = width*int64(binary.BigEndian.Uint16(b)), 1
}

// inspectCAF reads Apple's Core Audio Format (Apple Core Audio Format
// Specification 1.0). A packet table counts the samples where packets differ.
func inspectCAF(r io.ReaderAt, size int64) Structure {
	l, valid := linear{}, int64(0)
	length := func(h []byte) uint64 { return binary.BigEndian.Uint64(h[4:]) }
	chunks(r, 8, size, 12, 1, length, func(h []byte, body int64, n uint64) bool {
		switch string(h[:4]) {
		case "desc":
			var b [32]byte
			if readAt(r, b[:], body, size) == nil {
				l.rate = math.Float64frombits(binary.BigEndian.Uint64(b[:]))
				l.block, l.frames = int64(binary.BigEndian.Uint32(b[16:])), int64(binary.BigEndian.Uint32(b[20:]))
			}
		case "pakt":
			var b [16]byte
			if readAt(r, b[:], body, size) == nil {
				valid = int64(binary.BigEndian.Uint64(b[8:]) & (1<<48 - 1))
			}
		case "data":
			const edits = 4
			l.from, l.to, l.endless = body+edits, body+int64(n&largest), n == 0 || n > largest
		}
		return true
	})
	s := l.structure(size)
	if valid > 0 && len(s.Tracks) == 0 && !s.Open {
		s.Tracks = counted(valid, l.rate)
	}
	return s
}

// inspectAU reads Sun's and NeXT's sound files.
func inspectAU(r io.ReaderAt, size int64) Structure {
	var h [24]byte
	if readAt(r, h[:], 0, size) != nil {
		return Structure{}
	}
	field := func(i int) uint32 { return binary.BigEndian.Uint32(h[4*i:]) }
	width := map[uint32]int64{1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}[field(3)] // mu-law, PCM, floats, A-law
	from := int64(field(1))
	return linear{
		rate: float64(field(4)), block: width * int64(field(5)), frames: 1,
		from: from, to: from + int64(field(2)), endless: noSize(field(2)),
	}.structure(size)
}
