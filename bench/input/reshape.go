package input

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// shape is what a video is changed into.
type shape struct {
	chunk   float64 // seconds of each track in turn, as cameras write them
	picture int64   // bytes that each picture is filled up to
	hollow  bool    // the filling of the pictures is not written, so the file has holes there
}

// chunk is a run of samples of one track without gaps between them.
type chunk struct {
	track   int
	samples []sample
}

// reshape rewrites the tracks of an MP4, with the index first.
func reshape(from, to *os.File, s shape) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	m, err := readMovie(from, info.Size())
	if err != nil {
		return err
	}
	chunks := m.chunks(s.chunk)
	// The size of the index does not depend on where the chunks are. So the
	// index is made twice: the first time only to learn its size.
	var head []byte
	for range 2 {
		m.index(chunks, s, int64(len(head)))
		head = m.tree.append(bytes.Clone(m.ftyp))
		head = append(head, mediaHeader(m.mediaSize(s))...)
	}
	w := &filler{file: to, buffered: bufio.NewWriterSize(to, 1<<20), hollow: s.hollow}
	w.write(head)
	for _, c := range chunks {
		for _, sample := range c.samples {
			w.copy(from, sample)
			w.fill(m.tracks[c.track].padding(sample, s))
		}
	}
	return w.close()
}

// chunks orders the samples: in turn, some seconds of each track.
func (m *movie) chunks(seconds float64) []chunk {
	var chunks []chunk
	next := make([]int, len(m.tracks))
	for turn, left := 1, true; left; turn++ {
		left = false
		for i, t := range m.tracks {
			first := next[i]
			for next[i] < len(t.samples) && t.samples[next[i]].at < float64(turn)*seconds {
				next[i]++
			}
			if next[i] > first {
				chunks = append(chunks, chunk{i, t.samples[first:next[i]]})
			}
			left = left || next[i] < len(t.samples)
		}
	}
	return chunks
}

// padding is how many bytes follow a sample.
func (t *track) padding(sample sample, s shape) int64 {
	if n := s.picture - sample.size; t.kind == "vide" && n >= leastFill {
		return n
	}
	return 0
}

func (m *movie) mediaSize(s shape) (sum int64) {
	for _, t := range m.tracks {
		for _, sample := range t.samples {
			sum += sample.size + t.padding(sample, s)
		}
	}
	return sum
}

// index makes the tables of sizes and places for chunks that begin at start.
func (m *movie) index(chunks []chunk, s shape, start int64) {
	for i, t := range m.tracks {
		sizes, runs, places := table(0, 0, 0), table(0, 0), table(0, 0)
		offset, number, last := start, 0, 0
		for _, c := range chunks {
			if c.track == i {
				number++
				if len(c.samples) != last {
					last = len(c.samples)
					runs = append(runs, table(number, last, 1)...)
					binary.BigEndian.PutUint32(runs[4:], uint32(len(runs)-8)/12)
				}
				places = binary.BigEndian.AppendUint64(places, uint64(offset))
			}
			for _, sample := range c.samples {
				size := sample.size + m.tracks[c.track].padding(sample, s)
				offset += size
				if c.track == i {
					sizes = append(sizes, table(int(size))...)
				}
			}
		}
		binary.BigEndian.PutUint32(sizes[8:], uint32(len(t.samples)))
		binary.BigEndian.PutUint32(places[4:], uint32(number))
		t.stbl.replace(&box{kind: "stsz", content: sizes}, "stsz")
		t.stbl.replace(&box{kind: "stsc", content: runs}, "stsc")
		t.stbl.replace(&box{kind: "co64", content: places}, "stco", "co64")
	}
}

func table(numbers ...int) (content []byte) {
	for _, n := range numbers {
		content = binary.BigEndian.AppendUint32(content, uint32(n))
	}
	return content
}

// mediaHeader returns the header of the box for this many bytes of samples.
func mediaHeader(size int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0, 0, 0, 1, 'm', 'd', 'a', 't'}, uint64(size+16))
}

// filler writes samples. After pictures it writes H.264's filler data, which
// decoders skip.
type filler struct {
	file     *os.File
	buffered *bufio.Writer
	hollow   bool
	err      error
}

// leastFill is the smallest unit of filler data, including its length.
const leastFill = 6

var full = bytes.Repeat([]byte{0xff}, 64<<10)

func (f *filler) write(content []byte) {
	if f.err == nil {
		_, f.err = f.buffered.Write(content)
	}
}

func (f *filler) copy(from io.ReaderAt, s sample) {
	if f.err == nil {
		_, f.err = io.Copy(f.buffered, io.NewSectionReader(from, s.offset, s.size))
	}
}

func (f *filler) fill(size int64) {
	if size == 0 {
		return
	}
	f.write(append(table(int(size-4)), 12)) // 12: filler data
	size -= leastFill
	if f.hollow && f.err == nil {
		if f.err = f.buffered.Flush(); f.err == nil {
			_, f.err = f.file.Seek(size, io.SeekCurrent)
		}
		size = 0
	}
	for size > 0 {
		n := min(size, int64(len(full)))
		f.write(full[:n])
		size -= n
	}
	f.write([]byte{0x80}) // ends the unit, and the file if its last picture has a hole
}

func (f *filler) close() error {
	if f.err == nil {
		f.err = f.buffered.Flush()
	}
	if f.err != nil {
		return fmt.Errorf("write the video: %w", f.err)
	}
	return nil
}
