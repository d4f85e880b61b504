package container

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Flags of an Ogg page (RFC 3533, section 6).
const (
	oggContinued = 1 << iota
	oggBegins
	oggEnds
)

// Limits of what is looked at.
const (
	oggPages   = 4 << 20
	oggStreams = 64
	oggPage    = 27 + 255 + 255*255 // bytes of the longest page
)

// page is the header of an Ogg page.
type page struct {
	at       int64
	flags    byte
	granule  int64 // -1 if no packet ends on it
	serial   uint32
	segments []byte // lengths of the pieces of packets
}

func (p page) body() int64 { return p.at + 27 + int64(len(p.segments)) }

func (p page) end() int64 {
	n := p.body()
	for _, s := range p.segments {
		n += int64(s)
	}
	return n
}

// packets are the offsets of the packets that end on the page, relative to its
// body.
func (p page) packets() (starts []int64) {
	at, start := int64(0), int64(0)
	for _, s := range p.segments {
		if at += int64(s); s < 255 {
			starts = append(starts, start)
			start = at
		}
	}
	return starts
}

// readPage reads the header of the page at an offset.
func readPage(r io.ReaderAt, at, size int64) (page, bool) {
	var h [27 + 255]byte
	n := min(int64(len(h)), size-at)
	if n < 27 || readAt(r, h[:n], at, size) != nil || string(h[:4]) != "OggS" || n < 27+int64(h[26]) {
		return page{}, false
	}
	return page{
		at: at, flags: h[5], granule: int64(binary.LittleEndian.Uint64(h[6:])), serial: binary.LittleEndian.Uint32(h[14:]),
		segments: bytes.Clone(h[27 : 27+int(h[26])]),
	}, true
}

// oggSound is one logical stream of sound.
type oggSound struct {
	rate    float64 // Hz, of the granules
	skip    int64   // samples that a player leaves out at the beginning
	headers int     // packets without sound, as far as it is known
	longest int64   // samples of a packet at most
	opus    bool

	first, last int64 // granules: where the sound begins, and where it ends
	begun       bool
	vague       bool // where it begins is not known to the sample
	ended       bool // its last page says so
}

// newOggSound reads a stream's first packet; ok is false for what is no sound.
func newOggSound(b []byte) (s *oggSound, ok bool) {
	has := func(magic string, n int) bool { return len(b) >= n && bytes.HasPrefix(b, []byte(magic)) }
	switch {
	case has("\x01vorbis", 30): // Vorbis I specification, 4.2.2
		return &oggSound{rate: float64(binary.LittleEndian.Uint32(b[12:])), headers: 3, longest: 1 << (b[28] >> 4) / 2}, true
	case has("OpusHead", 19): // RFC 7845, 5.1
		return &oggSound{rate: 48000, skip: int64(binary.LittleEndian.Uint16(b[10:])), headers: 2, longest: 5760, opus: true}, true
	case has("\x7fFLAC", 17+flacInfo): // RFC 9639, 10.1
		_, rate := flacLength(b[17:])
		return &oggSound{rate: rate, headers: 1 + int(binary.BigEndian.Uint16(b[7:])), longest: int64(binary.BigEndian.Uint16(b[19:]))}, true
	case has("Speex   ", 80): // The Speex Codec Manual, header packet
		field := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
		return &oggSound{rate: float64(field(36)), headers: 2 + int(field(68)&0xff), longest: (field(56) & 0xffff) * max(1, field(64)&0xff)}, true
	}
	return nil, false
}

// seconds is how long the stream plays.
func (s *oggSound) seconds() float64 {
	if !s.begun || !(s.rate > 0) {
		return 0
	}
	return float64(max(0, s.last-s.first-s.skip)) / s.rate
}

// begin finds where the sound begins: as many samples before the granule of its
// first page as the packets have that end on it (RFC 7845, 4.5). samples is -1
// where only their greatest number is known.
func (s *oggSound) begin(granule, samples, most int64) {
	s.begun = true
	switch {
	case samples >= 0:
		s.first = max(0, granule-samples)
	case granule > most:
		s.first, s.vague = granule, true
	}
}

// opusSamples is how many samples of 48 kHz a packet has (RFC 6716, section 3.1).
func opusSamples(b []byte) int64 {
	if len(b) == 0 {
		return -1
	}
	frame := [32]int64{
		480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 480, 960,
		120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960,
	}[b[0]>>3]
	switch {
	case b[0]&3 == 0:
		return frame
	case b[0]&3 < 3:
		return 2 * frame
	case len(b) < 2:
		return -1
	}
	return frame * int64(b[1]&63)
}

// oggFile walks the pages of a file.
type oggFile struct {
	r    io.ReaderAt
	size int64

	streams map[uint32]*oggSound // of the present link; nil for what is no sound
	sounds  []*oggSound          // of the present link, in their order
	begun   bool                 // pages that are not the first of a stream were seen in it
	seconds []float64            // of each sound in all links before
	links   int
	vague   bool // a link's length is not known to the sample
}

// inspectOgg adds up the links of a chain (RFC 3533, section 4).
func inspectOgg(r io.ReaderAt, size int64) Structure {
	f := &oggFile{r: r, size: size, streams: map[uint32]*oggSound{}}
	var last page
	at, torn := int64(0), false
	for range oggPages {
		p, ok := readPage(r, at, size)
		if !ok {
			if p, ok = f.resume(at); !ok {
				break
			}
			torn = true
		}
		last, at = p, p.end()
		if at > size {
			break
		}
		f.add(p)
	}
	whole := last.end() <= size && at >= size
	ended := whole && (last.flags&oggEnds != 0 || f.ended())
	f.close()
	s := Structure{Open: !ended, Whole: ended && !torn, Chained: f.links > 1}
	if last.end() > size && last.flags&oggEnds != 0 { // the end is known, and it is not there
		s.Size = last.end()
	}
	if f.vague && f.links == 1 || torn {
		return s // ffmpeg knows better what the first packets hold
	}
	for _, seconds := range f.seconds {
		s.Tracks = append(s.Tracks, Track{Seconds: seconds, Own: seconds > 0})
	}
	return s
}

// resume looks for the next page behind junk. It reads about as much as there is junk,
// which may be one byte behind each page.
func (f *oggFile) resume(at int64) (page, bool) {
	const magic = "OggS"
	end := min(at+oggPage, f.size)
	for size := int64(64); at < end; size = min(2*size, 32<<10) {
		b := make([]byte, min(size, end-at))
		if readAt(f.r, b, at, f.size) != nil {
			return page{}, false
		}
		for from := 0; ; {
			i := bytes.Index(b[from:], []byte(magic))
			if i < 0 {
				break
			}
			if p, ok := readPage(f.r, at+int64(from+i), f.size); ok {
				return p, true
			}
			from += i + len(magic)
		}
		if at+int64(len(b)) == end {
			break
		}
		at += int64(len(b) - len(magic) + 1) // the next one may begin at the end of what was read
	}
	return page{}, false
}

// add takes a page that is there.
func (f *oggFile) add(p page) {
	if p.flags&oggBegins != 0 {
		if f.begun {
			f.close()
		}
		if len(f.streams) < oggStreams {
			b := make([]byte, min(p.end()-p.body(), 256))
			_ = readAt(f.r, b, p.body(), f.size)
			s, ok := newOggSound(b)
			if f.streams[p.serial] = s; ok {
				f.sounds = append(f.sounds, s)
			}
		}
		return
	}
	f.begun = true
	s := f.streams[p.serial]
	if s == nil {
		return
	}
	s.ended = s.ended || p.flags&oggEnds != 0
	if p.granule <= 0 {
		return
	}
	if !s.begun {
		starts := p.packets()
		samples := int64(-1)
		if s.opus && p.flags&oggContinued == 0 {
			samples = f.opusSamples(p, starts)
		}
		s.begin(p.granule, samples, s.longest*int64(len(starts)))
	}
	s.last = max(s.last, p.granule)
}

// opusSamples is how many samples the packets at these offsets of a page have.
func (f *oggFile) opusSamples(p page, starts []int64) int64 {
	var total int64
	for _, at := range starts {
		b := make([]byte, min(2, p.end()-p.body()-at))
		if readAt(f.r, b, p.body()+at, f.size) != nil {
			return -1
		}
		n := opusSamples(b)
		if n < 0 {
			return -1
		}
		total += n
	}
	return total
}

// ended reports whether all sounds of the present link have ended.
func (f *oggFile) ended() bool {
	for _, s := range f.sounds {
		if !s.ended {
			return false
		}
	}
	return len(f.sounds) > 0
}

// close ends a link.
func (f *oggFile) close() {
	for i, s := range f.sounds {
		if i == len(f.seconds) {
			f.seconds = append(f.seconds, 0)
		}
		f.seconds[i] += s.seconds()
		f.vague = f.vague || s.vague
	}
	f.links++
	f.streams, f.sounds, f.begun = map[uint32]*oggSound{}, nil, false
}
