// Package unfit has the error for what can never become an MP3.
package unfit

import (
	"fmt"

	"tonearm/internal/conversion"
)

// Error says why a source can never become an MP3. Every other error of package
// media may heal: a full disk, a crash of ffmpeg, a deadline.
type Error struct {
	Code    conversion.Code
	Message string // a sentence for the person who uploaded the file
	Detail  string // what ffmpeg said, for the operator; may be ''
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// New returns an error with a sentence.
func New(code conversion.Code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...)}
}

// Because adds what ffmpeg said.
func (e *Error) Because(stderr string) *Error {
	e.Detail = stderr
	return e
}
