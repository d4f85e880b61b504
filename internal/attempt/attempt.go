// Package attempt is the protocol between a dispatcher and the transcoder that
// carries out one attempt: the types on the wire, the token, the exit codes.
//
// The transcoder calls POST /attempts/{conversion id}/claim, then progress
// every few seconds, then result, each with its token as bearer. The answer to
// result may hold the assignment and token of another attempt, which is claimed
// already; the transcoder then goes on with that one. Every answer except 200
// is an RFC 9457 problem document: 401 for a wrong token, 409 if the attempt is
// not the current one or another process claimed it. These two are final; after
// any other answer the call may be repeated.
package attempt

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"tonearm/internal/conversion"
)

// Exit codes of the transcoder. Any other one means that it crashed.
const (
	ExitDone     = 0  // the result was reported and taken
	ExitUsage    = 2  // flags or environment are wrong
	ExitBadInput = 10 // the source can never become an MP3; reported
	ExitFailed   = 11 // something that may heal failed; reported
	ExitStopped  = 12 // the dispatcher said stop, or the attempt is no longer current
	ExitNoReport = 13 // the outcome could not be reported
	ExitFault    = 14 // this machine is not well; reported
)

// ErrToken means that a token does not belong to this attempt.
var ErrToken = errors.New("attempt: token not valid")

// Key signs attempt tokens. All replicas of a dispatcher share it; at least 32
// bytes.
type Key []byte

// Token returns the token of one attempt. It does not expire by time: it is
// good as long as the attempt is the current one.
func (k Key) Token(conversionID string, number int) string {
	return strconv.Itoa(number) + "." + base64.RawURLEncoding.EncodeToString(k.sum(conversionID, number))
}

// Verify returns the number of the attempt that the token is for. There is one text for
// a token: base64 has others for the same bytes, and a number has others, too.
func (k Key) Verify(conversionID, token string) (number int, err error) {
	text, _, _ := strings.Cut(token, ".")
	n, err := strconv.Atoi(text)
	if err != nil || !hmac.Equal([]byte(token), []byte(k.Token(conversionID, n))) {
		return 0, ErrToken
	}
	return n, nil
}

func (k Key) sum(conversionID string, number int) []byte {
	h := hmac.New(sha256.New, k)
	h.Write([]byte("tonearm attempt\x00" + conversionID + "\x00" + strconv.Itoa(number)))
	return h.Sum(nil)
}

// String keeps the key out of messages.
func (k Key) String() string { return "[redacted]" }

// LogValue keeps the key out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Request is a presigned request on the wire.
type Request struct {
	Method string            `json:"method"`
	URL    string            `json:"url"`
	Header map[string]string `json:"header,omitempty"`
}

// Claim is the body of claim.
type Claim struct {
	Nonce  string `json:"nonce"`            // drawn once by the process; the same nonce gets the same answer
	Launch string `json:"launch,omitempty"` // id of the launch that the process belongs to; '' where it was not told
}

// Assignment answers a claim.
type Assignment struct {
	ConversionID  string             `json:"conversion_id"`
	Attempt       int                `json:"attempt"`
	Class         conversion.Class   `json:"class"`
	Filename      string             `json:"filename"`
	Options       conversion.Options `json:"options"`
	Source        Request            `json:"source"` // GET, ranges allowed
	SourceETag    string             `json:"source_etag"`
	SourceSize    int64              `json:"source_size"`
	Target        Request            `json:"target"` // PUT; add Content-MD5
	Limits        Limits             `json:"limits"`
	ReportSeconds float64            `json:"report_seconds"` // report progress at least this often
}

// Limits of an attempt where nobody sets others.
const (
	DefaultMaxDuration = 24 * time.Hour // of audio
	DefaultMaxMP3Bytes = 2 << 30
)

// Limits bound what an attempt may take.
type Limits struct {
	MaxDurationSeconds float64 `json:"max_duration_seconds"` // of the audio
	MaxMP3Bytes        int64   `json:"max_mp3_bytes"`
	MaxSourceBytes     int64   `json:"max_source_bytes"`
}

// Progress is the body of progress.
type Progress struct {
	Nonce    string              `json:"nonce"`
	Progress conversion.Progress `json:"progress"`
}

// ProgressReply answers progress: go on with fresh URLs, or stop.
type ProgressReply struct {
	Stop   bool    `json:"stop"`
	Source Request `json:"source"`
	Target Request `json:"target"`
}

// Result is the body of result: MP3 and Source, or Failure, or Stopped.
type Result struct {
	Nonce string `json:"nonce"`
	// NextNonce asks for another file, and claims it. It is drawn anew for each
	// attempt; '' asks for none. The same result again gets the same file
	// again.
	NextNonce string `json:"next_nonce,omitempty"`

	Source  *conversion.Source  `json:"source,omitempty"`
	MP3     *conversion.MP3     `json:"mp3,omitempty"` // without ID, Key and CreatedAt; ETag is the MD5 in hex
	Failure *conversion.Failure `json:"failure,omitempty"`
	Final   bool                `json:"final"` // of a failure: no further attempt can heal it
	// Fault says that a failure is the machine's own, whatever the file: one of
	// conversion.Faults. The attempt does not count then. A dispatcher that does
	// not know the field counts it.
	Fault   conversion.WaitReason `json:"fault,omitempty"`
	Stopped bool                  `json:"stopped,omitempty"` // the dispatcher said stop; only with NextNonce
}

// ResultReply answers result.
type ResultReply struct {
	State conversion.State `json:"state"`
	Next  *Next            `json:"next,omitempty"` // nil for none: the process ends
}

// Next is another file for a process that has finished one. It is an attempt of
// its own, at a conversion of the same owner, and is claimed by
// Result.NextNonce.
type Next struct {
	Token      string     `json:"token"`
	Assignment Assignment `json:"assignment"`
}
