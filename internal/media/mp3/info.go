package mp3

import (
	"encoding/binary"
	"fmt"
)

// Info is what an information frame says of a stream that its frames do not
// show.
type Info struct {
	Quality int   // of the encoder, 0 to 100, 100 is best; players only show it
	Delay   int   // samples per channel that a decoder leaves out at the beginning
	Samples int64 // per channel that it then plays; -1 for all, without information about either end
}

// EncoderDelay is Info.Delay of what LAME encodes. Decoders add their own 529.
const EncoderDelay = 576

// encoderName is the encoder in the tag: players respect delay and padding only
// from encoders that they know.
const encoderName = "LAME3.100"

// Layout of an information frame behind its side information, in bytes.
const (
	infoFrames  = 8
	infoBytes   = 12
	infoTOC     = 16
	infoQuality = 116
	infoLAME    = 120
	infoSize    = infoLAME + 36
)

// IsInfo reports whether the frame is an information frame.
func (f Frame) IsInfo() bool { return parseInfo(f) != nil }

// infoTag is a Xing or Info header with its LAME extension.
type infoTag struct {
	frames         int64 // -1 where not given
	bytes          int64 // of all frames, with this one; 0 where not given
	delay, padding int   // samples
}

func parseInfo(f Frame) *infoTag {
	b := f.Bytes[4+f.side:]
	if len(b) < 8 || string(b[:4]) != "Xing" && string(b[:4]) != "Info" {
		return nil
	}
	t := &infoTag{frames: -1}
	flags := binary.BigEndian.Uint32(b[4:])
	b = b[8:]
	for bit, size := range [4]int{4, 4, 100, 4} { // frames, bytes, table of contents, quality
		if flags>>bit&1 == 0 {
			continue
		}
		if len(b) < size {
			return t
		}
		switch bit {
		case 0:
			t.frames = int64(binary.BigEndian.Uint32(b))
		case 1:
			t.bytes = int64(binary.BigEndian.Uint32(b))
		}
		b = b[size:]
	}
	if len(b) >= 24 && b[0] != 0 { // the encoder's name, …, delay and padding of 12 bits each
		t.delay = int(b[21])<<4 | int(b[22])>>4
		t.padding = int(b[22]&15)<<8 | int(b[23])
	}
	return t
}

// infoHeader returns the header of the information frame of a stream whose
// first frame has the header first. Its bit rate is the stream's constant one,
// or a common one if it varies; if the information does not fit, the next
// higher one.
func infoHeader(first Header, kbps int) Header {
	if kbps == 0 {
		kbps = 64
		if first.mpeg1 {
			kbps = 128
		}
	}
	h := first
	h.padded, h.protected = false, false
	for i := 1; i <= topIndex; i++ {
		if h = h.withIndex(i); h.Kbps >= kbps && h.Size >= 4+h.side+infoSize {
			break
		}
	}
	return h
}

// infoFrame makes the information frame with header h, for the frames that the
// tally has seen. kbps is their constant bit rate, or 0. Settings of the
// encoder that are not known stay 0.
func infoFrame(h Header, t *tally, kbps int, info Info) ([]byte, error) {
	padding := t.frames*int64(h.Samples) - int64(info.Delay) - info.Samples
	if info.Samples == -1 {
		padding = 0
	}
	if info.Delay < 0 || info.Delay > 4095 || padding < 0 || padding > 4095 {
		return nil, fmt.Errorf("delay of %d and padding of %d samples do not fit an information frame", info.Delay, padding)
	}
	frame := make([]byte, h.Size)
	copy(frame, t.first[:])
	frame[1] |= 1 // no checksum
	frame[2] = frame[2]&0x0c | byte(h.index<<4)
	b := frame[4+h.side:]
	copy(b, "Xing")
	if kbps != 0 {
		copy(b, "Info")
	}
	total := int64(len(frame)) + t.bytes
	binary.BigEndian.PutUint32(b[4:], 0xf) // all four that follow
	binary.BigEndian.PutUint32(b[infoFrames:], uint32(t.frames))
	binary.BigEndian.PutUint32(b[infoBytes:], uint32(total))
	t.contents(b[infoTOC:infoQuality], int64(len(frame)))
	binary.BigEndian.PutUint32(b[infoQuality:], uint32(info.Quality))

	if info.Samples == -1 {
		return frame, nil
	}
	lame := b[infoLAME:]
	copy(lame, encoderName)
	lame[9], lame[20] = 4, 0 // VBR of LAME's newer kind
	if kbps != 0 {
		lame[9], lame[20] = 1, byte(min(kbps, 255))
	}
	lame[21], lame[22], lame[23] = byte(info.Delay>>4), byte(info.Delay<<4)|byte(padding>>8), byte(padding)
	binary.BigEndian.PutUint32(lame[28:], uint32(total))
	binary.BigEndian.PutUint16(lame[32:], t.crc)
	binary.BigEndian.PutUint16(lame[34:], crc16(0, frame[:4+h.side+infoLAME+34]))
	return frame, nil
}
