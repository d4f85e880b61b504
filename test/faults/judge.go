package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tonearm/internal/conversion"
)

// Limits of a cell that sets none.
const (
	recoveryLimit   = 60 * time.Second // from the end of the fault until everything is done
	goroutinesLimit = 80               // more than before the fault, of one service
	memoryLimit     = 256 << 20        // resident bytes of one service
	linesLimit      = 10.0             // log lines a second, of one service, beyond those of files
	linesOfFile     = 12               // log lines of one service about one file that meets no fault
)

// evidence is what a cell left behind; judge sees nothing else.
type evidence struct {
	files    []file
	seen     *seen
	services map[string]change // by name

	ended    time.Time     // of the fault
	skew     time.Duration // of the documents' times
	observed time.Duration
	struck   int

	noMails      bool          // mails are not looked at
	secondMails  int           // that the fault allows
	unknownMails bool          // a mail that has come need not be recorded as sent
	mayRefuse    bool          // the store may refuse an upload
	late         bool          // objects of earlier attempts may stand until their URLs end
	mp3sGo       bool          // an MP3 may have been removed at the end of its time
	torn         []string      // lines of logs that are not JSON
	recovery     time.Duration // limit
	lines        float64       // limit, a second
}

// file is an upload and what must come of it.
type file struct {
	name  string
	key   string // Idempotency-Key
	acked bool
	error string // why its client gave up
	want  conversion.Code
	sum   string
}

// change is a service before the fault and at the end.
type change struct{ before, after state }

// verdict is a cell's result.
type verdict struct {
	Red []string `json:"red"` // what is wrong, one word first; empty if nothing

	Uploads      int `json:"uploads"`
	Acknowledged int `json:"acknowledged"`
	Done         int `json:"done"`
	Failed       int `json:"failed"` // with the right code
	Lost         int `json:"lost"`
	Unfinished   int `json:"unfinished"`
	Wrong        int `json:"failed_wrongly"`
	Doubled      int `json:"doubled"`
	SecondMails  int `json:"second_mails"`
	Orphans      int `json:"orphans"`

	RecoveryP50 float64 `json:"recovery_p50_s"` // seconds
	RecoveryMax float64 `json:"recovery_max_s"`
	Lines       float64 `json:"log_lines_per_s"` // of the service that logs most, beyond those of files
	Memory      float64 `json:"memory_mb"`       // of the largest service
	Goroutines  float64 `json:"goroutines"`      // of the service with most
}

func (v *verdict) red(format string, args ...any) {
	v.Red = append(v.Red, fmt.Sprintf(format, args...))
}

// judge compares what there is with what must be.
func judge(e evidence) verdict {
	v := verdict{Red: []string{}}
	if e.struck == 0 {
		v.red("unproven: the fault never struck")
	}
	for _, f := range e.files {
		v.file(e, f)
	}
	v.documents(e)
	v.objects(e)
	if !e.noMails {
		v.mails(e)
	}
	v.pending(e)
	v.recoveries(e)
	v.states(e)
	for _, line := range e.torn {
		v.red("log: not JSON: %s", line)
	}
	return v
}

// file looks at one upload.
func (v *verdict) file(e evidence, f file) {
	v.Uploads++
	d, ok := e.seen.document(f.key)
	if !f.acked {
		if !e.mayRefuse {
			v.red("refused: %s was never accepted: %s", f.name, f.error)
		}
		if !ok || d.State != conversion.Done {
			return
		}
	} else {
		v.Acknowledged++
	}
	switch {
	case !ok:
		v.Lost++
		v.red("lost: %s is acknowledged and has no document", f.name)
	case d.State == conversion.Failed && f.want != "" && d.Error != nil && d.Error.Code == f.want:
		v.Failed++
	case d.State == conversion.Failed:
		v.Wrong++
		code := conversion.Code("")
		if d.Error != nil {
			code = d.Error.Code
		}
		v.red("failed: %s failed with %q, want %q", f.name, code, f.want)
	case !d.State.Terminal():
		v.Unfinished++
		v.red("unfinished: %s is acknowledged and %s", f.name, d.State)
	case d.State != conversion.Done:
		v.Lost++
		v.red("lost: %s is acknowledged and %s", f.name, d.State)
	case f.want != "":
		v.Wrong++
		v.red("failed: %s is done, want %q", f.name, f.want)
	case e.mp3sGo && d.MP3Gone:
		v.Done++
	case e.seen.sums[d.MP3.Key] != f.sum || f.sum == "":
		v.Lost++
		v.red("mp3: that of %s is not the right one", f.name)
	default:
		v.Done++
	}
}

// documents: one for each upload, and no other.
func (v *verdict) documents(e evidence) {
	count := map[string]int{}
	for _, d := range e.seen.documents {
		count[d.IdempotencyKey]++
	}
	for _, f := range e.files {
		if n := count[f.key]; n > 1 {
			v.Doubled += n - 1
			v.red("doubled: %s has %d documents", f.name, n)
		}
		delete(count, f.key)
	}
	for key := range count {
		v.red("documents: one under the key %s, which nobody sent", key)
	}
}

// objects: one MP3 for each conversion that is done, and nothing that no record
// accounts for.
func (v *verdict) objects(e evidence) {
	v.Orphans = len(e.seen.orphans(e.late))
	for _, key := range e.seen.orphans(e.late) {
		v.red("orphan: %s", key)
	}
	mp3s := map[string]int{}
	for _, key := range e.seen.objects {
		if strings.HasPrefix(key, conversion.MP3Prefix) {
			mp3s[strings.Split(key, "/")[2]]++
		}
	}
	for _, d := range e.seen.documents {
		if n := mp3s[d.ID]; n > 1 && (!e.late || d.CleanAt.IsZero()) {
			v.Doubled++
			v.red("doubled: a conversion has %d MP3s", n)
		}
	}
}

// orphans returns the objects that no record accounts for. With late, those of a
// conversion whose leftovers are still to be removed do not count.
func (s *seen) orphans(late bool) (keys []string) {
	accounted := map[string]bool{}
	cleaned := map[string]bool{}
	for _, d := range s.documents {
		accounted[d.Object.Key] = true
		if d.State == conversion.Done {
			accounted[d.MP3.Key] = true
		}
		cleaned[d.ID] = !d.CleanAt.IsZero()
	}
	for _, key := range s.objects {
		parts := strings.Split(key, "/")
		if !accounted[key] && (!late || len(parts) < 3 || !cleaned[parts[2]]) {
			keys = append(keys, key)
		}
	}
	return keys
}

// mails: one for each conversion that has ended, and second ones only where the
// fault allows them.
func (v *verdict) mails(e evidence) {
	for _, n := range e.seen.mails {
		v.SecondMails += n - 1
	}
	if v.SecondMails > e.secondMails {
		v.red("mails: %d second ones, %d allowed", v.SecondMails, e.secondMails)
	}
	ended := 0
	for _, d := range e.seen.documents {
		if d.State == conversion.Done || d.State == conversion.Failed {
			ended++
		}
	}
	if len(e.seen.mails) != ended {
		v.red("mails: %d conversions have ended and %d have a mail", ended, len(e.seen.mails))
	}
}

// pending: nothing is left to do.
func (v *verdict) pending(e evidence) {
	if left := e.seen.left(e.unknownMails); left != "" {
		v.red("pending: %s", left)
	}
}

// left says what is not finished; "" if nothing is.
func (s *seen) left(unknownMails bool) string {
	var left []string
	count := func(what string, n int) {
		if n > 0 {
			left = append(left, fmt.Sprintf("%d %s", n, what))
		}
	}
	running, outbox, notices := 0, 0, 0
	for _, d := range s.documents {
		if !d.State.Terminal() && d.State != conversion.AwaitingUpload {
			running++
		}
		outbox += len(d.Outbox)
		if d.Notice.State == conversion.NoticeOwed || d.Notice.State == conversion.NoticeSending {
			notices++
		}
	}
	if unknownMails && len(s.mails) == len(s.documents) {
		outbox, notices = 0, 0
	}
	count("conversions", running)
	count("messages in outboxes", outbox)
	count("notices", notices)
	if !unknownMails {
		count("messages in the queue", int(s.messages))
	}
	return strings.Join(left, ", ")
}

// recoveries: how long after the end of the fault files were done.
func (v *verdict) recoveries(e evidence) {
	var all []time.Duration
	for _, f := range e.files {
		if d, ok := e.seen.document(f.key); ok && !d.FinishedAt.IsZero() {
			all = append(all, max(0, d.FinishedAt.Sub(e.ended.Add(e.skew))))
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	v.RecoveryP50, v.RecoveryMax = all[len(all)/2].Seconds(), all[len(all)-1].Seconds()
	if limit := e.recovery; all[len(all)-1] > limit {
		v.red("slow: the last file was done %.0f s after the fault, limit %.0f", v.RecoveryMax, limit.Seconds())
	}
}

// states: services do not grow and do not fill the disk with logs.
func (v *verdict) states(e evidence) {
	for name, s := range e.services {
		rate := float64(max(0, s.after.lines-s.before.lines-linesOfFile*len(e.files))) / max(1, e.observed.Seconds())
		v.Lines, v.Memory = max(v.Lines, rate), max(v.Memory, s.after.memory/1e6)
		v.Goroutines = max(v.Goroutines, s.after.goroutines)
		if rate > e.lines {
			v.red("log: %s wrote %.0f lines a second", name, rate)
		}
		if s.after.memory > memoryLimit {
			v.red("memory: %s has %.0f MB", name, s.after.memory/1e6)
		}
		if n := s.after.goroutines - s.before.goroutines; n > goroutinesLimit {
			v.red("goroutines: %s has %.0f more than before", name, n)
		}
	}
}
