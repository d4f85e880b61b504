package container

import (
	"encoding/binary"
	"io"
)

// inspectFLAC reads the STREAMINFO block (RFC 9639, section 8.2).
func inspectFLAC(r io.ReaderAt, size int64) Structure {
	s := Structure{Streamable: true}
	var h [8 + flacInfo]byte
	if readAt(r, h[:], 0, size) == nil && h[4]&0x7f == 0 {
		s.Tracks = counted(flacLength(h[8:]))
	}
	return s
}

const flacInfo = 34 // bytes of a STREAMINFO block

// flacLength returns how many samples a STREAMINFO block counts, 0 for unknown,
// and their rate.
func flacLength(info []byte) (samples int64, rate float64) {
	v := binary.BigEndian.Uint64(info[10:])
	return int64(v & (1<<36 - 1)), float64(v >> 44)
}

// inspectTTA reads the header (en.true-audio.com, TTA Lossless Audio Codec, Format
// description).
func inspectTTA(r io.ReaderAt, size int64) Structure {
	var h [18]byte
	if readAt(r, h[:], 0, size) != nil {
		return Structure{}
	}
	return Structure{Tracks: counted(int64(binary.LittleEndian.Uint32(h[14:])), float64(binary.LittleEndian.Uint32(h[10:])))}
}

// wavPackRates are by the number in a block's flags; 15 is another one.
var wavPackRates = [16]float64{6000, 8000, 9600, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 192000, 0}

// inspectWavPack reads the header of the first block (WavPack 4 & 5 Binary File /
// Block Format, section 2.0).
func inspectWavPack(r io.ReaderAt, size int64) Structure {
	var h [32]byte
	const unknown, dsd = 0xffffffff, 1 << 31
	if readAt(r, h[:], 0, size) != nil {
		return Structure{}
	}
	total, flags := int64(binary.LittleEndian.Uint32(h[12:])), binary.LittleEndian.Uint32(h[24:])
	if total == unknown || flags&dsd != 0 {
		return Structure{}
	}
	total += int64(h[11])<<32 - int64(h[11])
	return Structure{Tracks: counted(total, wavPackRates[flags>>23&15])}
}
