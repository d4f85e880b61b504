// Package container reads what the outermost layer of a file says about it,
// without ffmpeg and without decoding anything.
package container

import (
	"fmt"
	"io"
	"strings"

	"tonearm/internal/media/mp4"
)

// Structure is what the outermost layer of a file says about it.
type Structure struct {
	Known  bool       // some container's signature was found
	Size   int64      // bytes that the file ought to have; 0 where it does not say
	Whole  bool       // it has all the bytes that it says it has
	MP4    *mp4.Movie // of MP4, MOV and their kin
	Tracks []Track    // of audio, as far as it tells
	// Open means that nothing says where the sound ends, as in a recording that was
	// never finished or a stream that was saved: its length is only what is there.
	Open bool
	// Torn means that bytes seem to be missing at the end. Some programs write so
	// into whole files: it only counts if sound is missing too.
	Torn bool
	// Chained means that several streams of Ogg follow each other (RFC 3533, section 4),
	// each with a clock of its own.
	Chained bool
	Last    float64 // seconds, the time stamp at the very end of an FLV; 0 elsewhere
	// Names are what a Matroska file or an FLV calls the codecs of its audio tracks.
	Names []string

	Streamable bool // it can be played from a pipe and sounds the same
	Late       bool // tags and the like may stand after the audio
}

// Inspect reads the outermost layer of the size bytes in r.
func Inspect(r io.ReaderAt, size int64) (Structure, error) {
	head := make([]byte, 2*tsPacket+1)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return Structure{}, fmt.Errorf("read the head: %w", err)
	}
	head = head[:n]
	if isMP4 := len(head) >= 8 && mp4Start[string(head[4:8])]; isMP4 {
		return inspectMP4(r, size)
	}
	if len(head) > 2*tsPacket && head[0] == tsSync && head[tsPacket] == tsSync && head[2*tsPacket] == tsSync {
		return Structure{Streamable: true}, nil
	}
	for _, k := range kinds {
		if strings.HasPrefix(string(head), k.magic) {
			s := Structure{}
			if k.read != nil {
				s = k.read(r, size)
			}
			s.Known = true
			s.Whole = s.Whole || s.Size > 0 && s.Size <= size
			return s, nil
		}
	}
	return inspectMPEG(r, size), nil
}

// kinds are the containers that begin with a text of their own.
var kinds []kind

type kind struct {
	magic string
	read  func(r io.ReaderAt, size int64) Structure // nil where nothing is read
}

func init() { // ID3 may stand before any of them
	kinds = []kind{
		{"\x1a\x45\xdf\xa3", inspectMatroska},
		{"RIFF", inspectRIFF}, {"RF64", inspectRF64}, {"BW64", inspectRF64}, {"riff\x2e\x91\xcf\x11", inspectW64},
		{"FORM", inspectAIFF}, {"caff", inspectCAF}, {".snd", inspectAU},
		{"fLaC", inspectFLAC}, {"TTA1", inspectTTA}, {"wvpk", inspectWavPack},
		{asfHeader, inspectASF}, {"FLV\x01", inspectFLV}, {"OggS", inspectOgg},
		{"ID3", inspectBehindID3}, {"#!AMR", nil}, {"\x00\x00\x01\xba", nil},
	}
}

func inspectMP4(r io.ReaderAt, size int64) (Structure, error) {
	m, err := mp4.Read(r, size)
	if err != nil {
		return Structure{}, err
	}
	s := Structure{Known: true, MP4: m, Streamable: m.Streamable()}
	if m.Fragmented || !m.Found {
		s.Size = m.End // else the sample tables tell more exactly
	}
	s.Whole = m.End <= size
	return s, nil
}

// inspectBehindID3 reads what stands behind a tag (id3.org, ID3v2.4.0, section 3).
func inspectBehindID3(r io.ReaderAt, size int64) Structure {
	var h [10]byte
	if readAt(r, h[:], 0, size) != nil {
		return Structure{}
	}
	at := int64(h[6]&0x7f)<<21 | int64(h[7]&0x7f)<<14 | int64(h[8]&0x7f)<<7 | int64(h[9]&0x7f)
	if at += int64(len(h)); h[5]&0x10 != 0 {
		at += int64(len(h)) // a footer
	}
	if at >= size {
		return Structure{}
	}
	s, err := Inspect(io.NewSectionReader(r, at, size-at), size-at)
	if err != nil || s.MP4 != nil {
		return Structure{}
	}
	if s.Size > 0 {
		s.Size += at
	}
	s.Streamable, s.Late = false, false
	return s
}

// A transport stream is packets that begin alike (ISO/IEC 13818-1).
const (
	tsPacket = 188 // bytes
	tsSync   = 'G'
)

var mp4Start = map[string]bool{"ftyp": true, "moov": true, "mdat": true, "wide": true, "free": true, "skip": true, "pnot": true, "styp": true}

// readAt fills p from an offset. Reading beyond the size bytes of r gives
// io.EOF.
func readAt(r io.ReaderAt, p []byte, at, size int64) error {
	if at < 0 || at > size-int64(len(p)) {
		return io.EOF
	}
	if n, err := r.ReadAt(p, at); n < len(p) {
		return err
	}
	return nil
}
