package container

import (
	"io"

	"tonearm/internal/media/mp3"
)

// inspectMPEG reads the information frame that an encoder puts before the frames
// of an MP3. It counts the samples if it also counts the bytes that are there: more
// of them are another MP3 behind the first, or tags.
func inspectMPEG(r io.ReaderAt, size int64) Structure {
	const slack = 4 << 10 // tags behind the sound, and writers that forget their own frame
	b := make([]byte, min(size, 4<<10))
	if readAt(r, b, 0, size) != nil {
		return Structure{}
	}
	samples, rate, bytes := mp3.Counted(b)
	switch {
	case bytes == 0:
		return Structure{}
	case size < bytes-slack:
		return Structure{Torn: true}
	case size > bytes+slack:
		return Structure{Whole: true}
	}
	return Structure{Tracks: counted(samples, float64(rate))}
}
