package media

import (
	"io"

	"tonearm/internal/media/mp3"
)

// MP3 is what one pass over an MP3 file tells.
type MP3 = mp3.Stream

// ReadMP3 reads a whole MP3 file.
func ReadMP3(r io.Reader) (MP3, error) { return mp3.Read(r) }

var errNotMP3 = mp3.ErrFormat

var (
	kbpsMPEG1 = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	kbpsMPEG2 = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}
)
