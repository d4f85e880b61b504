package mp3

// maxMainDataBegin is how many bytes before its own payload the main data of a
// frame may begin.
func (h Header) maxMainDataBegin() int {
	if h.mpeg1 {
		return 511
	}
	return 255
}

// mainDataBegin is how many bytes before the frame's payload its main data begins:
// in the payloads of earlier frames, the bit reservoir.
func (f Frame) mainDataBegin() int {
	side := f.sideInfo()
	if f.mpeg1 {
		return int(side[0])<<1 | int(side[1])>>7
	}
	return int(side[0])
}

func (f Frame) setMainDataBegin(n int) {
	side := f.sideInfo()
	if f.mpeg1 {
		side[0], side[1] = byte(n>>1), side[1]&0x7f|byte(n<<7)
		return
	}
	side[0] = byte(n)
}

// mainDataSize is how many bytes of main data, the coded audio, the frame has.
func (f Frame) mainDataSize() int {
	// A granule and channel takes 59 bits of side information, 63 in MPEG-2.
	// They begin with the length of its main data in bits.
	at, each, granules := 9+5+4, 59, 2
	switch {
	case !f.mpeg1:
		at, each, granules = 8+f.Channels, 63, 1
	case f.Channels == 2:
		at = 9 + 3 + 8
	}
	total := 0
	for range granules * f.Channels {
		total += bits(f.sideInfo(), at, 12)
		at += each
	}
	return (total + 7) / 8
}

// spare is how many bytes at the end of the payload are not the frame's own main
// data. They belong to the next frame, or to none.
func (f Frame) spare() int { return f.Size - f.payload() + f.mainDataBegin() - f.mainDataSize() }

func (f Frame) sideInfo() []byte { return f.Bytes[f.payload()-f.side : f.payload()] }

func bits(b []byte, at, n int) int {
	v := 0
	for i := at; i < at+n; i++ {
		v = v<<1 | int(b[i/8]>>(7-i%8)&1)
	}
	return v
}
