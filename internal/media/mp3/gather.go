package mp3

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// Found is what an MP3 file has, whatever its headers say.
type Found struct {
	Frames  int64   // of audio, without an information frame at the beginning
	Seconds float64 // that a decoder plays: the delay and padding of the information frame left out
	Tags    int64   // bytes of tags between the frames and behind them, without an ID3v1 tag at the very end
	Junk    int64   // bytes of anything else between the frames and behind them
	// Miscounted means that all bytes are there that the information frame counts, and
	// that it counts other frames than there are.
	Miscounted bool
}

// Find reads all frames of a file of that many bytes, whatever stands between them.
func Find(r io.ReaderAt, size int64) (Found, error) {
	var f Found
	var info *infoTag
	var infoSize, total int64
	first := true
	end := End(r, size)
	l := newLooseReader(r, end)
	for {
		frame, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Found{}, err
		}
		total += int64(frame.Size)
		if first {
			first = false
			if info = parseInfo(frame); info != nil {
				infoSize = int64(frame.Size)
				f.Seconds -= float64(info.delay+info.padding) / float64(frame.SampleRate)
				continue
			}
		}
		f.Frames++
		f.Seconds += float64(frame.Samples) / float64(frame.SampleRate)
	}
	f.Tags, f.Junk, f.Seconds = l.tags+max(0, withoutID3v1(r, size)-end), l.junk, max(0, f.Seconds)
	if info != nil && info.frames >= 0 && info.bytes > 0 {
		f.Miscounted = info.frames != f.Frames && (total == info.bytes || total-infoSize == info.bytes) // some writers forget their own frame
	}
	return f, nil
}

// Gather writes the frames of a file of that many bytes one behind the other. An
// information frame gets the count of frames, unless that is negative.
func Gather(w io.Writer, r io.ReaderAt, size, frames int64) error {
	out := bufio.NewWriter(w)
	l := newLooseReader(r, End(r, size))
	for first := true; ; first = false {
		frame, err := l.next()
		switch {
		case errors.Is(err, io.EOF):
			_, _ = out.Write(l.cut)
			return out.Flush()
		case err != nil:
			return err
		case first && frames >= 0:
			recount(frame, frames)
		}
		if _, err := out.Write(frame.Bytes); err != nil {
			return err
		}
	}
}

// recount changes the count of frames if the frame is an information frame that has
// one: it stands first.
func recount(f Frame, frames int64) {
	if t := parseInfo(f); t != nil && t.frames >= 0 {
		binary.BigEndian.PutUint32(f.Bytes[4+f.side+infoFrames:], uint32(frames))
	}
}

// End returns the position where the tags at the end of an MP3 file begin: ID3v1, and
// APE before it.
func End(r io.ReaderAt, size int64) int64 {
	size = withoutID3v1(r, size)
	var b [apeFooter]byte
	if n, _ := r.ReadAt(b[:], size-apeFooter); n < apeFooter || !bytes.HasPrefix(b[:], apeMark) {
		return size
	}
	return max(0, size-apeSize(b[:]))
}

func withoutID3v1(r io.ReaderAt, size int64) int64 {
	var b [3]byte
	if n, _ := r.ReadAt(b[:], size-id3v1); n == len(b) && string(b[:]) == "TAG" {
		size -= id3v1
	}
	return size
}

const (
	id3v1     = 128 // bytes of the tag
	apeFooter = 32  // bytes of an APE tag's footer, and of its header
)

var apeMark = []byte("APETAGEX")

// apeSize is how many bytes a tag of APE version 2 has, by its header or its footer.
func apeSize(b []byte) int64 {
	n := int64(binary.LittleEndian.Uint32(b[12:])) // with the footer, without the header
	if binary.LittleEndian.Uint32(b[20:])>>31 == 1 {
		n += apeFooter
	}
	return n
}

// looseReader finds frames between anything else.
type looseReader struct {
	br         *bufio.Reader
	last       int // bytes of the last frame, which are still in the buffer
	any        bool
	tags, junk int64  // bytes behind the first frame that belong to no frame
	cut        []byte // the last frame, if the file ends within it
}

func newLooseReader(r io.ReaderAt, end int64) *looseReader {
	return &looseReader{br: bufio.NewReaderSize(io.NewSectionReader(r, 0, end), 64<<10)}
}

// next returns the next frame, io.EOF at the end. Its bytes are valid until the next
// call.
func (l *looseReader) next() (Frame, error) {
	if _, err := l.br.Discard(l.last); err != nil {
		return Frame{}, err
	}
	l.last = 0
	for lost := !l.any; ; lost = true {
		head, err := l.br.Peek(apeFooter)
		if len(head) == 0 {
			return Frame{}, err
		}
		if n := tagSize(head); n > 0 {
			skipped, err := io.CopyN(io.Discard, l.br, n)
			l.count(&l.tags, skipped)
			if err != nil {
				return Frame{}, err
			}
			continue
		}
		f, ok := l.frame(head, lost)
		if ok && len(f.Bytes) < f.Size { // the file ends
			l.cut = bytes.Clone(f.Bytes)
			return Frame{}, io.EOF
		}
		if ok {
			l.any, l.last = true, f.Size
			return f, nil
		}
		if _, err := l.br.Discard(1); err != nil {
			return Frame{}, err
		}
		l.count(&l.junk, 1)
	}
}

func (l *looseReader) count(of *int64, n int64) {
	if l.any {
		*of += n
	}
}

// frame reads a frame here. Where the sequence of frames was lost, another one or a
// tag must follow, or the end of the file.
func (l *looseReader) frame(head []byte, lost bool) (Frame, bool) {
	if len(head) < 4 {
		return Frame{}, false
	}
	h, ok := parseHeader(binary.BigEndian.Uint32(head))
	if !ok {
		return Frame{}, false
	}
	b, _ := l.br.Peek(h.Size + apeFooter)
	f := Frame{Header: h, Bytes: b[:min(len(b), h.Size)]}
	if !lost {
		return f, true
	}
	if len(b) < h.Size {
		return Frame{}, false
	}
	behind := b[h.Size:]
	if len(behind) < 4 || tagSize(behind) > 0 {
		return f, len(behind) == 0 || tagSize(behind) > 0
	}
	next, ok := parseHeader(binary.BigEndian.Uint32(behind))
	return f, ok && next.SampleRate == h.SampleRate
}

// tagSize is how many bytes the tag has that begins here; 0 for none.
func tagSize(b []byte) int64 {
	switch {
	case len(b) >= id3v2Head && string(b[:3]) == "ID3" && b[3] < 0xff:
		size, _ := id3v2Size(b)
		return int64(size)
	case bytes.HasPrefix(b, []byte("TAG")):
		return id3v1
	case len(b) >= apeFooter && bytes.HasPrefix(b, apeMark):
		if binary.LittleEndian.Uint32(b[20:])>>29&1 == 1 { // its header
			return apeSize(b)
		}
		return apeFooter
	}
	return 0
}
