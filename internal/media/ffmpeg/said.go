package ffmpeg

import "bytes"

// Limits of what is kept of ffmpeg's output, in bytes.
const (
	stderrHead = 256 << 10
	stderrTail = 16 << 10
)

// said keeps the beginning and the end of ffmpeg's output. Of the description of
// the source it leaves out what the source says in its own words: a tag may be
// longer than all that is kept, and the tracks stand behind it.
type said struct {
	described func(stderr string) // called at the end of the description; may be nil

	head, tail []byte
	cut        bool
	begin      []byte // of the line that is being written, until its kind is known
	within     bool   // the description
	skip       bool   // the rest of the line
}

// longest is how much of a line tells its kind.
const longest = len("Stream mapping:")

// Lines of a source's texts begin with four spaces, as do those of its chapters;
// lines about the whole and about its streams with two.
var ownWords = []byte("    ")

func (s *said) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, ends := p, false
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line, ends = p[:i+1], true
		}
		p = p[len(line):]
		s.add(line, ends)
	}
	return n, nil
}

// add takes a part of a line; ends says that it is the last one.
func (s *said) add(part []byte, ends bool) {
	if len(s.begin) < longest {
		k := min(len(part), longest-len(s.begin))
		s.begin = append(s.begin, part[:k]...)
		part = part[k:]
		if len(s.begin) < longest && !ends {
			return
		}
		s.judge()
		if !s.skip {
			s.keep(s.begin)
		}
	}
	if !s.skip {
		s.keep(part)
	}
	if ends {
		s.begin, s.skip = s.begin[:0], false
	}
}

// judge looks at the beginning of a line.
func (s *said) judge() {
	switch {
	case bytes.HasPrefix(s.begin, []byte("Input #0")):
		s.within = true
	case bytes.HasPrefix(s.begin, []byte("Output #0")), bytes.HasPrefix(s.begin, []byte("Stream mapping:")):
		s.within = false
		if s.described != nil {
			s.described(s.String())
			s.described = nil
		}
	default:
		s.skip = s.within && bytes.HasPrefix(s.begin, ownWords)
	}
}

func (s *said) keep(p []byte) {
	k := min(len(p), stderrHead-len(s.head))
	s.head = append(s.head, p[:k]...)
	s.tail = append(s.tail, p[k:]...)
	if over := len(s.tail) - stderrTail; over > 0 {
		s.tail = append(s.tail[:0], s.tail[over:]...)
		s.cut = true
	}
}

// String is what was kept, and the beginning of a line that has not ended.
func (s *said) String() string {
	middle := ""
	if s.cut {
		middle = "\n…\n"
	}
	all := string(s.head) + middle + string(s.tail)
	if len(s.begin) < longest {
		all += string(s.begin)
	}
	return all
}
