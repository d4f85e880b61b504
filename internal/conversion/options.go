package conversion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Options is how the owner wants the MP3. The zero value is the default: VBR
// quality 2, the source's rate and channels, the container's default track with
// its chapters and picture. Fields describes each of them. Hashes of its JSON are
// stored: see api.NewConversion before changing a field.
type Options struct {
	Preset       string    `json:"preset,omitempty" bson:"preset,omitempty"` // for options that are not given; see Presets
	BitrateKbps  int       `json:"bitrate_kbps,omitempty" bson:"bitrate_kbps,omitempty"`
	VBRQuality   *int      `json:"vbr_quality,omitempty" bson:"vbr_quality,omitempty"`
	SampleRateHz int       `json:"sample_rate_hz,omitempty" bson:"sample_rate_hz,omitempty"`
	Channels     int       `json:"channels,omitempty" bson:"channels,omitempty"`
	Track        string    `json:"track,omitempty" bson:"track,omitempty"`
	Start        float64   `json:"start,omitempty" bson:"start,omitempty"` // seconds
	End          float64   `json:"end,omitempty" bson:"end,omitempty"`     // seconds; 0 for the end of the track
	Loudness     *Loudness `json:"loudness,omitempty" bson:"loudness,omitempty"`
	Tags         *Tags     `json:"tags,omitempty" bson:"tags,omitempty"`
	Cover        Cover     `json:"cover,omitempty" bson:"cover,omitempty"`
	Chapters     string    `json:"chapters,omitempty" bson:"chapters,omitempty"` // Keep or Drop
	Copy         string    `json:"copy,omitempty" bson:"copy,omitempty"`         // Auto or Never
}

// Loudness asks for the MP3 to be made as loud as others (EBU R128).
type Loudness struct {
	TargetLUFS float64  `json:"target_lufs" bson:"target_lufs"`
	TruePeakDB *float64 `json:"true_peak_db,omitempty" bson:"true_peak_db,omitempty"` // dBTP; nil for DefaultTruePeakDB
}

// Tags are texts for the MP3's tag. An empty text is taken from the container;
// an empty title that the container lacks too is made from the file's name.
type Tags struct {
	Title   string `json:"title,omitempty" bson:"title,omitempty"`
	Artist  string `json:"artist,omitempty" bson:"artist,omitempty"`
	Album   string `json:"album,omitempty" bson:"album,omitempty"`
	Date    string `json:"date,omitempty" bson:"date,omitempty"` // 2026, 2026-11 or 2026-11-23
	Genre   string `json:"genre,omitempty" bson:"genre,omitempty"`
	Comment string `json:"comment,omitempty" bson:"comment,omitempty"`
	Track   string `json:"track,omitempty" bson:"track,omitempty"` // 3 or 3/12
}

// Cover says which picture goes into the MP3: one of the constants, or seconds
// from the beginning, such as "12.5", for the frame that is shown then. In JSON
// it is a string, or a number of seconds.
type Cover string

// Covers other than a time. The empty one is CoverAttached.
const (
	CoverNone     Cover = "none"
	CoverAttached Cover = "attached" // the container's own picture, where it has one
	CoverPoster   Cover = "poster"   // a frame that stands for the video
)

// UnmarshalJSON takes a string or a number.
func (c *Cover) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] != '"' && string(b) != "null" {
		var n json.Number
		if err := json.Unmarshal(b, &n); err != nil {
			return err
		}
		*c = Cover(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(c))
}

// Seconds returns the time of the frame that is asked for; ok is false for
// the covers with a name.
func (c Cover) Seconds() (at float64, ok bool) {
	at, err := strconv.ParseFloat(string(c), 64)
	return at, err == nil && at >= 0 && at <= maxSeconds
}

// Decodes reports whether pictures have to be decoded to find the cover.
func (c Cover) Decodes() bool {
	_, at := c.Seconds()
	return at || c == CoverPoster
}

// Values of Chapters and Copy. The empty string means the first of each.
const (
	ChaptersKeep = "keep"
	ChaptersDrop = "drop"
	CopyAuto     = "auto" // a track that is MP3 already is passed through if no option needs an encoding
	CopyNever    = "never"
)

// DefaultVBRQuality is used where the options name neither quality nor bit
// rate, DefaultTruePeakDB where a loudness comes without a ceiling.
const (
	DefaultVBRQuality = 2
	DefaultTruePeakDB = -1.0
)

// Values that MP3 allows.
var (
	Bitrates    = []int{8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320}
	SampleRates = []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}
)

// Limits of the other options.
const (
	MinTargetLUFS = -36.0
	MaxTargetLUFS = -8.0
	MinTruePeakDB = -9.0
	MaxTruePeakDB = 0.0

	maxSeconds = 1e6 // of a time in the video
	maxTag     = 1000
	maxComment = 10_000 // characters
)

// Preset is a set of options under a name.
type Preset struct {
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Options     Options `json:"options"`
}

// Presets are what most people want, by name.
var Presets = []Preset{
	{"voice", "speech in a small file: mono, 64 kbit/s, -16 LUFS", Options{BitrateKbps: 64, Channels: 1, Loudness: &Loudness{TargetLUFS: -16}}},
	{"podcast", "for publishing: stereo, 128 kbit/s, -16 LUFS", Options{BitrateKbps: 128, Channels: 2, Loudness: &Loudness{TargetLUFS: -16}}},
	{"music", "the default: VBR quality 2, as loud as the video", Options{VBRQuality: new(DefaultVBRQuality)}},
	{"archive", "the best that MP3 can do: 320 kbit/s, as loud as the video", Options{BitrateKbps: 320}},
}

// PresetNames lists the names of Presets.
func PresetNames() []string {
	names := make([]string, len(Presets))
	for i, p := range Presets {
		names[i] = p.Name
	}
	return names
}

// Resolved fills in the preset's values where o has none of its own. If o has a
// bit rate or a VBR quality, neither comes from the preset.
func (o Options) Resolved() Options {
	i := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == o.Preset })
	if i < 0 {
		return o
	}
	p := Presets[i].Options
	if o.BitrateKbps == 0 && o.VBRQuality == nil {
		o.BitrateKbps, o.VBRQuality = p.BitrateKbps, p.VBRQuality
	}
	if o.Channels == 0 {
		o.Channels = p.Channels
	}
	if o.Loudness == nil {
		o.Loudness = p.Loudness
	}
	return o
}

// OptionError says which option is wrong and what would be right.
type OptionError struct {
	Field   string // its path in the JSON, such as loudness.target_lufs
	Message string
}

func (e *OptionError) Error() string { return e.Field + ": " + e.Message }

// Validate returns an *OptionError for the first option that MP3 or Tonearm
// cannot honour.
func (o Options) Validate() error {
	bad := func(field, format string, a ...any) error {
		return &OptionError{Field: field, Message: fmt.Sprintf(format, a...)}
	}
	instead := func(field, wrong string, value any) error {
		f, _ := FieldAt(field)
		return bad(field, wrong+"; use %s", value, f.Allowed())
	}
	oneOf := func(value string, allowed ...string) bool { return value == "" || slices.Contains(allowed, value) }
	_, at := o.Cover.Seconds()
	kbps := o.Resolved().BitrateKbps
	switch {
	case !oneOf(o.Preset, PresetNames()...):
		return instead("preset", "unknown preset %q", o.Preset)
	case o.BitrateKbps != 0 && o.VBRQuality != nil:
		return bad("bitrate_kbps", "choose a constant bit rate or the quality of a variable one, not both")
	case o.BitrateKbps != 0 && !slices.Contains(Bitrates, o.BitrateKbps):
		return instead("bitrate_kbps", "MP3 has no bit rate of %d kbit/s", o.BitrateKbps)
	case o.VBRQuality != nil && (*o.VBRQuality < 0 || *o.VBRQuality > 9):
		return bad("vbr_quality", "%d is not allowed; use 0 (the best) to 9", *o.VBRQuality)
	case o.SampleRateHz != 0 && !slices.Contains(SampleRates, o.SampleRateHz):
		return instead("sample_rate_hz", "MP3 has no sample rate of %d Hz", o.SampleRateHz)
	case kbps != 0 && o.SampleRateHz != 0 && !BitrateFits(kbps, o.SampleRateHz):
		return bad("sample_rate_hz", "MP3 has no %d kbit/s at %d Hz; change one of the two", kbps, o.SampleRateHz)
	case o.Channels < 0 || o.Channels > 2:
		return bad("channels", "%d is not allowed; use 1 (mono) or 2 (stereo)", o.Channels)
	case !validTrack(o.Track):
		return instead("track", "%q is not allowed", o.Track)
	case !within(o.Start, 0, maxSeconds):
		return instead("start", "%v is not allowed", o.Start)
	case !within(o.End, 0, maxSeconds):
		return instead("end", "%v is not allowed", o.End)
	case o.End != 0 && o.End <= o.Start:
		return bad("end", "%v is not after the start, %v", o.End, o.Start)
	case !at && !oneOf(string(o.Cover), string(CoverNone), string(CoverAttached), string(CoverPoster)):
		return instead("cover", "%q is not allowed", o.Cover)
	case !oneOf(o.Chapters, ChaptersKeep, ChaptersDrop):
		return instead("chapters", "%q is not allowed", o.Chapters)
	case !oneOf(o.Copy, CopyAuto, CopyNever):
		return instead("copy", "%q is not allowed", o.Copy)
	}
	if l := o.Loudness; l != nil {
		switch {
		case !within(l.TargetLUFS, MinTargetLUFS, MaxTargetLUFS):
			return instead("loudness.target_lufs", "%v is not allowed", l.TargetLUFS)
		case l.TruePeakDB != nil && !within(*l.TruePeakDB, MinTruePeakDB, MaxTruePeakDB):
			return instead("loudness.true_peak_db", "%v is not allowed", *l.TruePeakDB)
		}
	}
	if o.Tags != nil {
		return o.Tags.validate(bad)
	}
	return nil
}

func (t *Tags) validate(bad func(field, format string, a ...any) error) error {
	for _, tag := range []struct {
		name, text string
		limit      int
	}{
		{"title", t.Title, maxTag}, {"artist", t.Artist, maxTag}, {"album", t.Album, maxTag}, {"date", t.Date, maxTag},
		{"genre", t.Genre, maxTag}, {"comment", t.Comment, maxComment}, {"track", t.Track, maxTag},
	} {
		control := func(r rune) bool { return unicode.IsControl(r) && (r != '\n' || tag.name != "comment") }
		switch n := utf8.RuneCountInString(tag.text); {
		case n > tag.limit:
			return bad("tags."+tag.name, "%d characters are too many; use at most %d", n, tag.limit)
		case !utf8.ValidString(tag.text) || strings.ContainsFunc(tag.text, control):
			return bad("tags."+tag.name, "the text must be UTF-8 without control characters")
		}
	}
	switch {
	case t.Date != "" && !ValidDate(t.Date):
		return bad("tags.date", "%q is not a date; write 2026, 2026-11 or 2026-11-23", t.Date)
	case t.Track != "" && !ValidTrackNumber(t.Track):
		return bad("tags.track", "%q is not a number on an album; write 3 or 3/12, up to 9999", t.Track)
	}
	return nil
}

// BitrateFits reports whether MP3 has the bit rate at the sample rate in Hz. At
// the rates of MPEG-2.5 LAME goes no further than 64 kbit/s.
func BitrateFits(kbps, rate int) bool {
	switch {
	case !slices.Contains(Bitrates, kbps):
		return false
	case rate >= 32000:
		return kbps >= 32 && kbps != 144
	case rate >= 16000:
		return kbps <= 160
	}
	return kbps <= 64
}

func within(v, low, high float64) bool { return !math.IsNaN(v) && v >= low && v <= high }

// ValidDate reports whether s is a date as tags have it: year, year and month,
// or a day.
func ValidDate(s string) bool {
	for _, layout := range []string{"2006", "2006-01", "2006-01-02"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

// ValidTrackNumber reports whether s is n or n/total, each from 1 to 9999, n at
// most total.
func ValidTrackNumber(s string) bool {
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 9999 || s[0] == '+' {
			return 0
		}
		return n
	}
	n, total, both := strings.Cut(s, "/")
	return number(n) > 0 && (!both || number(total) >= number(n))
}

// validTrack accepts the empty string, 0…99, and language tags of two or three
// letters, with or without a region.
func validTrack(t string) bool {
	letters := func(s string, low, high int) bool {
		return len(s) >= low && len(s) <= high && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	}
	if len(t) <= 2 && strings.Trim(t, "0123456789") == "" {
		return true
	}
	language, region, both := strings.Cut(t, "-")
	return letters(language, 2, 3) && (!both || letters(region, 2, 4))
}

// class returns the class of machine that the options need. Audio gains nothing
// from a GPU, pictures do.
func (o Options) class() Class {
	if o.Cover.Decodes() {
		return GPU
	}
	return CPU
}
