package unfit

import (
	"time"

	"tonearm/internal/conversion"
)

// Undecodable says that nothing of a track can be decoded.
func Undecodable(codec string) *Error {
	return New(conversion.CodeDamaged, "The sound track (%s) is damaged. Nothing of it can be decoded.", codec)
}

// Encrypted says that a track is encrypted.
func Encrypted() *Error {
	return New(conversion.CodeUnsupportedCodec, "The sound track is copy-protected (encrypted).")
}

// TooLarge says that the MP3 would have more bytes than it may have.
func TooLarge(maxBytes int64) *Error {
	return New(conversion.CodeLimitExceeded, "The MP3 would be larger than the limit of %d bytes (%s).", maxBytes, conversion.Size(maxBytes))
}

// About writes seconds as a person would.
func About(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// Exact writes seconds with all digits that the options can have.
func Exact(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond).String()
}
