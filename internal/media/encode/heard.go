package encode

import (
	"bytes"
	"math"
	"strconv"
)

// heard is what ffmpeg said about a track while it decoded it.
type heard struct {
	lost  int    // packets that could not be decoded
	jumps []jump // of a player's clock, the first at the beginning; at most maxJumps

	at *float64 // of the jump that is being read
}

// jump is a place where the player's clock and the count of samples part.
type jump struct {
	at     float64 // seconds of sound before it
	offset float64 // seconds that the clock is ahead of the count from here on
	lost   int     // packets that could not be decoded until here
}

func (h *heard) jump(at, offset float64) {
	if len(h.jumps) < maxJumps {
		h.jumps = append(h.jumps, jump{at, offset, h.lost})
	}
}

// shift sets the zero of the player's clock, in seconds on ffmpeg's, for jumps of a
// run that did not know it.
func (h *heard) shift(zero float64) {
	for i := range h.jumps {
		if h.jumps[i].offset -= zero; i == 0 && math.Abs(h.jumps[i].offset) < softStart {
			h.jumps[i].offset = 0
		}
	}
}

// lostPacket are ffmpeg's messages for a packet that the decoder refuses: that of
// version 5, and those of 7.
var lostPacket = [][]byte{
	[]byte("Error while decoding stream #"), []byte("Error submitting packet to decoder: "), []byte("Decoding error: "),
}

// line reads a line. A bare number is half a jump, as steadyClock prints it. The
// texts of a source never begin a line.
func (h *heard) line(b []byte) {
	if v, ok := bareNumber(b); ok {
		if h.at == nil {
			h.at = &v
			return
		}
		h.jump(*h.at, v)
		h.at = nil
		return
	}
	if len(b) == 0 || b[0] == ' ' {
		return
	}
	for _, m := range lostPacket {
		if bytes.Contains(b, m) {
			h.lost++
			return
		}
	}
}

func bareNumber(b []byte) (float64, bool) {
	if len(b) == 0 || b[0] != '-' && (b[0] < '0' || b[0] > '9') || bytes.IndexByte(b, '.') < 0 {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// lastFrame is longer than any coder's frame, in seconds.
const lastFrame = 0.25

// hole is a place where the source's timeline goes on and its sound does not.
type hole struct {
	at      float64 // seconds in the MP3
	seconds float64
	lost    bool // packets that could not be decoded leave it
}

// holes lists what is missing of the timeline between start and end, in seconds on
// a player's clock; end is 0 for none. A clock that goes back and comes forth again
// leaves no hole. Neither does a jump that only a last frame shows, at the end of the
// sound between start and end, which lasts that many seconds: ffmpeg 5 gives some
// last frames a wrong time stamp.
func (h *heard) holes(start, end, seconds float64) []hole {
	if len(h.jumps) == 0 {
		return nil
	}
	if end == 0 {
		end = math.Inf(1)
	}
	begins := math.Inf(1) // seconds of sound before the start
	for i, j := range h.jumps {
		next := math.Inf(1)
		if i+1 < len(h.jumps) {
			next = h.jumps[i+1].at
		}
		if at := max(j.at, start-j.offset); at < next {
			begins = at
			break
		}
	}
	var holes []hole
	ahead, excused := h.jumps[0].offset, 0
	for i, j := range h.jumps[1:] {
		missing := j.offset - ahead
		ahead = max(ahead, j.offset)
		excused += j.lost - h.jumps[i].lost
		if missing <= pause {
			continue
		}
		lost := excused > 0 && missing <= concealed
		if lost {
			excused--
		}
		if j.at > begins && j.at+j.offset < end && j.at-begins < seconds-lastFrame {
			holes = append(holes, hole{j.at - begins, missing, lost})
		}
	}
	return holes
}

// endsBehind reports that the clock jumped behind the end. ffmpeg 5 gives the first
// frame with another sample rate a wrong time stamp, and that may be behind the
// end, where ffmpeg stops before it sees the change.
func (h *heard) endsBehind(end float64) bool {
	if end == 0 || len(h.jumps) == 0 {
		return false
	}
	last := h.jumps[len(h.jumps)-1]
	return last.at+last.offset >= end
}

// clock is steadyClock: it tells where each frame of samples begins on a player's
// clock.
type clock struct {
	heard   *heard
	base    float64 // seconds of sound until the present sample rate began
	samples int64   // since then
	rate    int
	any     bool
	offset  float64
}

// next returns where the next frame begins, in seconds. stamp is its own time stamp
// on a player's clock, NaN for none.
func (c *clock) next(rate int, samples int64, stamp float64) float64 {
	if c.rate != rate {
		c.base, c.samples, c.rate = c.count(), 0, rate
	}
	at := c.count()
	switch {
	case math.IsNaN(stamp):
	case !c.any:
		if c.any = true; math.Abs(stamp) >= softStart {
			c.offset = stamp - at
		}
		c.heard.jump(at, c.offset)
	case math.Abs(stamp-at-c.offset) > pause:
		c.offset = stamp - at
		c.heard.jump(at, c.offset)
	}
	c.samples += samples
	return at + c.offset
}

// count is how many seconds of sound there were.
func (c *clock) count() float64 {
	if c.rate == 0 {
		return 0
	}
	return c.base + float64(c.samples)/float64(c.rate)
}

// lines calls each with every line that is written to it, without its end.
type lines struct {
	each func(line []byte)
	line []byte
}

const maxLine = 64 << 10

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.line = append(l.line, p[:min(len(p), maxLine-len(l.line))]...)
			return n, nil
		}
		line := p[:i]
		if len(l.line) > 0 {
			line = append(l.line, p[:min(i, maxLine-len(l.line))]...)
		}
		l.each(line)
		l.line, p = l.line[:0], p[i+1:]
	}
}
