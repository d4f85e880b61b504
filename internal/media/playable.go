package media

import (
	"io"
)

// playable passes the sound that is the source's. Coders that work in blocks
// fill the last one up; an MP4 tells where the sound ends, and ffmpeg decodes
// on. Where more than a block would have to go, the MP4's tables are wrong, and
// all of it stays.
type playable struct {
	r     io.Reader
	left  int64 // bytes until the end that the source tells; < 0 where it tells none
	block int   // bytes, more than any coder's

	held []byte // behind that end
	err  error  // of r
}

func (p *playable) Read(b []byte) (int, error) {
	if p.left != 0 {
		if p.left > 0 && int64(len(b)) > p.left {
			b = b[:p.left]
		}
		n, err := p.r.Read(b)
		p.left -= min(int64(n), max(p.left, 0))
		return n, err
	}
	for p.err == nil && p.block > 0 {
		if len(p.held) > p.block { // too much
			p.block = 0
			break
		}
		k := len(p.held)
		p.held = append(p.held, make([]byte, p.block+1-k)...)
		n, err := p.r.Read(p.held[k:])
		p.held, p.err = p.held[:k+n], err
	}
	if p.block > 0 {
		return 0, p.err // what is held is the coder's
	}
	if len(p.held) > 0 {
		n := copy(b, p.held)
		p.held = p.held[n:]
		return n, nil
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.r.Read(b)
}
