package mp3

// tally counts the frames of a stream for its information frame.
type tally struct {
	first  [4]byte // header of the first frame
	frames int64
	bytes  int64
	crc    uint16 // of all bytes
	marks  []int64
	step   int64 // frames from mark to mark
}

// maxMarks bounds the places that are remembered, for streams of any length.
const maxMarks = 8192

func (t *tally) add(frame []byte) {
	if t.frames == 0 {
		copy(t.first[:], frame)
		t.step = 1
	}
	if t.frames%t.step == 0 {
		if len(t.marks) == maxMarks {
			t.thin()
		}
		t.marks = append(t.marks, t.bytes)
	}
	t.frames++
	t.bytes += int64(len(frame))
	t.crc = crc16(t.crc, frame)
}

// thin forgets every other place.
func (t *tally) thin() {
	for i := range maxMarks / 2 {
		t.marks[i] = t.marks[2*i]
	}
	t.marks = t.marks[:maxMarks/2]
	t.step *= 2
}

// contents fills the table of contents: for each percent of the time, the place
// in the file in 256ths. before is the number of bytes in front of the frames.
func (t *tally) contents(toc []byte, before int64) {
	total := before + t.bytes
	for i := range toc {
		if n := int64(i) * t.frames / 100 / max(1, t.step); i > 0 && n < int64(len(t.marks)) {
			toc[i] = byte(min(255, (before+t.marks[n])*256/total))
		}
	}
}

var crcTable = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0xa001
			} else {
				c >>= 1
			}
		}
		t[i] = c
	}
	return t
}()

// crc16 goes on with the checksum that LAME's tag uses: CRC-16/ARC.
func crc16(c uint16, b []byte) uint16 {
	for _, x := range b {
		c = c>>8 ^ crcTable[byte(c)^x]
	}
	return c
}
