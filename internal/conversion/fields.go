package conversion

import (
	"fmt"
	"slices"
	"strings"
)

// Field describes one option for people. The description of the HTTP interface,
// the flags of the command line and docs/options.md are made from it. Only
// Validate decides which values are allowed.
type Field struct {
	Path  string // in the JSON of Options, such as loudness.target_lufs
	Group string // one of FieldGroups
	Type  FieldType

	Values   []any    // allowed values that have a name or number of their own, int or string
	Min, Max *float64 // of a number
	Unit     string   // of a number
	Length   int      // most characters that a text may have; 0 if Form says what is allowed
	Form     string   // the other allowed values, in words

	Default any    // nil where it depends
	Without string // what is done without the option, where Default does not say it
	Text    string // what it is for: one line, as after "PATH:"
	Edges   string // what happens at its limits, in sentences

	Flag     string   // of tonearm convert, without dashes; '' for an object
	Operand  string   // what follows the flag, as its help names it
	Complete []string // for shells; after a tab, what a value means; nil for Values
}

// FieldType is the type of an option in JSON.
type FieldType string

// The types of options.
const (
	TypeInteger        FieldType = "integer"
	TypeNumber         FieldType = "number"
	TypeString         FieldType = "string"
	TypeStringOrNumber FieldType = "string or number"
	TypeObject         FieldType = "object"
)

// FieldGroups are the groups of options in the order in which people meet them.
var FieldGroups = []string{"Sound", "Tags", "Picture and chapters"}

// Fields describes every option, and every object that holds some.
var Fields = []Field{
	{
		Path: "preset", Group: "Sound", Type: TypeString, Flag: "preset", Operand: "NAME",
		Values: values(PresetNames()), Without: "the values of `music`", Complete: presetWords(),
		Text:  "a ready-made set of options",
		Edges: "An option that you set yourself wins over the preset's. If you set a bit rate or a quality, the preset's bit rate and quality are both ignored.",
	}, {
		Path: "bitrate_kbps", Group: "Sound", Type: TypeInteger, Flag: "bitrate", Operand: "KBIT/S",
		Values: values(Bitrates), Unit: "kbit/s", Without: "a variable bit rate",
		Text: "constant bit rate",
		Edges: "Not together with `vbr_quality`. MP3 allows 32 to 320 kbit/s, except 144, at 32000 Hz and more, 8 to 160 at 16000 to 24000 Hz, and 8 to 64 at lower rates. " +
			"A bit rate and a sample rate that do not fit together are refused. If you set no sample rate, Tonearm chooses one that fits. " +
			"A bit rate far above the source's is used, but noted (`bitrate_excess`).",
	}, {
		Path: "vbr_quality", Group: "Sound", Type: TypeInteger, Flag: "vbr-quality", Operand: "N",
		Min: new(0.0), Max: new(9.0), Default: DefaultVBRQuality,
		Text:     "quality of the variable bit rate, where 0 is the best",
		Edges:    "Not together with `bitrate_kbps`.",
		Complete: []string{"0\tthe best", "1", "2\tthe default", "3", "4", "5", "6", "7", "8", "9\tthe smallest"},
	}, {
		Path: "sample_rate_hz", Group: "Sound", Type: TypeInteger, Flag: "sample-rate", Operand: "HZ",
		Values: values(SampleRates), Unit: "Hz", Without: "the source's, or the nearest that MP3 has",
		Text: "sample rate", Edges: "The rate is never raised above the source's, except to the next one that MP3 has. A change that you did not ask for is noted (`rate_changed`).",
	}, {
		Path: "channels", Group: "Sound", Type: TypeInteger, Flag: "channels", Operand: "N",
		Values: []any{1, 2}, Without: "the source's, at most 2",
		Text: "mono or stereo", Complete: []string{"1\tmono", "2\tstereo"},
		Edges: "More than two channels are mixed down with the standard coefficients, without clipping. This is noted (`downmixed`).",
	}, {
		Path: "track", Group: "Sound", Type: TypeString, Flag: "track", Operand: "TRACK",
		Form: "an index from 0 to 99, or a language such as eng, de or pt-BR", Without: "the video's default track",
		Text:  "which sound track to convert",
		Edges: "Only sound tracks are counted, starting at 0. If several tracks have the language, the first one is used. If the video does not have the track, the conversion fails (`track_not_found`).",
	}, {
		Path: "start", Group: "Sound", Type: TypeNumber, Flag: "start", Operand: "TIME",
		Min: new(0.0), Max: new(maxSeconds), Unit: "seconds", Default: 0,
		Text:  "where the MP3 begins, by the time that a player shows",
		Edges: "Exact to the sample. If the track ends before it, the conversion fails (`start_beyond_end`).",
	}, {
		Path: "end", Group: "Sound", Type: TypeNumber, Flag: "end", Operand: "TIME",
		Min: new(0.0), Max: new(maxSeconds), Unit: "seconds", Without: "the end of the track",
		Text:  "where the MP3 ends",
		Edges: "Must be after `start`. 0 means the end of the track, and so does any later time.",
	}, {
		Path: "loudness", Group: "Sound", Type: TypeObject, Without: "as loud as the source",
		Text: "how loud the MP3 should be (EBU R128)", Edges: "The loudness of every MP3 is measured and reported, even if you do not ask for one. It is not measured for silence or for less than 0.4 s of sound.",
	}, {
		Path: "loudness.target_lufs", Group: "Sound", Type: TypeNumber, Flag: "loudness", Operand: "LUFS",
		Min: new(MinTargetLUFS), Max: new(MaxTargetLUFS), Unit: "LUFS", Without: "as loud as the source",
		Text:     "integrated loudness of the MP3",
		Edges:    "Required in `loudness`. The whole sound gets the same gain. Peaks that would be too high are limited, and this is noted (`peaks_limited`). A loudness that cannot be reached is noted too (`loudness_missed`).",
		Complete: []string{"-14\tmusic on streaming services", "-16\tpodcasts and speech", "-19\tpodcasts in mono", "-23\tbroadcasting, EBU R128"},
	}, {
		Path: "loudness.true_peak_db", Group: "Sound", Type: TypeNumber, Flag: "true-peak", Operand: "DB",
		Min: new(MinTruePeakDB), Max: new(MaxTruePeakDB), Unit: "dBTP", Default: DefaultTruePeakDB,
		Text:     "highest true peak when you ask for a loudness",
		Edges:    "Only together with `target_lufs`. On the command line, a preset with a loudness is enough.",
		Complete: []string{"-1\tthe default", "-1.5", "-2", "-3"},
	}, {
		Path: "copy", Group: "Sound", Type: TypeString, Flag: "copy", Operand: "HOW",
		Values: []any{CopyAuto, CopyNever}, Default: CopyAuto,
		Text:     "`auto` copies a track that is already MP3, bit for bit",
		Edges:    "Only if no other option needs an encoding: bit rate, quality, another sample rate or other channels, start, end, loudness. The decision is noted (`copied`, `not_copied`).",
		Complete: []string{CopyAuto + "\tcopy a track that is already MP3", CopyNever + "\talways encode"},
	},

	{
		Path: "tags", Group: "Tags", Type: TypeObject, Without: "the video's own",
		Text: "texts for the MP3's tag (ID3v2.4)", Edges: "A text that you leave out is taken from the video. No other metadata of the video is copied.",
	},
	tag("title", "title", maxTag, "If the video has no title either, the file's name is used."),
	tag("artist", "artist", maxTag, ""),
	tag("album", "album", maxTag, ""),
	{
		Path: "tags.date", Group: "Tags", Type: TypeString, Flag: "date", Operand: "DATE",
		Form: "2026, 2026-11 or 2026-11-23", Without: "the video's own",
		Text: "date of the recording", Edges: "A date that the video has in another form is left out.",
	},
	tag("genre", "genre", maxTag, ""),
	tag("comment", "comment", maxComment, "It may have several lines."),
	{
		Path: "tags.track", Group: "Tags", Type: TypeString, Flag: "track-number", Operand: "N[/TOTAL]",
		Form: "3 or 3/12, up to 9999", Without: "the video's own",
		Text: "number on the album", Edges: "The number must not be above the total.",
	},

	{
		Path: "cover", Group: "Picture and chapters", Type: TypeStringOrNumber, Flag: "cover", Operand: "WHICH",
		Values: []any{string(CoverNone), string(CoverAttached), string(CoverPoster)}, Min: new(0.0), Max: new(maxSeconds), Unit: "seconds",
		Default: string(CoverAttached),
		Text:    "the picture in the MP3",
		Edges:   "`attached` is the picture attached to the video file, `poster` is a typical frame of the video, and a time is the frame shown then. The picture is a JPEG of at most 1000 × 1000 pixels and is never enlarged. If there is no such picture, this is noted (`no_cover`) and the conversion goes on. Frames are decoded on a GPU if there is one.",
		Complete: []string{string(CoverNone) + "\tno picture", string(CoverAttached) + "\tthe picture attached to the video file",
			string(CoverPoster) + "\ta typical frame of the video"},
	}, {
		Path: "chapters", Group: "Picture and chapters", Type: TypeString, Flag: "chapters", Operand: "HOW",
		Values: []any{ChaptersKeep, ChaptersDrop}, Default: ChaptersKeep,
		Text: "whether to keep the video's chapters", Edges: "They are cut and shifted with `start` and `end`, and by the pauses in the sound that the MP3 leaves out. A chapter that lies wholly in such a pause is dropped. Of more than 10,000 chapters the first are kept, and this is noted (`chapters_left_out`).",
	},
}

// tag describes a text of the MP3's tag.
func tag(name, what string, length int, edges string) Field {
	edges = strings.TrimSpace(edges + " Control characters are refused.")
	return Field{
		Path: "tags." + name, Group: "Tags", Type: TypeString, Flag: name, Operand: "TEXT",
		Length: length, Without: "the video's own", Text: what, Edges: edges,
	}
}

// FieldAt returns the field at a path in the JSON of Options.
func FieldAt(path string) (Field, bool) {
	i := slices.IndexFunc(Fields, func(f Field) bool { return f.Path == path })
	if i < 0 {
		return Field{}, false
	}
	return Fields[i], true
}

// Allowed says in words which values the option takes, such as "0 to 9" or
// "keep or drop"; empty for an object.
func (f Field) Allowed() string {
	var words []string
	for _, v := range f.Values {
		words = append(words, fmt.Sprint(v))
	}
	if n := len(words); n > 0 && f.Unit != "" && f.Max == nil {
		words[n-1] += " " + f.Unit
	}
	if f.Max != nil {
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s to %s %s", plain(*f.Min), plain(*f.Max), f.Unit)))
	}
	if f.Length > 0 {
		words = append(words, fmt.Sprintf("at most %d characters", f.Length))
	}
	if f.Form != "" {
		words = append(words, f.Form)
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return strings.Join(words, "")
}

// Otherwise says in words what is done without the option.
func (f Field) Otherwise() string {
	if f.Default != nil {
		return fmt.Sprint(f.Default)
	}
	return f.Without
}

// plain writes a limit without an exponent.
func plain(v float64) string { return fmt.Sprintf("%.10g", v) }

func values[T any](list []T) []any {
	all := make([]any, len(list))
	for i, v := range list {
		all[i] = v
	}
	return all
}

func presetWords() []string {
	words := make([]string, len(Presets))
	for i, p := range Presets {
		words[i] = p.Name + "\t" + p.Description
	}
	return words
}
