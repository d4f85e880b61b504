package conversion

import (
	"fmt"
	"math"
)

// Failures that more than one package finds.
var (
	EmptySource   = Failure{CodeEmpty, "The file is empty."}
	SourceMissing = Failure{CodeSourceMissing, "The uploaded video is gone."}
	TookTooLong   = Failure{CodeDeadlineExceeded, "The conversion took too long and was stopped."}
)

// TooLarge returns the failure of a source with more bytes than allowed.
func TooLarge(size, limit int64) Failure {
	return Failure{CodeLimitExceeded, fmt.Sprintf("The file is too large. It has %d bytes, but the limit is %d bytes (%s).", size, limit, Size(limit))}
}

// Size writes a number of bytes as people read it: 4.2 MB.
func Size(bytes int64) string {
	switch b := float64(bytes); {
	case bytes >= 1e9:
		return fmt.Sprintf("%.1f GB", b/1e9)
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", b/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
}

// Clock writes seconds as players show them: 3:07 or 1:02:03.
func Clock(seconds float64) string {
	s := int64(math.Round(seconds))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Advice says what the owner can do about a failed conversion, in sentences.
// server is the gateway's address, or empty for a path alone.
func (c Conversion) Advice(server string) string {
	code := CodeInternal
	if c.Error != nil {
		code = c.Error.Code
	}
	switch code {
	case CodeNoAudio:
		return "There is nothing to convert. If you hear sound when you play the file, check that you uploaded the right one."
	case CodeNotMedia, CodeDamaged, CodeTruncated:
		return "If the file plays on your machine, upload it again. It may have been cut off or changed on the way."
	case CodeEmpty, CodeSizeMismatch, CodeSourceChanged, CodeSourceMissing:
		return "Upload the whole file again."
	case CodeUnsupportedCodec:
		return "Convert the file to a common format, such as MP4 with AAC sound, and upload that."
	case CodeTrackNotFound, CodeStartBeyondEnd, CodeInvalidOptions:
		return "Upload the file again with other options."
	case CodeLimitExceeded:
		return "Cut the file into shorter pieces, or save it in a common format (stereo, 48 kHz), and upload that."
	}
	return "Tonearm tried several times. To try again: tonearm retry " + c.ID +
		" (or POST " + server + "/v1/conversions/" + c.ID + "/retry). You can also upload the file again later."
}
