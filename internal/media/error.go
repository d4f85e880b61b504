package media

import (
	"fmt"

	"tonearm/internal/conversion"
)

// Error says why a source can never become an MP3. Every other error of this
// package may heal: a full disk, a crash of ffmpeg, a deadline.
type Error struct {
	Code    conversion.Code
	Message string // a sentence for the person who uploaded the file
	Detail  string // what ffmpeg said, for the operator; may be ''
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

func refuse(code conversion.Code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...)}
}

func undecodable(codec string) *Error {
	return refuse(conversion.CodeDamaged, "The sound track (%s) is damaged. Nothing of it can be decoded.", codec)
}

func tooLarge(maxBytes int64) *Error {
	return refuse(conversion.CodeLimitExceeded, "The MP3 would be larger than the limit of %d bytes (%s).", maxBytes, conversion.Size(maxBytes))
}

// because adds what ffmpeg said.
func (e *Error) because(stderr string) *Error {
	e.Detail = stderr
	return e
}
