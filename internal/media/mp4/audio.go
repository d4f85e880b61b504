package mp4

import (
	"encoding/binary"
	"math"
)

// audioFormat is what QuickTime's audio descriptions say.
type audioFormat struct {
	channels, bits int64
	rate           int64 // Hz
	length         int64 // bytes of the description before its boxes
	// A packet of that many bytes plays that many samples; 0 where the
	// description does not say.
	samples, bytes int64
}

// parseAudioFormat reads a sample description, beginning with its size. Fields
// that it does not have are 0.
func parseAudioFormat(d []byte) audioFormat {
	var f audioFormat
	if len(d) < 36 {
		return f
	}
	f.channels, f.bits = int64(binary.BigEndian.Uint16(d[24:])), int64(binary.BigEndian.Uint16(d[26:]))
	f.length = 36
	f.rate = int64(binary.BigEndian.Uint16(d[32:])) // of a fixed-point number the whole part
	switch version := binary.BigEndian.Uint16(d[16:]); {
	case version == 1 && len(d) >= 52:
		f.length = 52
		f.samples, f.bytes = int64(binary.BigEndian.Uint32(d[36:])), int64(binary.BigEndian.Uint32(d[44:]))
	case version == 2 && len(d) >= 72:
		f.length = 72
		if rate := math.Float64frombits(binary.BigEndian.Uint64(d[40:])); rate > 0 && rate < math.MaxInt32 {
			f.rate = int64(rate)
		}
		f.channels, f.bits = int64(binary.BigEndian.Uint32(d[48:])), int64(binary.BigEndian.Uint32(d[56:]))
		f.bytes, f.samples = int64(binary.BigEndian.Uint32(d[64:])), int64(binary.BigEndian.Uint32(d[68:]))
	}
	switch string(d[4:8]) { // these were in use before descriptions had the numbers
	case "ima4":
		f.samples, f.bytes = 64, 34*f.channels
	case "agsm":
		f.samples, f.bytes = 160, 33
	}
	return f
}

// pcmBits is how many bits one sample of one channel has, 0 for what is no PCM.
func pcmBits(codec string, described int64) int64 {
	switch codec {
	case "raw ":
		if described == 16 {
			return 16
		}
		return 8
	case "twos", "sowt":
		switch described {
		case 8, 24, 32:
			return described
		}
		return 16
	case "ulaw", "alaw":
		return 8
	case "in24":
		return 24
	case "in32", "fl32":
		return 32
	case "fl64":
		return 64
	case "lpcm":
		return described
	}
	return 0
}

// frames reports whether the track's table counts PCM frames instead of
// packets. QuickTime does so for PCM and for codecs of constant size. A demuxer
// then takes the size from the description, whatever the table says.
func (t *Track) frames() bool {
	return t.Handler == "soun" && t.stts.entries == 1 && t.stts.delta == 1
}

// maxFrame bounds what a description may say, in bytes.
const maxFrame = 1 << 16

// frameBytes returns how many bytes a number of PCM frames takes. listed is the
// size of each frame in the table, 0 if the table lists each size.
func (t *Track) frameBytes(frames, listed int64) (int64, error) {
	f := t.format
	if f.samples > 1 {
		if f.bytes <= 0 || f.bytes > maxFrame || frames%f.samples != 0 {
			return 0, SampleSizes
		}
		return frames / f.samples * f.bytes, nil
	}
	size := listed
	if bits := pcmBits(t.Codec, f.bits); bits > 0 {
		size = bits / 8 * f.channels
		if listed > 1 && listed != size {
			return 0, SampleSizes
		}
	}
	if size <= 0 || size > maxFrame {
		return 0, SampleSizes
	}
	return frames * size, nil
}
