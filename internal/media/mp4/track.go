package mp4

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
)

// Track is one track of any kind.
type Track struct {
	ID             uint32
	Handler        string // what it holds: "soun", "vide", "text"…
	Enabled        bool   // a demuxer takes the first enabled one for the default
	AlternateGroup int    // tracks with the same number other than 0 are alternatives
	Language       string // ISO 639-2, '' for none
	Codec          string // four bytes of its first sample description
	Descriptions   int    // how many sample descriptions it has
	Encrypted      bool
	External       bool   // its samples are in another file
	Timescale      uint32 // units per second
	Duration       uint64 // of all samples, in units of Timescale
	SampleRate     int    // Hz, from its first sample description; a decoder may know better; 0 if there is none
	Channels       int    // likewise
	Order          string // of the channels of PCM, such as "FL+FR+SL+SR+FC+LFE"; '' where it does not say
	Object         byte   // what "mp4a" stands for, by the numbers of ISO/IEC 14496-1; 0 where it does not say
	Edits          []Edit
	Extended       bool // AAC whose description says that a decoder doubles its rate (HE-AAC)
	// Retimed means that the time table does not count the samples of AAC packets: a
	// recorder wrote times by its own clock. The samples last as long as they are many.
	Retimed bool
	Usual   float64 // seconds that most samples last

	// What the edit list shows of the samples; without a list, all of them.
	Seconds float64 // of the samples that are shown
	Delay   float64 // seconds before the first of them
	Skip    float64 // seconds of samples before the first of them; -1 where they are shown in pieces
	// Pieces are what is shown, in its order, if the list has more than one edit behind
	// empty ones, or a rate; nil where its edits cannot be followed.
	Pieces []Piece

	stts        struct{ entries, delta uint32 } // of the first entry
	deltas      map[uint32]uint64               // how many samples last that long; the first few durations
	timed       uint64                          // in the time table
	inFragments uint64                          // duration of the samples in fragments, like Duration
	format      audioFormat
	partialSync bool // more samples than those of stss are sync samples to a demuxer
	// split means that the edit list shows more than one stretch of the track at its own
	// rate, or a pause behind it. ffmpeg takes such a pause for a piece from the beginning,
	// does not know rates, and goes back to the first sample for each piece.
	split bool
	shown []Piece // by the edit list; nil without one
	odd   bool    // two tables of one kind, or more edits than are kept

	overedited bool // more edits than are kept

	trak Box
	stbl map[string]Box
}

// maxReferences is how many tracks may be named for chapters. Each track of a
// movie names the same one or two.
const maxReferences = 64

// MaxEdits is how many edits are kept of a track.
const MaxEdits = 4096

// Edit is one entry of an edit list.
type Edit struct {
	Duration uint64 // units of the movie's timescale; 0 for all that is left
	Start    int64  // units of the track's timescale; -1 for an empty edit, a pause
	// Rate is how many seconds of the track pass in one of the movie; 0 for a single
	// moment that is shown all the time.
	Rate float64
}

func (m *Movie) readTrak(trak Box) (*Track, error) {
	t := &Track{trak: trak, stbl: map[string]Box{}, deltas: map[uint32]uint64{}}
	var edits Box
	depth := 0
	var walk func(b Box) error
	walk = func(b Box) (err error) {
		switch b.Kind {
		case "mdia", "minf", "stbl", "edts", "dinf", "tref":
			if depth++; depth > 3 { // trak/mdia/minf/stbl is the deepest
				return Malformed
			}
			defer func() { depth-- }()
			return eachBox(m.file, b, walk)
		case "tkhd":
			err = t.readTkhd(m.file, b)
		case "mdhd":
			err = t.readMdhd(m.file, b)
		case "hdlr": // QuickTime has a second one, for data, within minf
			var h [12]byte
			if err = readAt(m.file, h[:], b.Body, b.End); err == nil && t.Handler == "" {
				t.Handler = string(h[8:])
			}
		case "elst":
			edits = b
		case "chap":
			for at := b.Body; at+4 <= b.End && len(m.chapters) < maxReferences; at += 4 {
				var id [4]byte
				if err := readAt(m.file, id[:], at, b.End); err != nil {
					return err
				}
				if id := binary.BigEndian.Uint32(id[:]); !slices.Contains(m.chapters, id) {
					m.chapters = append(m.chapters, id)
				}
			}
		case "dref", "stsd", "stts", "ctts", "stss", "stsc", "stsz", "stz2", "stco", "co64":
			_, twice := t.stbl[b.Kind]
			t.odd = t.odd || twice
			t.stbl[b.Kind] = b
		case "stps":
			t.partialSync = true
		case "sbgp":
			var h [8]byte
			if readAt(m.file, h[:], b.Body, b.End) == nil && string(h[4:]) == "rap " {
				t.partialSync = true
			}
		}
		return err
	}
	if err := eachBox(m.file, trak, walk); err != nil {
		return nil, err
	}
	if err := t.readTables(m.file); err != nil {
		return nil, err
	}
	t.Retimed = t.retimed()
	if t.Timescale != 0 {
		t.Usual = float64(t.usualDelta()) / float64(t.Timescale)
		t.Seconds = float64(t.Duration) / float64(t.Timescale)
	}
	if edits.End == 0 {
		return t, nil
	}
	return t, m.readEdits(t, edits)
}

func (t *Track) readTables(r io.ReaderAt) error {
	if b, ok := t.stbl["stts"]; ok {
		if err := t.readSTTS(r, b); err != nil {
			return err
		}
	}
	if b, ok := t.stbl["stsd"]; ok {
		if err := t.readSTSD(r, b); err != nil {
			return err
		}
	}
	if b, ok := t.stbl["dref"]; ok {
		return t.readDref(r, b)
	}
	return nil
}

// readTkhd takes id, flags and alternate group.
func (t *Track) readTkhd(r io.ReaderAt, b Box) (err error) {
	if t.ID, err = readAfterTimes(r, b); err != nil {
		return err
	}
	var h [4]byte
	if err := readAt(r, h[:], b.Body, b.End); err != nil {
		return err
	}
	t.Enabled = h[3]&1 != 0
	group := b.Body + 34
	if h[0] == 1 {
		group += 12
	}
	if readAt(r, h[:2], group, b.End) == nil {
		t.AlternateGroup = int(binary.BigEndian.Uint16(h[:]))
	}
	return nil
}

// readMdhd reads timescale and language. The duration there cannot be trusted;
// it follows from the samples.
func (t *Track) readMdhd(r io.ReaderAt, b Box) (err error) {
	if t.Timescale, err = readAfterTimes(r, b); err != nil {
		return err
	}
	var h [2]byte
	if err := readAt(r, h[:1], b.Body, b.End); err != nil {
		return err
	}
	at := b.Body + 20
	if h[0] == 1 {
		at += 12
	}
	if readAt(r, h[:], at, b.End) == nil {
		t.Language = language(binary.BigEndian.Uint16(h[:]))
	}
	return nil
}

// readAfterTimes reads the field behind the two times of a full box, which
// take 8 bytes each in version 1: the timescale of mvhd and mdhd, the id of
// tkhd.
func readAfterTimes(r io.ReaderAt, b Box) (uint32, error) {
	var h [24]byte
	if err := readAt(r, h[:16], b.Body, b.End); err != nil {
		return 0, err
	}
	if h[0] != 1 {
		return binary.BigEndian.Uint32(h[12:]), nil
	}
	if err := readAt(r, h[:], b.Body, b.End); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(h[20:]), nil
}

func (t *Track) readSTTS(r io.ReaderAt, stts Box) error {
	entries, err := openTable(r, stts, 8)
	if err != nil {
		return err
	}
	t.stts.entries = entries.left
	first := true
	return entries.each(func(e []byte) {
		delta := sttsDelta(e)
		if first {
			t.stts.delta, first = delta, false
		}
		count := uint64(binary.BigEndian.Uint32(e))
		t.Duration += count * uint64(delta)
		if t.timed += count; len(t.deltas) < maxDeltas || t.deltas[delta] > 0 {
			t.deltas[delta] += count
		}
	})
}

// maxDeltas is how many durations of samples are told apart.
const maxDeltas = 64

// usualDelta is the most frequent duration of a sample.
func (t *Track) usualDelta() uint32 {
	var usual uint32
	for delta, count := range t.deltas {
		if most := t.deltas[usual]; count > most || count == most && delta > usual {
			usual = delta
		}
	}
	return usual
}

// retimed reports whether less than nine of ten packets of AAC last as long as one
// of its frames, to the tick.
func (t *Track) retimed() bool {
	if t.Codec != "mp4a" || t.Object != 0x40 || t.SampleRate == 0 || t.Timescale == 0 {
		return false
	}
	var fit uint64
	for delta, count := range t.deltas {
		samples := float64(delta) * float64(t.SampleRate) / float64(t.Timescale)
		tick := max(1, float64(t.SampleRate)/float64(t.Timescale))
		for _, frame := range []float64{480, 512, 960, 1024, 1920, 2048} { // ISO/IEC 14496-3; the last two with SBR
			if math.Abs(samples-frame) <= tick {
				fit += count
				break
			}
		}
	}
	return fit*10 < t.timed*9
}

// sttsDelta is how long the samples of an entry last.
func sttsDelta(e []byte) uint32 {
	delta := binary.BigEndian.Uint32(e[4:])
	if int32(delta) < 0 { // seen in broken files; ffmpeg takes it for 1
		return 1
	}
	return delta
}

// readSTSD reads what is needed from the sample descriptions. Their kinds need
// not be letters.
func (t *Track) readSTSD(r io.ReaderAt, stsd Box) error {
	for at := stsd.Body + 8; at+8 <= stsd.End; {
		var h [72]byte
		n := min(int64(len(h)), stsd.End-at)
		if err := readAt(r, h[:n], at, stsd.End); err != nil {
			return err
		}
		size, kind := int64(binary.BigEndian.Uint32(h[:])), string(h[4:8])
		if size < 8 || size > stsd.End-at {
			return nil // zeros behind the last one
		}
		if t.Descriptions == 0 {
			t.Codec = kind
			t.format = parseAudioFormat(h[:min(n, size)])
			if t.Handler == "soun" {
				t.SampleRate, t.Channels = int(t.format.rate), int(t.format.channels)
			}
			if t.Handler == "soun" && pcmBits(kind, t.format.bits) > 0 {
				t.Order = readOrder(r, at+t.format.length, at+size, t.format.channels)
			}
			if kind == "mp4a" {
				t.readElementary(r, at+t.format.length, at+size)
			}
		}
		t.Encrypted = t.Encrypted || Protects(kind)
		t.Descriptions++
		at += size
	}
	return nil
}

// Protects reports whether samples with a description of that kind are encrypted:
// by ISO/IEC 23001-7 (enca, encv), Apple's FairPlay (drms, drmi) or Audible (aavd).
func Protects(kind string) bool {
	switch kind {
	case "enca", "encv", "drms", "drmi", "aavd":
		return true
	}
	return false
}

// readDref looks for samples outside the file.
func (t *Track) readDref(r io.ReaderAt, dref Box) error {
	const selfContained = 1
	entries := dref
	entries.Body += 8
	return eachBox(r, entries, func(b Box) error {
		var h [4]byte
		if err := readAt(r, h[:], b.Body, b.End); err != nil {
			return err
		}
		t.External = t.External || h[3]&selfContained == 0
		return nil
	})
}
