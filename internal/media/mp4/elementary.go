package mp4

import (
	"encoding/binary"
	"io"
)

// Descriptors of an elementary stream (ISO/IEC 14496-1).
const (
	esTag       = 3
	decoderTag  = 4
	specificTag = 5
)

// maxDescription is the size in bytes of the longest sample description whose
// boxes are read.
const maxDescription = 4096

// readElementary reads the descriptor in a sample description of "mp4a"; from
// and to are the offsets of the description's boxes. What makes no sense is
// ignored.
func (t *Track) readElementary(r io.ReaderAt, from, to int64) {
	if to-from > maxDescription {
		return
	}
	b := make([]byte, max(0, to-from))
	if readAt(r, b, from, to) != nil {
		return
	}
	esds := childBox(b, "esds")
	if esds == nil { // QuickTime's place
		esds = childBox(childBox(b, "wave"), "esds")
	}
	if len(esds) < 4 {
		return
	}
	es := descriptor(esds[4:], esTag)
	if len(es) < 3 || es[2]&0xe0 != 0 { // fields that no file has
		return
	}
	decoder := descriptor(es[3:], decoderTag)
	if len(decoder) < 13 {
		return
	}
	t.Object = decoder[0]
	t.readAudioSpecific(descriptor(decoder[13:], specificTag))
}

// childBox is what is in the first box of a kind, nil for none.
func childBox(b []byte, kind string) []byte {
	for len(b) >= 8 {
		size := binary.BigEndian.Uint32(b)
		if size < 8 || int64(size) > int64(len(b)) {
			return nil
		}
		if string(b[4:8]) == kind {
			return b[8:size]
		}
		b = b[size:]
	}
	return nil
}

// descriptor returns the content of the descriptor at the beginning of b; nil
// if it does not have this tag.
func descriptor(b []byte, tag byte) []byte {
	if len(b) == 0 || b[0] != tag {
		return nil
	}
	size := 0
	for i, c := range b[1:] {
		size = size<<7 | int(c&0x7f)
		if c&0x80 == 0 {
			b = b[i+2:]
			return b[:min(size, len(b))]
		}
		if i == 3 {
			break
		}
	}
	return nil
}

// AAC's sample rates and channels by their codes (ISO/IEC 14496-3).
var (
	aacRates    = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
	aacChannels = [...]int{0, 1, 2, 3, 4, 5, 6, 8}
)

// readAudioSpecific reads rate and channels of AAC. They are those of the
// decoder's output, even if the upper half of the spectrum or the second
// channel is only reconstructed.
func (t *Track) readAudioSpecific(b []byte) {
	const spectralBand, parametric = 5, 29
	var first [4]byte
	if copy(first[:], b) < 2 {
		return
	}
	bits := binary.BigEndian.Uint32(first[:])
	object, rate, channels := bits>>27, bits>>23&15, bits>>19&15
	if object == spectralBand || object == parametric {
		rate = bits >> 15 & 15
		t.Extended = true
	}
	if int(rate) >= len(aacRates) || channels == 0 || int(channels) >= len(aacChannels) {
		return // written out, or in the audio itself
	}
	t.SampleRate, t.Channels = aacRates[rate], aacChannels[channels]
	if object == parametric {
		t.Channels = 2
	}
}
