package container

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strings"

	"tonearm/internal/media/ebml"
)

// Protection is what of a file's sound is encrypted, where ffmpeg does not know
// it. Of an MP4, package mp4 knows.
type Protection struct {
	All    bool
	Tracks []bool // of each audio track in a Matroska file
}

// Elements of Matroska's encryption (RFC 9559, 5.1.4.1.31).
const (
	mkvEncoding     = 0x6240
	mkvEncodingType = 0x5033
)

// Objects in the header of a protected ASF file: content encryption, extended and
// advanced content encryption (Advanced Systems Format specification, 3.14, 3.15;
// "Advanced Content Encryption Object").
var asfProtection = []string{
	"\xfb\xb3\x11\x22\x23\xbd\xd2\x11\xb4\xb7\x00\xa0\xc9\x55\xfc\x6e",
	"\x14\xe6\x8a\x29\x22\x26\x17\x4c\xb9\x35\xda\xe0\x7e\xe9\x28\x9c",
	"\x33\x85\x05\x43\x81\x69\xe6\x49\x9b\x74\xad\x12\xcb\x86\xd5\x8c",
}

// audible begins an audiobook of Audible in its older format, behind four bytes
// (libavformat/aadec.c). Its sound is always encrypted.
const audible = "\x57\x90\x75\x36"

// Protected reads what says that sound is encrypted.
func Protected(r io.ReaderAt) Protection {
	var head [16]byte
	n, _ := r.ReadAt(head[:], 0)
	start := string(head[:n])
	switch {
	case strings.HasPrefix(start, "\x1a\x45\xdf\xa3"):
		return Protection{Tracks: mkvProtected(r)}
	case start == asfHeader:
		return Protection{All: asfProtected(r)}
	case len(start) >= 8 && start[4:8] == audible:
		return Protection{All: true}
	}
	return Protection{}
}

// mkvProtected says of each audio track before the first cluster whether it is
// encrypted.
func mkvProtected(r io.ReaderAt) []bool {
	const encryption = 1
	for segment := range ebml.Elements(r, 0, math.MaxInt64) {
		if segment.ID != ebml.Segment {
			continue
		}
		var list []bool
		for e := range ebml.Elements(r, segment.Body, segment.End()) {
			if e.ID == ebml.Cluster || e.At-segment.Body > mkvHead {
				break
			}
			if e.ID != ebml.Tracks {
				continue
			}
			r, tracks := held(r, e)
			for t := range tracks.Children(r, ebml.TrackEntry) {
				if !t.IsAudio(r) {
					continue
				}
				protected := false
				for c := range t.Child(r, ebml.Encodings).Children(r, mkvEncoding) {
					protected = protected || c.Child(r, mkvEncodingType).Uint(r) == encryption
				}
				list = append(list, protected)
			}
		}
		return list
	}
	return nil
}

// asfProtected looks for an object of protection among those of the header.
func asfProtected(r io.ReaderAt) bool {
	at := int64(30) // behind the Header Object's own fields
	for range 256 {
		var h [24]byte
		if n, _ := r.ReadAt(h[:], at); n < len(h) {
			return false
		}
		size := binary.LittleEndian.Uint64(h[16:])
		if slices.Contains(asfProtection, string(h[:16])) {
			return true
		}
		if size < 24 || size > 16<<20 {
			return false
		}
		at += int64(size)
	}
	return false
}
