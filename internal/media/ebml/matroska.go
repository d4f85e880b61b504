package ebml

import "io"

// Elements of Matroska (RFC 9559, section 5.1) that more than one package looks for.
const (
	Segment      = 0x18538067
	SeekHead     = 0x114d9b74
	Seek         = 0x4dbb
	SeekID       = 0x53ab
	SeekPosition = 0x53ac
	Info         = 0x1549a966
	Scale        = 0x2ad7b1 // TimestampScale
	Duration     = 0x4489
	Tracks       = 0x1654ae6b
	TrackEntry   = 0xae
	TrackType    = 0x83
	FlagDefault  = 0x88
	Language     = 0x22b59c
	CodecID      = 0x86
	Encodings    = 0x6d80 // ContentEncodings
	Chapters     = 0x1043a770
	Tags         = 0x1254c367
	Cues         = 0x1c53bb6b
	Cluster      = 0x1f43b675
)

// IsAudio reports whether the element, a TrackEntry, is one of an audio track.
func (e Element) IsAudio(r io.ReaderAt) bool {
	const audio = 2
	return e.Child(r, TrackType).Uint(r) == audio
}

// IsDefault reports whether the element, a TrackEntry, is one of a default track, which
// it is unless it says otherwise.
func (e Element) IsDefault(r io.ReaderAt) bool {
	flag := e.Child(r, FlagDefault)
	return flag.ID == 0 || flag.Uint(r) == 1
}

// Language is that of the element, a TrackEntry: English unless it says otherwise.
func (e Element) Language(r io.ReaderAt) string {
	if language := e.Child(r, Language); language.ID != 0 {
		return language.Text(r)
	}
	return "eng"
}
