package mp3

// Header is what a frame's first four bytes tell.
type Header struct {
	SampleRate int // Hz
	Channels   int // 1 or 2
	Kbps       int // bit rate of this frame
	Samples    int // per channel: 1152, or 576 below 32 kHz
	Size       int // bytes of the frame, header included

	mpeg1     bool
	protected bool // a checksum of two bytes follows the header
	padded    bool // one byte more than the bit rate gives
	side      int  // bytes of side information
	index     int  // of the bit rate in its table
}

var (
	kbpsMPEG1  = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	kbpsMPEG2  = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}
	ratesMPEG1 = [4]int{44100, 48000, 32000, 0}
)

// topIndex is the highest bit rate of either table.
const topIndex = 14

// parseHeader reads a frame header. Free format is not accepted: its frames
// have no size of their own.
func parseHeader(b uint32) (Header, bool) {
	version, layer := b>>19&3, b>>17&3
	if b>>21 != 0x7ff || version == 1 || layer != 1 {
		return Header{}, false
	}
	h := Header{
		SampleRate: ratesMPEG1[b>>10&3], Channels: 2, Samples: 1152,
		mpeg1: version == 3, protected: b>>16&1 == 0, padded: b>>9&1 == 1, side: 32,
	}
	mono := b>>6&3 == 3
	if mono {
		h.Channels, h.side = 1, 17
	}
	if !h.mpeg1 { // MPEG-2, or 2.5 at half its rates
		h.Samples, h.side = 576, 17
		h.SampleRate /= 2
		if mono {
			h.side = 9
		}
		if version == 0 {
			h.SampleRate /= 2
		}
	}
	index := int(b >> 12 & 15)
	if h.SampleRate == 0 || index == 0 || index > topIndex {
		return Header{}, false
	}
	h = h.withIndex(index)
	return h, h.Size >= h.payload()
}

// withIndex is the header at another bit rate.
func (h Header) withIndex(i int) Header {
	h.index, h.Kbps = i, kbpsMPEG2[i]
	if h.mpeg1 {
		h.Kbps = kbpsMPEG1[i]
	}
	h.Size = h.Samples / 8 * h.Kbps * 1000 / h.SampleRate
	if h.padded {
		h.Size++
	}
	return h
}

// payload is the offset in the frame behind its header and side information.
func (h Header) payload() int {
	n := 4 + h.side
	if h.protected {
		n += 2
	}
	return n
}

// FrameSamples is how many samples per channel a frame has at a sample rate.
func FrameSamples(rate int) int {
	if rate < 32000 {
		return 576
	}
	return 1152
}
