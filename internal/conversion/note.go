package conversion

import "fmt"

// Note is something worth knowing about a result.
type Note struct {
	Code    NoteCode `json:"code" bson:"code"`
	Message string   `json:"message" bson:"message"`
	At      float64  `json:"at_seconds,omitempty" bson:"at_seconds,omitempty" doc:"Where in the MP3; missing where that is not known"` // 0 where that is not known
}

// String is the message with the place, and the code.
func (n Note) String() string {
	if n.At > 0 {
		return fmt.Sprintf("At %s: %s (%s)", Clock(n.At), n.Message, n.Code)
	}
	return fmt.Sprintf("%s (%s)", n.Message, n.Code)
}

// NoteCode is a stable word for a Note.
type NoteCode string

// Codes of notes.
const (
	NoteCopied        NoteCode = "copied"          // the source's MP3 frames were passed through
	NoteNotCopied     NoteCode = "not_copied"      // the source is MP3, and why it was encoded all the same
	NoteBitrateExcess NoteCode = "bitrate_excess"  // far above the source's, which gains nothing
	NoteRateChanged   NoteCode = "rate_changed"    // MP3 has no such sample rate
	NoteDownmixed     NoteCode = "downmixed"       // from more than two channels
	NoteNoCover       NoteCode = "no_cover"        // asked for, and why there is none
	NoteLimited       NoteCode = "peaks_limited"   // peaks were held below the ceiling to reach the loudness
	NoteLoudnessOff   NoteCode = "loudness_missed" // the loudness asked for was not reached, and why

	NoteChaptersLeftOut   NoteCode = "chapters_left_out"  // the source has more than are kept
	NoteParametersChanged NoteCode = "parameters_changed" // the source's sample rate or channels, midway
	NoteGap               NoteCode = "gap"                // a pause in the source's timeline, which was left out
	NotePacketsLost       NoteCode = "packets_lost"       // that could not be decoded
	NoteClipped           NoteCode = "clipped"            // above full scale
)

// NoteCodes lists every code.
var NoteCodes = []NoteCode{
	NoteCopied, NoteNotCopied, NoteBitrateExcess, NoteRateChanged, NoteDownmixed, NoteNoCover, NoteLimited, NoteLoudnessOff,
	NoteChaptersLeftOut, NoteParametersChanged, NoteGap, NotePacketsLost, NoteClipped,
}
