package conversion

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tonearm/internal/printable"
)

// State is where a conversion stands.
type State string

// The states of a conversion. Deleted is a hidden tombstone: it keeps late
// events and results from bringing the conversion back.
const (
	AwaitingUpload State = "awaiting_upload"
	Queued         State = "queued"
	Running        State = "running"
	Done           State = "done"
	Failed         State = "failed"
	Canceled       State = "canceled"
	Expired        State = "expired"
	Deleted        State = "deleted"
)

// States lists every state, in the order of a conversion's life.
var States = []State{AwaitingUpload, Queued, Running, Done, Failed, Canceled, Expired, Deleted}

// Terminal reports whether nothing more happens in s unless somebody asks.
func (s State) Terminal() bool {
	switch s {
	case Done, Failed, Canceled, Expired, Deleted:
		return true
	}
	return false
}

// Class is the kind of machine that an attempt needs.
type Class string

// The classes of work.
const (
	CPU Class = "cpu"
	GPU Class = "gpu"
)

// Conversion is one uploaded file and what became of it. Times are UTC with
// millisecond precision, sizes are bytes.
type Conversion struct {
	ID       string `json:"id" bson:"_id"`
	Revision int64  `json:"revision" bson:"revision"`                 // counts the updates of this document
	Format   int    `json:"format,omitempty" bson:"format,omitempty"` // of the record; 0 where missing, which means 1

	OwnerID    string `json:"owner_id" bson:"owner_id"`
	OwnerEmail string `json:"owner_email" bson:"owner_email"`
	Language   string `json:"language,omitempty" bson:"language,omitempty"` // of mails; see Addressee

	// IdempotencyKey is the client's key, or the conversion's own id where the
	// client sent none; unique per owner. RequestHash tells a repeated request
	// from another one under the same key.
	IdempotencyKey string `json:"idempotency_key" bson:"idempotency_key"`
	RequestHash    string `json:"request_hash" bson:"request_hash"`

	Filename string  `json:"filename" bson:"filename"`
	Options  Options `json:"options" bson:"options"`
	Class    Class   `json:"class" bson:"class"`
	State    State   `json:"state" bson:"state"`

	// Fallback is set if the conversion left the class that its options ask
	// for.
	Fallback *Fallback `json:"fallback,omitempty" bson:"fallback,omitempty"`

	Object Object `json:"object" bson:"object"` // the uploaded source in the object store
	// Sent says what was uploaded if it is not the whole video; nil for all of it.
	Sent   *Sent   `json:"sent,omitempty" bson:"sent,omitempty"`
	Upload *Upload `json:"upload,omitempty" bson:"upload,omitempty"`

	// Attempt is the number of the current or last attempt, 0 before the first.
	// Nonce was drawn by the process that claimed it. At LeaseUntil the attempt
	// is presumed lost, unless it reports before.
	Attempt    int       `json:"attempt" bson:"attempt"`
	Nonce      string    `json:"nonce" bson:"nonce"`
	LeaseUntil time.Time `json:"lease_until" bson:"lease_until"`
	Failures   int       `json:"failures" bson:"failures"` // failed attempts that count, since the last retry by the owner
	Launches   int       `json:"launches" bson:"launches"` // attempts begun since the last retry by the owner
	NotBefore  time.Time `json:"not_before" bson:"not_before"`
	Progress   Progress  `json:"progress" bson:"progress"`

	// Launch is the id of the launch that the current or last attempt belongs
	// to, drawn by Begin; '' for a carried one. Waiting is why nothing runs yet,
	// nil where there is no special reason. Faults counts the attempts in a row
	// whose machine was not well, Silences those that were silent for too long
	// since the last retry by the owner.
	Launch   string   `json:"launch,omitempty" bson:"launch,omitempty"`
	Waiting  *Waiting `json:"waiting,omitempty" bson:"waiting,omitempty"`
	Faults   int      `json:"faults,omitempty" bson:"faults,omitempty"`
	Silences int      `json:"silences,omitempty" bson:"silences,omitempty"`

	// Carrier is the launch that carries the current or last attempt; nil if
	// that attempt has a launch of its own. Next is the attempt that the launch
	// went on with afterwards; nil for none.
	Carrier *Carrier    `json:"carrier,omitempty" bson:"carrier,omitempty"`
	Next    *AttemptRef `json:"next,omitempty" bson:"next,omitempty"`

	Source *Source          `json:"source,omitempty" bson:"source,omitempty"` // what the source turned out to be; set once done
	MP3    MP3              `json:"mp3" bson:"mp3"`                           // ID is drawn at creation and shown once done
	Error  *Failure         `json:"error,omitempty" bson:"error,omitempty"`   // why it failed, or why the last attempt did
	Notify NotifyPreference `json:"notify,omitempty" bson:"notify,omitempty"` // whether the outcome is mailed
	Notice Notice           `json:"notice" bson:"notice"`

	// Outbox holds messages that may not have been published yet. What is owed
	// follows from State and Notice; Outbox only makes publishing prompt.
	Outbox []Message `json:"outbox" bson:"outbox"`
	WakeAt time.Time `json:"wake_at" bson:"wake_at"`

	// CleanAt is when leftovers are looked for next: launches that should have
	// ended, objects of refused results, an upload to abort; zero for never.
	CleanAt time.Time `json:"clean_at" bson:"clean_at"`
	// SourceUntil is when the uploaded source is removed; zero for never.
	SourceUntil time.Time `json:"source_until" bson:"source_until"`
	// SourceGone is set when the source object was removed after its retention.
	SourceGone bool `json:"source_gone" bson:"source_gone"`
	// SourceLeft is set when a conversion fails or is canceled, until it is
	// decided how long its source is kept. Records that ended under versions
	// before 0.2 lack it, and their sources stay.
	SourceLeft bool `json:"source_left,omitempty" bson:"source_left,omitempty"`
	// MP3Until is when the MP3 is removed; zero for never. MP3Gone is set then.
	MP3Until time.Time `json:"mp3_until,omitzero" bson:"mp3_until,omitempty"`
	MP3Gone  bool      `json:"mp3_gone,omitempty" bson:"mp3_gone,omitempty"`
	// RecordUntil is when the conversion is deleted because it ended long ago;
	// zero for never.
	RecordUntil time.Time `json:"record_until,omitzero" bson:"record_until,omitempty"`

	CreatedAt  time.Time `json:"created_at" bson:"created_at"`
	UpdatedAt  time.Time `json:"updated_at" bson:"updated_at"`
	AwaitedAt  time.Time `json:"awaited_at" bson:"awaited_at"` // since when the upload is awaited
	ExpiresAt  time.Time `json:"expires_at" bson:"expires_at"` // an upload not finished by then expires
	QueuedAt   time.Time `json:"queued_at" bson:"queued_at"`   // since when work is owed; further attempts do not change it
	StartedAt  time.Time `json:"started_at" bson:"started_at"` // of the current or last attempt; so is ClaimedAt
	ClaimedAt  time.Time `json:"claimed_at" bson:"claimed_at"`
	FinishedAt time.Time `json:"finished_at" bson:"finished_at"`
}

// Fallback says that a conversion left the class that its options ask for.
type Fallback struct {
	From   Class     `json:"from" bson:"from"`
	Reason string    `json:"reason" bson:"reason"` // FallbackWaited or FallbackOff
	At     time.Time `json:"at" bson:"at"`
}

// Reasons of a Fallback.
const (
	FallbackWaited = "waited"   // no machine of that class was free in time
	FallbackOff    = "disabled" // the installation has none
)

// Sent says that a client uploads only a part of a video. The MP3 is the one that all
// of it would give.
type Sent struct {
	What         SentPart `json:"what" bson:"what" enum:"sound" doc:"What is uploaded. sound: the same container with one audio track"`
	OriginalSize int64    `json:"original_size" bson:"original_size" minimum:"1" doc:"Bytes of the whole video"`
}

// SentPart is what a client uploads of a video.
type SentPart string

// SentSound is the same container with one audio track.
const SentSound SentPart = "sound"

// NotifyPreference says whether the owner is mailed the outcome. The empty one is
// NotifyEmail.
type NotifyPreference string

// Values of NotifyPreference.
const (
	NotifyEmail    NotifyPreference = "email"
	NotifyFailures NotifyPreference = "failures" // only if it failed; versions before 0.2 mail each outcome then
	NotifyNone     NotifyPreference = "none"
)

// AttemptRef names one attempt.
type AttemptRef struct {
	ConversionID string `json:"conversion_id" bson:"conversion_id"`
	Attempt      int    `json:"attempt" bson:"attempt"`
}

func (r AttemptRef) String() string { return fmt.Sprintf("%s/%d", r.ConversionID, r.Attempt) }

// Carrier is a launch that was made for one attempt and carries others of the
// same owner and class after it, one at a time.
type Carrier struct {
	Launch AttemptRef `json:"launch" bson:"launch"` // the attempt that was launched
	Files  int        `json:"files" bson:"files"`   // how many it has carried, its own included
	Size   int64      `json:"size" bson:"size"`     // bytes of the largest source that it has room for
	Until  time.Time  `json:"until" bson:"until"`   // when its launcher ends it
}

// Object names one object in the store. Version is empty until known: the
// store's version id, else the ETag. (Key, Version) is unique among
// conversions.
type Object struct {
	Key     string `json:"key" bson:"key"`
	Version string `json:"version" bson:"version"`
	ETag    string `json:"etag" bson:"etag"`
	Size    int64  `json:"size" bson:"size"` // declared at creation, measured once uploaded
}

// Upload describes a multipart upload under way; nil for a single PUT.
type Upload struct {
	ID       string `json:"id" bson:"id"` // the store's upload id; '' once aborted
	PartSize int64  `json:"part_size" bson:"part_size"`
	Parts    int    `json:"parts" bson:"parts"`
}

// Progress is the last report of the running attempt.
type Progress struct {
	Phase        Phase   `json:"phase" bson:"phase"`
	DoneSeconds  float64 `json:"done_seconds" bson:"done_seconds"`   // of audio encoded so far
	TotalSeconds float64 `json:"total_seconds" bson:"total_seconds"` // 0 where the source does not say
	BytesRead    int64   `json:"bytes_read" bson:"bytes_read"`       // of the source
}

// Phase is what a running attempt is doing.
type Phase string

// The phases of an attempt, in order; PhaseNone before it claims.
const (
	PhaseNone      Phase = ""
	PhaseReading   Phase = "reading"
	PhaseEncoding  Phase = "converting"
	PhaseStoring   Phase = "storing"
	PhaseReporting Phase = "reporting"
)

// Source is what a source turned out to be.
type Source struct {
	Container   string  `json:"container" bson:"container"` // the demuxer's name, such as "mov,mp4,m4a,3gp,3g2,mj2"
	Codec       string  `json:"codec" bson:"codec"`         // of the chosen track, such as "aac"
	Track       int     `json:"track" bson:"track"`         // index among the audio tracks, from 0
	Duration    float64 `json:"duration" bson:"duration"`   // seconds of that track; 0 where not promised
	SampleRate  int     `json:"sample_rate_hz" bson:"sample_rate_hz"`
	Channels    int     `json:"channels" bson:"channels"`
	Size        int64   `json:"size" bson:"size"`
	Title       string  `json:"title,omitempty" bson:"title,omitempty"`
	AudioTracks int     `json:"audio_tracks" bson:"audio_tracks"`
	Read        string  `json:"read,omitempty" bson:"read,omitempty"`               // sparse, mixed, plain or whole; see package source
	ReadReason  string  `json:"read_reason,omitempty" bson:"read_reason,omitempty"` // a stable word
	ReadBytes   int64   `json:"read_bytes,omitempty" bson:"read_bytes,omitempty"`   // that the store sent
	Requests    int64   `json:"requests,omitempty" bson:"requests,omitempty"`       // to the store
}

// MP3 is the result. Every field but ID is zero until the conversion is done.
type MP3 struct {
	ID            string    `json:"id" bson:"id"`
	Key           string    `json:"key" bson:"key"`
	ETag          string    `json:"etag" bson:"etag"`
	Size          int64     `json:"size" bson:"size"`
	Duration      float64   `json:"duration" bson:"duration"` // seconds a decoder plays
	BitrateKbps   int       `json:"bitrate_kbps,omitempty" bson:"bitrate_kbps,omitempty"`
	VBRQuality    *int      `json:"vbr_quality,omitempty" bson:"vbr_quality,omitempty"`
	SampleRate    int       `json:"sample_rate_hz" bson:"sample_rate_hz"`
	Channels      int       `json:"channels" bson:"channels"`
	SHA256        string    `json:"sha256" bson:"sha256"` // lower-case hex
	LengthChecked bool      `json:"length_checked" bson:"length_checked"`
	Encoder       string    `json:"encoder" bson:"encoder"`                       // program and version; CopyEncoder where the source's frames were kept
	Loudness      *Levels   `json:"loudness,omitempty" bson:"loudness,omitempty"` // nil for silence and for audio shorter than 0.4 s
	GainDB        float64   `json:"gain_db,omitempty" bson:"gain_db,omitempty"`   // applied to reach the loudness asked for
	Cover         Cover     `json:"cover,omitempty" bson:"cover,omitempty"`       // what the MP3 has; none is ''
	Chapters      int       `json:"chapters,omitempty" bson:"chapters,omitempty"`
	Notes         []Note    `json:"notes,omitempty" bson:"notes,omitempty"` // what was decided, and what could not be done
	CreatedAt     time.Time `json:"created_at" bson:"created_at"`
}

// CopyEncoder stands in MP3.Encoder where nothing was encoded.
const CopyEncoder = "none"

// Levels is how loud the MP3 is, measured as EBU R128 says.
type Levels struct {
	IntegratedLUFS float64 `json:"integrated_lufs" bson:"integrated_lufs"`
	RangeLU        float64 `json:"range_lu" bson:"range_lu"`
	PeakDB         float64 `json:"peak_db" bson:"peak_db"`                               // of the samples, dBFS
	TruePeakDB     float64 `json:"true_peak_db,omitempty" bson:"true_peak_db,omitempty"` // dBTP; measured where a loudness was asked for
}

// Failure says why, in a stable code and a sentence that a person understands.
type Failure struct {
	Code    Code   `json:"code" bson:"code"`
	Message string `json:"message" bson:"message"`
}

func (f Failure) Error() string { return string(f.Code) + ": " + f.Message }

// Message asks for something that a transition makes necessary.
type Message struct {
	Kind      Kind      `json:"kind" bson:"kind"`
	Attempt   int       `json:"attempt" bson:"attempt"`
	NotBefore time.Time `json:"not_before" bson:"not_before"`
}

// Kind is what a message asks for.
type Kind string

// The kinds of messages.
const (
	Work   Kind = "work"   // launch attempt Message.Attempt
	Notify Kind = "notice" // mail the outcome of Message.Attempt
	Stop   Kind = "stop"   // end the launch of Message.Attempt
)

// Notice is the one mail that a final outcome owes its owner.
type Notice struct {
	State        NoticeState `json:"state" bson:"state"`
	Attempt      int         `json:"attempt" bson:"attempt"` // the attempt whose outcome is mailed
	ClaimedUntil time.Time   `json:"claimed_until" bson:"claimed_until"`
	Tries        int         `json:"tries" bson:"tries"`
	OwedSince    time.Time   `json:"owed_since" bson:"owed_since"`
	NotBefore    time.Time   `json:"not_before" bson:"not_before"`
	SentAt       time.Time   `json:"sent_at" bson:"sent_at"`
	Reason       string      `json:"reason" bson:"reason"` // the mail server's last refusal
}

// NoticeState is how far a notice got.
type NoticeState string

// The states of a notice.
const (
	NoticeNone    NoticeState = ""
	NoticeOwed    NoticeState = "owed"
	NoticeSending NoticeState = "sending"
	NoticeSent    NoticeState = "sent"
	NoticeRefused NoticeState = "refused" // given up: refused for good, or for too long
)

// Prefixes of object keys.
const (
	UploadPrefix = "uploads/"
	InboxPrefix  = "inbox/"
	MP3Prefix    = "mp3s/"
)

// UploadKey is the key of the source that a client uploads for conversion id.
func UploadKey(ownerID, id string) string {
	return UploadPrefix + ownerID + "/" + id + "/source"
}

// MP3Key is the key under which attempt n stores its result.
func (c *Conversion) MP3Key(n int) string {
	return c.MP3Folder() + strconv.Itoa(n) + ".mp3"
}

// MP3Folder is the prefix of all results of the conversion.
func (c *Conversion) MP3Folder() string {
	return MP3Prefix + c.OwnerID + "/" + c.ID + "/"
}

// Inbox reports whether the source was dropped into the inbox rather than
// uploaded for a conversion made before.
func (c *Conversion) Inbox() bool { return strings.HasPrefix(c.Object.Key, InboxPrefix) }

// MP3Name is the name under which a person saves the MP3 of a video: the name
// of the video without folders, with .mp3 in place of its extension.
func MP3Name(filename string) string {
	name := path.Base(strings.ReplaceAll(filename, `\`, "/"))
	if name == "." || name == ".." || name == "/" {
		return "sound.mp3"
	}
	if ext := path.Ext(name); ext != name && extension(ext) {
		name = strings.TrimSuffix(name, ext)
	}
	return name + ".mp3"
}

// extension reports whether ext looks like a file extension. ".mp4" and ".webm"
// do, the ends of "Talk v1.2" and "Dr. No" do not.
func extension(ext string) bool {
	letters := 0
	for _, r := range strings.TrimPrefix(ext, ".") {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			letters++
		case r < '0' || r > '9':
			return false
		}
	}
	return letters > 0 && len(ext) <= 6
}

// ParseUploadKey returns the conversion id in the key of an upload.
func ParseUploadKey(key string) (id string, ok bool) {
	rest, found := strings.CutPrefix(key, UploadPrefix)
	parts := strings.Split(rest, "/")
	if !found || len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] != "source" || dots(key) ||
		!utf8.ValidString(key) || strings.ContainsFunc(key, printable.Unsafe) {
		return "", false
	}
	return parts[1], true
}

// ParseInboxKey returns the address, in lower case, and the file name in the
// key of an inbox drop. ok is false for keys that name no file, that are not
// UTF-8, or that go through "." or "..", which HTTP clients resolve.
func ParseInboxKey(key string) (email, filename string, ok bool) {
	rest, found := strings.CutPrefix(key, InboxPrefix)
	if !found {
		return "", "", false
	}
	email, rest, found = strings.Cut(rest, "/")
	at := strings.LastIndexByte(email, '@')
	if !found || at < 1 || at == len(email)-1 || rest == "" || strings.HasSuffix(rest, "/") || dots(rest) ||
		!utf8.ValidString(key) {
		return "", "", false
	}
	return strings.ToLower(email), path.Base(rest), true
}

// dots reports whether a segment of the key is "." or "..".
func dots(key string) bool {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// Params is what a new conversion is made of.
type Params struct {
	ID             string // from NewID where empty
	OwnerID        string
	OwnerEmail     string
	Language       string // of mails; see Addressee
	Filename       string // cleaned by New: others choose it, for example as the key of an inbox drop
	Size           int64  // declared bytes
	Sent           *Sent  // nil for the whole video
	Options        Options
	Notify         NotifyPreference
	IdempotencyKey string // '' for none
	RequestHash    string
	Key            string // of the source object; UploadKey where empty
	Version        string // of the source object, '' where not known yet
	UploadWindow   time.Duration
}

// New makes a conversion that awaits its upload.
func New(p Params, now time.Time) (Conversion, error) {
	if p.OwnerID == "" || p.OwnerEmail == "" {
		return Conversion{}, fmt.Errorf("new conversion: no owner")
	}
	if p.ID == "" {
		p.ID = NewID()
	}
	if p.IdempotencyKey == "" {
		p.IdempotencyKey = p.ID
	}
	if p.Key == "" {
		p.Key = UploadKey(p.OwnerID, p.ID)
	}
	now = stamp(now)
	c := Conversion{
		ID: p.ID, Revision: 1, Format: Format, OwnerID: p.OwnerID, OwnerEmail: p.OwnerEmail, Language: p.Language,
		IdempotencyKey: p.IdempotencyKey, RequestHash: p.RequestHash,
		Filename: printable.Clean(p.Filename), Options: p.Options.Resolved(), Class: p.Options.class(),
		Notify: p.Notify, Sent: p.Sent, State: AwaitingUpload,
		Object:    Object{Key: p.Key, Version: p.Version, Size: p.Size},
		MP3:       MP3{ID: newMP3ID()},
		Outbox:    []Message{},
		CreatedAt: now, UpdatedAt: now, AwaitedAt: now, ExpiresAt: stamp(now.Add(p.UploadWindow)),
	}
	c.schedule(now)
	return c, nil
}

// stamp rounds a time down to UTC milliseconds, which every store keeps.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
