package media

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// errNotMP3 is wrapped by every complaint of ReadMP3 about the data.
var errNotMP3 = errors.New("not an MP3 stream")

// MP3 is what one pass over an MP3 file tells.
type MP3 struct {
	Size       int64
	Frames     int64 // of sound, the information frame left out
	SampleRate int   // Hz
	Channels   int
	Samples    int64 // per channel that a decoder plays: encoder delay and padding left out
	SHA256     string
	MD5        [md5.Size]byte
}

// Seconds is how long a decoder plays.
func (m MP3) Seconds() float64 {
	if m.SampleRate == 0 {
		return 0
	}
	return float64(m.Samples) / float64(m.SampleRate)
}

// ReadMP3 reads a whole MP3 file: an ID3v2 tag, frames of one sample rate, an
// ID3v1 tag. It returns an error for anything between them, for a last frame
// that is cut, and for a Xing header that counts other than the frames there
// are. Format: ISO 11172-3 and 13818-3; the LAME tag as described at
// gabriel.mp3-tech.org/mp3infotag.html.
func ReadMP3(r io.Reader) (MP3, error) {
	sha, md := sha256.New(), md5.New()
	count := &counter{}
	br := bufio.NewReaderSize(io.TeeReader(r, io.MultiWriter(sha, md, count)), 64<<10)
	m, err := readFrames(br)
	if err != nil {
		return MP3{}, err
	}
	m.Size = count.n
	m.SHA256 = hex.EncodeToString(sha.Sum(nil))
	copy(m.MD5[:], md.Sum(nil))
	return m, nil
}

func readFrames(br *bufio.Reader) (MP3, error) {
	if err := skipID3v2(br); err != nil {
		return MP3{}, err
	}
	var m MP3
	var info *infoTag
	for {
		head, err := br.Peek(4)
		if err == io.EOF && len(head) == 0 {
			break
		}
		if bytes.HasPrefix(head, []byte("TAG")) {
			if n, _ := br.Discard(128); n != 128 || !atEnd(br) {
				return MP3{}, fmt.Errorf("%w: ID3v1 tag cut or in the middle", errNotMP3)
			}
			break
		}
		if err != nil {
			return MP3{}, fmt.Errorf("%w: %d odd bytes at the end: %w", errNotMP3, len(head), err)
		}
		h, ok := parseHeader(binary.BigEndian.Uint32(head))
		if !ok {
			return MP3{}, fmt.Errorf("%w: no frame after %d frames", errNotMP3, m.Frames)
		}
		frame, err := br.Peek(h.size)
		if err != nil {
			return MP3{}, fmt.Errorf("%w: frame %d is cut: %w", errNotMP3, m.Frames, err)
		}
		first := m.SampleRate == 0
		if first {
			m.SampleRate, m.Channels = h.sampleRate, h.channels
			info = parseInfo(h, frame)
		} else if m.SampleRate != h.sampleRate {
			return MP3{}, fmt.Errorf("%w: frame %d has another sample rate", errNotMP3, m.Frames)
		}
		if !first || info == nil { // the information frame holds no sound
			m.Frames++
			m.Samples += int64(h.samples)
		}
		if _, err := br.Discard(h.size); err != nil {
			return MP3{}, fmt.Errorf("read frame: %w", err)
		}
	}
	if info == nil {
		return m, nil
	}
	if info.frames >= 0 && info.frames != m.Frames {
		return MP3{}, fmt.Errorf("%w: header counts %d frames, there are %d", errNotMP3, info.frames, m.Frames)
	}
	m.Samples = max(0, m.Samples-int64(info.delay)-int64(info.padding))
	return m, nil
}

// header is one frame header of layer III.
type header struct {
	sampleRate, channels int
	samples              int // per channel
	size                 int // bytes, header included
	side                 int // bytes of side information
}

var (
	kbpsMPEG1  = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	kbpsMPEG2  = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}
	ratesMPEG1 = [4]int{44100, 48000, 32000, 0}
)

// parseHeader reads a frame header. Free format is not accepted: its frames
// have no size of their own.
func parseHeader(b uint32) (header, bool) {
	version, layer := b>>19&3, b>>17&3
	if b>>21 != 0x7ff || version == 1 || layer != 1 {
		return header{}, false
	}
	rate := ratesMPEG1[b>>10&3]
	h := header{samples: 1152, channels: 2, side: 32}
	kbps, mono := kbpsMPEG1[b>>12&15], b>>6&3 == 3
	if mono {
		h.channels, h.side = 1, 17
	}
	if version != 3 { // MPEG-2, or 2.5 at half its rates
		kbps, rate = kbpsMPEG2[b>>12&15], rate/2
		h.samples, h.side = 576, 17
		if mono {
			h.side = 9
		}
		if version == 0 {
			rate /= 2
		}
	}
	if rate == 0 || kbps == 0 {
		return header{}, false
	}
	h.sampleRate = rate
	h.size = h.samples/8*kbps*1000/rate + int(b>>9&1)
	if h.size < 4+h.side {
		return header{}, false
	}
	return h, true
}

// infoTag is a Xing or Info header with its LAME extension.
type infoTag struct {
	frames         int64 // -1 where not given
	delay, padding int   // samples
}

func parseInfo(h header, frame []byte) *infoTag {
	b := frame[4+h.side:]
	if len(b) < 8 || string(b[:4]) != "Xing" && string(b[:4]) != "Info" {
		return nil
	}
	t := &infoTag{frames: -1}
	flags := binary.BigEndian.Uint32(b[4:])
	b = b[8:]
	for bit, size := range [4]int{4, 4, 100, 4} { // frames, bytes, table of contents, quality
		if flags>>bit&1 == 0 {
			continue
		}
		if len(b) < size {
			return t
		}
		if bit == 0 {
			t.frames = int64(binary.BigEndian.Uint32(b))
		}
		b = b[size:]
	}
	if len(b) >= 24 && b[0] != 0 { // the encoder's name, …, delay and padding of 12 bits each
		t.delay = int(b[21])<<4 | int(b[22])>>4
		t.padding = int(b[22]&15)<<8 | int(b[23])
	}
	return t
}

func skipID3v2(br *bufio.Reader) error {
	head, err := br.Peek(10)
	if err != nil || string(head[:3]) != "ID3" {
		return nil //nolint:nilerr // the frames will tell
	}
	size := 0
	for _, c := range head[6:10] {
		if c > 127 {
			return fmt.Errorf("%w: bad size of the ID3 tag", errNotMP3)
		}
		size = size<<7 | int(c)
	}
	if head[5]&0x10 != 0 { // a footer
		size += 10
	}
	if _, err := br.Discard(10 + size); err != nil {
		return fmt.Errorf("%w: ID3 tag is cut: %w", errNotMP3, err)
	}
	return nil
}

func atEnd(br *bufio.Reader) bool {
	_, err := br.Peek(1)
	return err == io.EOF
}

// counter counts the bytes written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
