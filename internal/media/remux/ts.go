package remux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"

	"tonearm/internal/media/track"
)

// A transport stream is packets of one size that begin alike (ISO/IEC 13818-1, 2.4.3).
const (
	tsPacket = 188 // bytes
	tsSync   = 'G'
)

// Limits of a transport stream.
const (
	tsTables  = 8        // packets of each table that are kept: what comes later only repeats it
	tsFirst   = 64 << 10 // bytes within which the tables must come
	firstPES  = firstBlocks
	tsAtATime = 1400    // packets that are read at once
	tsSoon    = 4 << 20 // bytes within which the usual streams begin
)

// A clock of a transport stream counts 33 bits (2.4.3.7).
const (
	ptsBits   = 33
	ptsSecond = 90_000 // ticks
)

// Packet identifiers.
const (
	pidPAT  = 0
	pidSDT  = 0x11
	pidSI   = 0x1f // the last one of the tables about services
	pidNull = 0x1fff
)

// stream is one kind of packets in a transport stream.
type stream struct {
	pid      uint16
	audio    bool
	coding   coding
	language string
	units    int // PES packets that have begun
}

// ts is a transport stream that is taken apart.
type ts struct {
	w        *walker
	out      builder
	pat, pmt []byte // sections
	pmtPID   uint16
	tables   map[uint16]int // packets of tables, by identifier
	streams  []stream       // in the order of the PMT
	chosen   *stream
	sound    elementary // of the chosen stream
	begun    bool       // a time stamp was seen
	begins   int64      // the earliest one of those with which streams begin
}

// transport plans a copy of a transport stream with the packets of one track: the
// tables stay, and the beginning of every stream, which tells a demuxer when the whole
// begins.
func (w *walker) transport() (*Plan, error) {
	w.container = "mpegts"
	if w.o.Pictures {
		return nil, leave(Pictures)
	}
	if w.size%tsPacket != 0 {
		return nil, leave(Unclear)
	}
	s := &ts{w: w, out: builder{r: w.r}, tables: map[uint16]int{}}
	buf := make([]byte, tsAtATime*tsPacket)
	if err := s.findTables(buf[:min(w.size, tsFirst/tsPacket*tsPacket)]); err != nil {
		return nil, err
	}
	for at := int64(0); at < w.size; {
		b := buf[:min(int64(len(buf)), w.size-at)]
		if n, err := w.r.ReadAt(b, at); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		for ; len(b) > 0; b, at = b[tsPacket:], at+tsPacket {
			keep, err := s.packet(b[:tsPacket], at)
			if err != nil {
				return nil, err
			}
			if keep {
				s.out.copy(at, tsPacket)
			}
		}
		if len(s.out.parts) > maxPieces {
			return nil, leave(TooMany)
		}
	}
	if s.chosen.units == 0 {
		return nil, leave(UnclearTrack)
	}
	return s.out.plan(w.container), s.sound.end()
}

// findTables reads the tables at the beginning, and chooses the track.
func (s *ts) findTables(b []byte) error {
	if n, err := s.w.r.ReadAt(b, 0); n < len(b) {
		return err
	}
	for ; len(b) > 0; b = b[tsPacket:] {
		h, ok := parsePacket(b[:tsPacket])
		switch {
		case !ok:
			return leave(Unclear)
		case h.pid == pidPAT && s.pat == nil:
			if s.pat = section(h, 0); !s.readPAT() {
				return leave(Unclear)
			}
		case s.pat != nil && h.pid == s.pmtPID && s.pmt == nil:
			if s.pmt = section(h, 2); !s.readPMT() {
				return leave(Unclear)
			}
			return s.choose()
		}
	}
	return leave(Unclear)
}

// packet reports whether a packet at an offset is kept.
func (s *ts) packet(b []byte, at int64) (bool, error) {
	h, ok := parsePacket(b)
	if !ok {
		return false, leave(Unclear)
	}
	switch {
	case h.pid == pidNull:
		return false, nil
	case h.pid == pidPAT || h.pid == s.pmtPID:
		if h.payload == nil { // only an adaptation field
			return false, nil
		}
		same := h.pid == pidPAT && slices.Equal(section(h, 0), s.pat) || h.pid == s.pmtPID && slices.Equal(section(h, 2), s.pmt)
		if !same {
			return false, leave(Unclear) // the streams change midway
		}
		s.tables[h.pid]++
		return s.tables[h.pid] <= tsTables, nil
	case h.pid <= pidSI:
		s.tables[h.pid]++
		return h.pid == pidSDT && s.tables[h.pid] <= tsTables, nil
	}
	i := slices.IndexFunc(s.streams, func(st stream) bool { return st.pid == h.pid })
	if i < 0 {
		if h.payload != nil {
			return false, leave(Unclear) // a demuxer would guess what it is
		}
		return false, nil // a clock
	}
	st := &s.streams[i]
	if h.scrambled {
		return false, leave(UnclearTrack)
	}
	if h.begins {
		if st.units++; st.units == 1 && !s.inTime(st, h.payload, at) {
			return false, leave(Late)
		}
	}
	if st != s.chosen {
		return st.units <= firstPES, nil
	}
	return true, s.hear(h)
}

// inTime reports whether a stream whose first PES packet begins at an offset counts for
// the beginning of the whole in the copy as it does in the file.
func (s *ts) inTime(st *stream, pes []byte, at int64) bool {
	stamp, ok := pts(pes)
	if st == s.chosen && (!ok || at > lateBytes) {
		return false
	}
	if !ok {
		return true
	}
	if !s.begun {
		s.begun, s.begins = true, stamp
		return true
	}
	since := (stamp - s.begins) << (64 - ptsBits) >> (64 - ptsBits) // with a sign
	if since < 0 {
		s.begins = stamp
	}
	return (since >= 0 || at <= tsSoon) && (st != s.chosen || since < lateSeconds*ptsSecond)
}

// pts is the time stamp of a PES packet (2.4.3.6).
func pts(b []byte) (ticks int64, ok bool) {
	const has = 0x80
	if len(b) < 14 || b[0] != 0 || b[1] != 0 || b[2] != 1 || b[6]>>6 != 2 || b[7]&has == 0 {
		return 0, false
	}
	b = b[9:]
	return int64(b[0]>>1&7)<<30 | int64(binary.BigEndian.Uint16(b[1:])>>1)<<15 | int64(binary.BigEndian.Uint16(b[3:])>>1), true
}

// hear follows the sound in a packet of the chosen stream.
func (s *ts) hear(h tsHeader) error {
	b := h.payload
	if s.sound.done() || s.chosen.units == 0 {
		return nil
	}
	if h.begins {
		const fixed = 9 // bytes of a PES packet's header
		if len(b) < fixed || len(b) < fixed+int(b[8]) {
			return leave(Unclear)
		}
		b = b[fixed+int(b[8]):]
	}
	return s.sound.write(b)
}

// tsHeader is what a packet says of itself (2.4.3.2).
type tsHeader struct {
	pid       uint16
	begins    bool   // a PES packet or a section begins in it
	payload   []byte // nil for none
	scrambled bool
}

func parsePacket(b []byte) (h tsHeader, ok bool) {
	const failed, start = 0x80, 0x40
	h.pid = binary.BigEndian.Uint16(b[1:]) & 0x1fff
	h.begins = b[1]&start != 0
	h.scrambled = b[3]&0xc0 != 0
	if b[0] != tsSync || b[1]&failed != 0 {
		return h, false
	}
	if h.pid == pidNull {
		return h, true
	}
	at := 4
	if b[3]&0x20 != 0 {
		at += 1 + int(b[4])
	}
	switch {
	case b[3]&0x30 == 0 || at > tsPacket || b[3]&0x10 != 0 && at == tsPacket:
		return h, false
	case b[3]&0x10 != 0:
		h.payload = b[at:]
	}
	return h, true
}

// section returns the only section in a packet, if it is a table of that kind; nil if
// not (2.4.4).
func section(h tsHeader, table byte) []byte {
	p := h.payload
	if !h.begins || len(p) < 4 || int(p[0])+4 > len(p) {
		return nil
	}
	p = p[1+int(p[0]):]
	if len(p) < 12 || p[0] != table {
		return nil
	}
	size := 3 + int(binary.BigEndian.Uint16(p[1:])&0xfff)
	const current = 1
	if size < 12 || size > len(p) || p[5]&current == 0 || p[6] != 0 || p[7] != 0 { // of several sections
		return nil
	}
	for _, c := range p[size:] {
		if c != 0xff {
			return nil
		}
	}
	return slices.Clone(p[:size])
}

// readPAT takes the only program (2.4.4.3).
func (s *ts) readPAT() bool {
	if s.pat == nil {
		return false
	}
	programs := 0
	for p := s.pat[8 : len(s.pat)-4]; len(p) >= 4; p = p[4:] {
		if binary.BigEndian.Uint16(p) != 0 { // else the network
			programs++
			s.pmtPID = binary.BigEndian.Uint16(p[2:]) & 0x1fff
		}
	}
	return programs == 1 && s.pmtPID > pidSI && s.pmtPID != pidNull
}

// readPMT takes the streams of the program (2.4.4.8). It reports false if one of them
// may be taken for something else.
func (s *ts) readPMT() bool {
	if s.pmt == nil {
		return false
	}
	p := s.pmt[:len(s.pmt)-4]
	about := 12 + int(binary.BigEndian.Uint16(p[10:])&0xfff)
	if about > len(p) {
		return false
	}
	if slices.ContainsFunc(otherTypes, func(registered string) bool { return bytes.Contains(p[12:about], []byte(registered)) }) {
		return false
	}
	for p = p[about:]; len(p) > 0; {
		if len(p) < 5 {
			return false
		}
		end := 5 + int(binary.BigEndian.Uint16(p[3:])&0xfff)
		if end > len(p) {
			return false
		}
		st := stream{pid: binary.BigEndian.Uint16(p[1:]) & 0x1fff}
		if !st.describe(p[0], p[5:end]) || st.pid <= pidSI || st.pid == s.pmtPID || slices.ContainsFunc(s.streams, func(o stream) bool { return o.pid == st.pid }) {
			return false
		}
		s.streams = append(s.streams, st)
		p = p[end:]
	}
	return true
}

// Types of streams (2.4.4.9; ATSC A/53 and A/52), and descriptors (2.6; ETSI EN 300
// 468, 6.2).
var (
	tsVideo = []byte{0x01, 0x02, 0x10, 0x1b, 0x24}
	tsAudio = []byte{0x03, 0x04, 0x0f, 0x11, 0x81, 0x87} // MPEG, AAC, LATM, AC-3, E-AC-3
	tsData  = []byte{0x05, 0x0d, 0x15, 0x86}
)

const (
	tsPrivate   = 0x06
	tsLanguage  = 0x0a
	tsTeletext  = 0x56
	tsSubtitles = 0x59
	tsAC3       = 0x6a
	tsEAC3      = 0x7a
)

// otherTypes are registrations of programs whose types of streams mean something else
// (2.6.8): those of a Blu-ray.
var otherTypes = []string{"\x05\x04HDMV", "\x05\x04HDPR"}

// describe takes what the PMT says of a stream. It reports false for one that is not
// surely audio, or surely none.
func (s *stream) describe(kind byte, descriptors []byte) bool {
	tags := map[byte][]byte{}
	for d := descriptors; len(d) > 0; {
		if len(d) < 2 || 2+int(d[1]) > len(d) {
			return false
		}
		if tags[d[0]] != nil {
			return false
		}
		tags[d[0]], d = d[2:2+int(d[1]):2+int(d[1])], d[2+int(d[1]):]
	}
	var languages []string
	for l := tags[tsLanguage]; len(l) >= 4; l = l[4:] {
		languages = append(languages, string(l[:3]))
	}
	s.language = strings.Join(languages, ",")
	known := func(tag byte) bool { _, ok := tags[tag]; return ok }
	switch {
	case slices.Contains(tsVideo, kind), slices.Contains(tsData, kind):
	case slices.Contains(tsAudio, kind):
		s.audio = true
	case kind == tsPrivate && (known(tsAC3) || known(tsEAC3)):
		s.audio = true
	case kind == tsPrivate && (known(tsTeletext) || known(tsSubtitles)):
	default:
		return false
	}
	switch {
	case kind == 0x03 || kind == 0x04:
		s.coding = mpegSound
	case kind == 0x81 || kind == tsPrivate && known(tsAC3):
		s.coding = ac3
	case kind == 0x87 || kind == tsPrivate && known(tsEAC3):
		s.coding = eac3
	}
	return true
}

// choose chooses the track that the converter will choose.
func (s *ts) choose() error {
	var audio []*stream
	var list []track.Track
	for i := range s.streams {
		if st := &s.streams[i]; st.audio {
			audio = append(audio, st)
			list = append(list, track.Track{Language: st.language})
		}
	}
	i := track.Choose(list, s.w.o.Track)
	switch {
	case len(audio) == 0:
		return leave(UnclearTrack)
	case i < 0: // the copy will be refused as the file would be
		i = 0
	}
	s.chosen = audio[i]
	if s.w.o.Kbps != 0 && s.chosen.coding == settled { // the mean of the packets that a demuxer looks at
		return leave(VaryingRate)
	}
	s.sound.watch = watch{coding: s.chosen.coding, rates: s.w.o.Kbps != 0}
	return nil
}
