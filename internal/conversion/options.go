package conversion

import (
	"fmt"
	"slices"
)

// Options is how the owner wants the MP3. The zero value is the default: VBR
// quality 2, the source's rate and channels, the container's default track.
type Options struct {
	BitrateKbps  int    `json:"bitrate_kbps,omitempty" bson:"bitrate_kbps,omitempty"`     // constant bit rate; 0 for VBR
	VBRQuality   *int   `json:"vbr_quality,omitempty" bson:"vbr_quality,omitempty"`       // 0 (best) to 9; nil for the default, 2
	SampleRateHz int    `json:"sample_rate_hz,omitempty" bson:"sample_rate_hz,omitempty"` // 0 keeps the source's
	Channels     int    `json:"channels,omitempty" bson:"channels,omitempty"`             // 1 or 2; 0 keeps the source's, at most 2
	Track        string `json:"track,omitempty" bson:"track,omitempty"`                   // index among the sound tracks from 0, or a language tag
}

// DefaultVBRQuality is used where the options name neither quality nor bit rate.
const DefaultVBRQuality = 2

// Values that MP3 allows.
var (
	Bitrates    = []int{8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320}
	SampleRates = []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}
)

// OptionError says which option is wrong and what would be right.
type OptionError struct {
	Field   string // the JSON name
	Message string
}

func (e *OptionError) Error() string { return e.Field + ": " + e.Message }

// Validate returns an *OptionError for the first option that MP3 or Tonearm
// cannot honour.
func (o Options) Validate() error {
	bad := func(field, format string, a ...any) error {
		return &OptionError{Field: field, Message: fmt.Sprintf(format, a...)}
	}
	switch {
	case o.BitrateKbps != 0 && o.VBRQuality != nil:
		return bad("bitrate_kbps", "give either bitrate_kbps or vbr_quality, not both")
	case o.BitrateKbps != 0 && !slices.Contains(Bitrates, o.BitrateKbps):
		return bad("bitrate_kbps", "%d is no MP3 bit rate; one of %v", o.BitrateKbps, Bitrates)
	case o.VBRQuality != nil && (*o.VBRQuality < 0 || *o.VBRQuality > 9):
		return bad("vbr_quality", "%d is not within 0 (best) and 9", *o.VBRQuality)
	case o.SampleRateHz != 0 && !slices.Contains(SampleRates, o.SampleRateHz):
		return bad("sample_rate_hz", "%d is no MP3 sample rate; one of %v", o.SampleRateHz, SampleRates)
	case o.Channels < 0 || o.Channels > 2:
		return bad("channels", "%d is neither 1 (mono) nor 2 (stereo)", o.Channels)
	case !validTrack(o.Track):
		return bad("track", "%q is neither an index from 0 to 99 nor a language tag such as eng or de", o.Track)
	}
	return nil
}

// validTrack accepts the empty string, 0…99, and two- or three-letter language codes.
func validTrack(t string) bool {
	if t == "" {
		return true
	}
	digits, letters := 0, 0
	for _, r := range t {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			letters++
		default:
			return false
		}
	}
	return digits > 0 && letters == 0 && digits <= 2 || digits == 0 && (letters == 2 || letters == 3)
}

// class is where the options have to run. Sound gains nothing from a GPU.
func (o Options) class() Class { return CPU }
