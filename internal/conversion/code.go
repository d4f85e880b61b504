package conversion

import "slices"

// Code is a stable word for why something failed; clients and dashboards rely
// on it.
type Code string

// Codes of failed conversions that no further attempt can heal.
const (
	CodeNoAudio          Code = "no_audio"          // media, but without an audio track
	CodeNotMedia         Code = "not_media"         // nothing that ffmpeg recognizes as an allowed format
	CodeEmpty            Code = "empty_source"      // no bytes
	CodeDamaged          Code = "damaged"           // recognized, but cannot be decoded
	CodeTruncated        Code = "truncated"         // shorter than it promises
	CodeUnsupportedCodec Code = "unsupported_codec" // an audio track in a codec outside the whitelist
	CodeTrackNotFound    Code = "track_not_found"   // the option names a track that the source does not have
	CodeStartBeyondEnd   Code = "start_beyond_end"  // the option start lies behind the end of the track
	CodeLimitExceeded    Code = "limit_exceeded"    // too long, too many channels, too large a result
	CodeSourceChanged    Code = "source_changed"    // the object is not the one that was uploaded
	CodeSourceMissing    Code = "source_missing"    // the object is gone
	CodeSizeMismatch     Code = "size_mismatch"     // not of the declared size
	CodeInvalidOptions   Code = "invalid_options"   // the options contradict the source
)

// Codes of attempts that failed; final once the budget is spent.
const (
	CodeCrashed          Code = "attempt_crashed"
	CodeOutOfMemory      Code = "out_of_memory"
	CodeDeadlineExceeded Code = "deadline_exceeded"
	CodeLost             Code = "attempt_lost"
	CodeLaunchFailed     Code = "launch_failed"
	CodeStore            Code = "store_unavailable"
	CodeInternal         Code = "internal"
)

// Codes lists every code.
var Codes = []Code{
	CodeNoAudio, CodeNotMedia, CodeEmpty, CodeDamaged, CodeTruncated, CodeUnsupportedCodec, CodeTrackNotFound,
	CodeStartBeyondEnd, CodeLimitExceeded, CodeSourceChanged, CodeSourceMissing, CodeSizeMismatch, CodeInvalidOptions,
	CodeCrashed, CodeOutOfMemory, CodeDeadlineExceeded, CodeLost, CodeLaunchFailed, CodeStore, CodeInternal,
}

// Known reports whether c is one of the codes above.
func (c Code) Known() bool { return slices.Contains(Codes, c) }
