package remux

import "encoding/binary"

// coding is how the frames of a track are coded, where a demuxer reads each of them: it
// takes the sample rate and the channels from the last one that it looks at before it
// plays anything, and the bit rate from the mean. How many it looks at depends on the
// other tracks.
type coding int

const (
	settled   coding = iota // the container tells them, or the first frame
	mpegSound               // ISO/IEC 11172-3 and 13818-3, all layers
	ac3                     // ETSI TS 102 366
	eac3                    // the same, annex E
	trueHD                  // Meridian Lossless Packing
	unclear                 // one of which nothing is known
)

// frame is what the first bytes of a frame say of it.
type frame struct {
	form    uint32  // sample rate and channels, by the fields of the header; 0 where it does not say
	rate    uint32  // bit rate, likewise
	seconds float64 // that it plays
	size    int     // bytes; 0 where it does not say
}

// headSize is how many bytes of a frame parse needs.
const headSize = 12

// parse reads the beginning of a frame. It reports false if it is none.
func (c coding) parse(b []byte) (frame, bool) {
	if len(b) < headSize {
		return frame{}, false
	}
	switch c {
	case mpegSound:
		return parseMPEG(binary.BigEndian.Uint32(b))
	case ac3:
		return parseAC3(b)
	case eac3:
		return parseEAC3(b)
	case trueHD:
		f := frame{seconds: 1.0 / 1200}
		if binary.BigEndian.Uint32(b[4:]) == 0xf8726fba { // a major sync, which has the format
			f.form = binary.BigEndian.Uint32(b[8:])
		}
		return f, true
	}
	return frame{}, c == settled
}

var (
	mpegRates = [4]int{44100, 48000, 32000, 0} // Hz
	// mpegKbps are bit rates by their index: layers I to III of MPEG-1, layer I of
	// MPEG-2, and its other layers.
	mpegKbps = [5][16]int{
		{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
		{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
		{0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
	}
)

// parseMPEG reads the header of a frame of MPEG audio (ISO/IEC 11172-3, 2.4.1.3). Free
// format is not accepted: its frames have no size of their own.
func parseMPEG(h uint32) (frame, bool) {
	const mono = 3
	version, layer := h>>19&3, 4-int(h>>17&3) // version 3 is MPEG-1, 2 MPEG-2, 0 MPEG-2.5
	rate := mpegRates[h>>10&3]
	if h>>21 != 0x7ff || version == 1 || layer == 4 || rate == 0 {
		return frame{}, false
	}
	list, samples := layer-1, 1152
	if layer == 1 {
		samples = 384
	}
	if version != 3 {
		rate /= 2
		list = min(layer+2, 4)
		if layer == 3 {
			samples = 576
		}
	}
	if version == 0 {
		rate /= 2
	}
	kbps := mpegKbps[list][h>>12&15]
	if kbps == 0 {
		return frame{}, false
	}
	channels := uint32(2)
	if h>>6&3 == mono {
		channels = 1
	}
	f := frame{form: h>>10&3 | h>>17&15<<2 | channels<<6, rate: uint32(kbps), seconds: float64(samples) / float64(rate)}
	padded := int(h >> 9 & 1)
	if f.size = samples/8*kbps*1000/rate + padded; layer == 1 {
		f.size = (12*kbps*1000/rate + padded) * 4
	}
	return f, true
}

// ac3Kbps are bit rates by the upper bits of frmsizecod.
var ac3Kbps = []int{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640}

// parseAC3 reads the header of a sync frame (ETSI TS 102 366, 4.4.1 and 4.4.2).
func parseAC3(b []byte) (frame, bool) {
	const usual = 8 // bsid; others are of E-AC-3, or of half the sample rate
	rates, code := []int{48000, 44100, 32000}, int(b[4]&0x3f)
	rate := int(b[4] >> 6)
	if b[0] != 0x0b || b[1] != 0x77 || rate == len(rates) || code/2 >= len(ac3Kbps) || b[5]>>3 > usual {
		return frame{}, false
	}
	acmod := b[6] >> 5
	low := 4 // where lfeon is: behind acmod, and behind what some modes have besides
	if acmod&1 != 0 && acmod != 1 {
		low -= 2
	}
	if acmod&4 != 0 {
		low -= 2
	}
	if acmod == 2 {
		low -= 2
	}
	kbps := ac3Kbps[code/2]
	f := frame{form: 1<<8 | uint32(rate)<<4 | uint32(acmod)<<1 | uint32(b[6]>>low&1), rate: uint32(kbps), seconds: 1536 / float64(rates[rate])}
	words := kbps * 96000 / rates[rate] // of 16 bits
	if rates[rate] == 44100 {
		words += code % 2
	}
	f.size = 2 * words
	return f, true
}

// parseEAC3 reads the header of a sync frame (ETSI TS 102 366, E.1.3.1). One of a
// dependent substream says nothing of its own, and plays at the same time as the one
// before.
func parseEAC3(b []byte) (frame, bool) {
	const oldest, newest = 11, 16 // bsid
	if b[0] != 0x0b || b[1] != 0x77 || b[5]>>3 < oldest || b[5]>>3 > newest {
		return frame{}, false
	}
	f := frame{size: (int(b[2]&7)<<8 | int(b[3]) + 1) * 2}
	if b[2]>>6 == 1 || b[2]>>3&7 != 0 { // not the first independent substream
		return f, f.size > 0
	}
	rate, blocks := []float64{48000, 44100, 32000, 0}[b[4]>>6], []float64{1, 2, 3, 6}[b[4]>>4&3]
	if b[4]>>6 == 3 { // half the rate
		rate, blocks = []float64{24000, 22050, 16000, 0}[b[4]>>4&3], 6
	}
	if rate == 0 {
		return f, false
	}
	f.form = 1<<8 | uint32(b[4])
	f.rate, f.seconds = uint32(f.size), blocks*256/rate
	return f, true
}

// watched is how many seconds of a track are watched. A demuxer looks at 30, as package
// ffmpeg asks for.
const watched = 40.0

// watch follows the frames of a track from its beginning.
type watch struct {
	coding  coding
	rates   bool // the bit rate matters as well
	form    uint32
	rate    uint32
	seconds float64
}

// done reports whether what comes does not matter any more.
func (w *watch) done() bool { return w.coding == settled || w.seconds > watched }

// frame takes the next frame. It returns a leave if the track is not steady.
func (w *watch) frame(b []byte) (frame, error) {
	f, ok := w.coding.parse(b)
	if !ok {
		return f, leave(VaryingSound)
	}
	return f, w.take(f)
}

func (w *watch) take(f frame) error {
	switch {
	case f.form != 0 && w.form != 0 && f.form != w.form:
		return leave(VaryingSound)
	case w.rates && f.rate != 0 && w.rate != 0 && f.rate != w.rate:
		return leave(VaryingRate)
	}
	if f.form != 0 {
		w.form = f.form
	}
	if f.rate != 0 {
		w.rate = f.rate
	}
	w.seconds += f.seconds
	return nil
}

// elementary follows the frames of a track whose bytes come in pieces.
type elementary struct {
	watch
	held   []byte // not looked at yet
	pass   int    // bytes of the present frame that are still to come
	locked bool   // a frame was found
}

// maxJunk is how many bytes may stand before the first whole frame: a part of one, where
// a recording begins.
const maxJunk = 16 << 10

// write takes the next bytes. It returns a leave if the track is not steady.
func (e *elementary) write(b []byte) error {
	if e.done() {
		return nil
	}
	n := min(e.pass, len(b))
	e.pass -= n
	e.held = append(e.held, b[n:]...)
	if err := e.lock(); err != nil || !e.locked {
		return err
	}
	for len(e.held) >= headSize && !e.done() {
		f, err := e.frame(e.held)
		if err != nil {
			return err
		}
		if f.size < headSize {
			return leave(VaryingSound)
		}
		n := min(f.size, len(e.held))
		e.held, e.pass = e.held[n:], f.size-n
	}
	return nil
}

// end returns a leave if no frames were found.
func (e *elementary) end() error {
	if e.coding != settled && !e.locked {
		return leave(VaryingSound)
	}
	return nil
}

// lock looks for the first frame: another one of the same form follows it.
func (e *elementary) lock() error {
	for i := 0; !e.locked && i+headSize <= len(e.held); i++ {
		if i > maxJunk {
			return leave(VaryingSound)
		}
		f, ok := e.coding.parse(e.held[i:])
		if !ok || f.size < headSize {
			continue
		}
		if i+f.size+headSize > len(e.held) { // what follows has not come yet
			return nil
		}
		if next, ok := e.coding.parse(e.held[i+f.size:]); ok && (next.form == f.form || next.form == 0) {
			e.held, e.locked = e.held[i:], true
		}
	}
	return nil
}
