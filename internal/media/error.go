package media

import (
	"tonearm/internal/conversion"
	"tonearm/internal/media/unfit"
)

// Error says why a source can never become an MP3. Every other error of this
// package may heal: a full disk, a crash of ffmpeg, a deadline.
type Error = unfit.Error

func undecodable(codec string) *Error {
	return unfit.New(conversion.CodeDamaged, "The sound track (%s) is damaged. Nothing of it can be decoded.", codec)
}

func tooLarge(maxBytes int64) *Error {
	return unfit.New(conversion.CodeLimitExceeded, "The MP3 would be larger than the limit of %d bytes (%s).", maxBytes, conversion.Size(maxBytes))
}
