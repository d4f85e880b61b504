package container

import "io"

// DVChanges reports whether the sampling frequency of the sound changes midway on a
// tape of DV (IEC 61834-2: the audio source pack of every frame has it; IEC 61834-4,
// 8.1: its layout).
func DVChanges(r io.ReaderAt, size int64) bool {
	const (
		ntsc, pal = 120000, 144000     // bytes of a frame
		pack      = 80*6 + 80*16*3 + 3 // where the pack is in a frame: the fourth block of sound
		source    = 0x50               // its first byte
		twelve    = 0x80               // bit of the fourth byte of a file: 12 sequences, so PAL
		shift     = 3                  // of the frequency in the fifth byte
		mask      = 7                  // behind that
	)
	var head [4]byte
	if readAt(r, head[:], 0, size) != nil {
		return false
	}
	frame := int64(ntsc)
	if head[3]&twelve != 0 {
		frame = pal
	}
	first := -1
	for at := int64(pack); ; at += frame {
		var p [5]byte
		if readAt(r, p[:], at, size) != nil {
			return false
		}
		if p[0] != source {
			continue // no sound
		}
		if frequency := int(p[4] >> shift & mask); first < 0 {
			first = frequency
		} else if frequency != first {
			return true
		}
	}
}
