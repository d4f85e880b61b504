// Package api holds the JSON of the gateway's HTTP interface, for the gateway
// that serves it and the clients that read it. Times are RFC 3339 in UTC,
// durations seconds, sizes bytes.
package api

import (
	"time"

	"tonearm/internal/conversion"
)

// NewConversion is the body of POST /v1/conversions.
//
// Hashes of its JSON are stored. With such a hash the gateway tells a repeated
// request from a different one under the same Idempotency-Key, and the command
// line finds the key of an interrupted file. The same request must have the
// same hash in every version. So a field that is added, here or in the options,
// is omitempty or omitzero; no field is renamed or moved; and no default is
// filled in before hashing.
type NewConversion struct {
	Filename string              `json:"filename" minLength:"1" maxLength:"1024" doc:"Name of the video; the MP3 is named after it"`
	Size     int64               `json:"size" doc:"Bytes that will be uploaded: the video's, or those that sent is about"`
	Options  *conversion.Options `json:"options,omitempty"`
	Parts    bool                `json:"parts,omitempty" doc:"Upload in parts. A video above 5 GiB is always uploaded in parts"`
	// Notify means NotifyEmail if it is empty.
	Notify conversion.NotifyPreference `json:"notify,omitempty" enum:"email,failures,none" doc:"Whether to send a mail at the end, always or only if the conversion failed. Default: what your account says (PATCH /v1/me)"`
	// Sent is nil for the whole video.
	Sent *conversion.Sent `json:"sent,omitempty" doc:"Say so if you upload only the video's sound, and how large the whole is. Limits count what is uploaded"`
}

// Conversion is one upload and what became of it.
type Conversion struct {
	ID         string                      `json:"id"`
	State      conversion.State            `json:"state" enum:"awaiting_upload,queued,running,done,failed,canceled,expired"`
	Revision   int64                       `json:"revision" doc:"Grows with each change"`
	Filename   string                      `json:"filename"`
	Size       int64                       `json:"size" doc:"Bytes that are uploaded"`
	Sent       *conversion.Sent            `json:"sent,omitempty" doc:"What was uploaded, if it is not the whole video"`
	Class      conversion.Class            `json:"class" enum:"cpu,gpu" doc:"Kind of machine it runs on"`
	Fallback   *conversion.Fallback        `json:"fallback,omitempty" doc:"Why it runs on another class than its options ask for"`
	Waiting    *conversion.Waiting         `json:"waiting,omitempty" doc:"Why it does not run yet though nothing is wrong with the video: what its attempt waits for (no_node, no_pod, suspended, starting), or what was wrong with the machine of the last one (disk, memory, ffmpeg, store, other)"`
	Options    conversion.Options          `json:"options" doc:"With the preset's values filled in"`
	Notify     conversion.NotifyPreference `json:"notify" enum:"email,failures,none" doc:"Whether a mail is sent at the end"`
	Attempt    int                         `json:"attempt" doc:"Number of the current or last attempt, 0 before the first"`
	Progress   *conversion.Progress        `json:"progress,omitempty" doc:"Only while running"`
	Source     *conversion.Source          `json:"source,omitempty" doc:"Only when done"`
	MP3        *MP3                        `json:"mp3,omitempty" doc:"Only when done"`
	Error      *conversion.Failure         `json:"error,omitempty" doc:"Why the conversion failed and what you can do, or why the last attempt failed"`
	Upload     *Upload                     `json:"upload,omitempty" doc:"Where to upload the video. Only in the answer that creates the conversion; POST …/parts gives it again"`
	CreatedAt  time.Time                   `json:"created_at"`
	UpdatedAt  time.Time                   `json:"updated_at"`
	ExpiresAt  *time.Time                  `json:"expires_at,omitempty" doc:"Only while waiting for the upload"`
	FinishedAt *time.Time                  `json:"finished_at,omitempty"`
}

// Upload says how to send the video: one request, or one for each part. It
// answers POST /v1/conversions/{id}/parts; POST …/complete answers the
// Conversion.
type Upload struct {
	Method    string            `json:"method,omitempty" doc:"HTTP method, for an upload in one request"`
	URL       string            `json:"url,omitempty"`
	Headers   map[string]string `json:"headers,omitempty" doc:"Send all of them"`
	ExpiresAt time.Time         `json:"expires_at" doc:"When the URLs expire. POST …/parts gives fresh ones"`
	PartSize  int64             `json:"part_size,omitempty" doc:"Size of each part in bytes; that of the last part is what is left. A part of another size is refused"`
	PartCount int               `json:"part_count,omitempty"`
	Parts     []Part            `json:"parts,omitempty" doc:"Parts to PUT, at most 1000. Ask for more by their numbers"`
	Stored    []int             `json:"stored,omitempty" doc:"Numbers of the parts that are already stored"`
}

// Part is where to PUT one part.
type Part struct {
	Number int    `json:"number"`
	URL    string `json:"url"`
}

// PartNumbers is the optional body of POST /v1/conversions/{id}/parts.
type PartNumbers struct {
	Numbers []int `json:"numbers,omitempty" maxItems:"1000" doc:"Parts to get URLs for. Default: the next parts that are not stored yet"`
}

// Conversions is one page of a list, newest first.
type Conversions struct {
	Conversions []Conversion `json:"conversions"`
	Next        string       `json:"next,omitempty" doc:"Send it as cursor to get the next page"`
}

// MP3 is the metadata of a result.
type MP3 struct {
	ID            string             `json:"id"`
	ConversionID  string             `json:"conversion_id"`
	Name          string             `json:"name" doc:"The video's name with .mp3"`
	Size          int64              `json:"size"`
	Duration      float64            `json:"duration" doc:"Length in seconds, as a decoder plays it"`
	BitrateKbps   int                `json:"bitrate_kbps,omitempty"`
	VBRQuality    *int               `json:"vbr_quality,omitempty"`
	SampleRateHz  int                `json:"sample_rate_hz"`
	Channels      int                `json:"channels"`
	SHA256        string             `json:"sha256"`
	LengthChecked bool               `json:"length_checked" doc:"Whether the length was compared with the video's; false if the video states none"`
	Encoder       string             `json:"encoder" doc:"Program and version; none if the sound was copied without encoding"`
	Loudness      *conversion.Levels `json:"loudness,omitempty" doc:"Measured by EBU R128. Missing for silence and for less than 0.4 s of sound"`
	GainDB        float64            `json:"gain_db,omitempty" doc:"Gain that was applied to reach the requested loudness"`
	Cover         conversion.Cover   `json:"cover,omitempty" doc:"The picture in the MP3: attached, poster, or the time of a frame in seconds"`
	Chapters      int                `json:"chapters,omitempty"`
	Notes         []conversion.Note  `json:"notes,omitempty" doc:"What Tonearm decided, and what it could not do"`
	CreatedAt     time.Time          `json:"created_at"`
	Until         *time.Time         `json:"until,omitempty" doc:"When the MP3 will be removed; missing if it is kept"`
	Removed       bool               `json:"removed,omitempty" doc:"The MP3 was removed at the end of its time"`
}

// Presets answers GET /v1/presets.
type Presets struct {
	Presets []conversion.Preset `json:"presets"`
}

// MP3s is one page of a list, newest first.
type MP3s struct {
	MP3s []MP3  `json:"mp3s"`
	Next string `json:"next,omitempty" doc:"Send it as cursor to get the next page"`
}

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type   string  `json:"type,omitempty"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail,omitempty"`
	Code   string  `json:"code" doc:"Kind of problem; stays the same in later versions"`
	Limit  string  `json:"limit,omitempty" doc:"With the code quota_exceeded: the name of the limit"`
	Errors []Field `json:"errors,omitempty"`
}

// Field is one thing wrong with a request.
type Field struct {
	Location string `json:"location,omitempty" doc:"Such as body.options.bitrate_kbps"`
	Message  string `json:"message"`
}
