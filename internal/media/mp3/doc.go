// Package mp3 reads and writes MP3 files frame by frame: it decodes nothing.
//
// A file is an ID3v2 tag (optional), frames of one sample rate, and an ID3v1
// tag (optional). Its first frame may be an information frame, which holds no
// audio but counts the frames and says how many samples a decoder has to leave
// out at either end.
//
// Formats: ISO 11172-3 and 13818-3, MPEG-2.5 as LAME writes it; the
// information frame as described at gabriel.mp3-tech.org/mp3infotag.html.
package mp3

import "errors"

// ErrFormat is wrapped by every complaint about the data.
var ErrFormat = errors.New("not an MP3 stream")
