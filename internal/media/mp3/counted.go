package mp3

import "encoding/binary"

// Counted reads the information frame at the beginning of b, which holds all of it.
// It returns how many samples per channel a decoder plays, at which rate, and how
// many bytes the frames have together; 0 for what it does not say.
func Counted(b []byte) (samples int64, rate int, bytes int64) {
	if len(b) < 4 {
		return 0, 0, 0
	}
	h, ok := parseHeader(binary.BigEndian.Uint32(b))
	if !ok || len(b) < h.Size {
		return 0, 0, 0
	}
	t := parseInfo(Frame{Header: h, Bytes: b[:h.Size]})
	if t == nil {
		return 0, 0, 0
	}
	if t.frames > 0 {
		samples = max(0, t.frames*int64(h.Samples)-int64(t.delay)-int64(t.padding))
	}
	return samples, h.SampleRate, t.bytes
}
