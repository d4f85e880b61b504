package conversion

import (
	"fmt"
	"strconv"
	"time"
)

// Use is what an owner's conversions that were made on one day take. It follows
// from the records alone.
type Use struct {
	Conversions int64   `json:"conversions"`   // made on that day; what was deleted since counts for 8 days
	Bytes       int64   `json:"bytes"`         // uploaded, or announced while the upload is awaited
	Sound       float64 `json:"sound_seconds"` // in MP3s, also in removed ones; while an attempt runs, what its source promises
	Stored      int64   `json:"stored_bytes"`  // in the object store now, or announced for it
}

// Plus adds another Use.
func (u Use) Plus(o Use) Use {
	return Use{u.Conversions + o.Conversions, u.Bytes + o.Bytes, u.Sound + o.Sound, u.Stored + o.Stored}
}

// Holding is what counts of one conversion for its owner's use.
type Holding struct {
	ID           string
	State        State
	Uploaded     bool  // the source was found in the store
	Size         int64 // of the source, in bytes
	SourceGone   bool
	MP3Size      int64
	MP3Seconds   float64
	MP3Gone      bool
	TotalSeconds float64 // of Progress
}

// Holding returns what counts of c for its owner's use.
func (c *Conversion) Holding() Holding {
	return Holding{ID: c.ID, State: c.State, Uploaded: c.Object.ETag != "", Size: c.Object.Size, SourceGone: c.SourceGone,
		MP3Size: c.MP3.Size, MP3Seconds: c.MP3.Duration, MP3Gone: c.MP3Gone, TotalSeconds: c.Progress.TotalSeconds}
}

// Use returns what the conversion takes.
func (h Holding) Use() Use {
	u := Use{Conversions: 1, Sound: h.MP3Seconds}
	awaited := h.State == AwaitingUpload
	if h.Uploaded || awaited {
		u.Bytes = h.Size
	}
	if h.State == Running {
		u.Sound += h.TotalSeconds
	}
	if h.State == Deleted { // its objects are being removed
		return u
	}
	if awaited || h.Uploaded && !h.SourceGone {
		u.Stored += h.Size
	}
	if !h.MP3Gone {
		u.Stored += h.MP3Size
	}
	return u
}

// Uses is the use of one owner by day, in UTC.
type Uses map[time.Time]Use

// Add adds one conversion to the day on which it was made. A conversion whose id
// does not tell that is left out.
func (u Uses) Add(h Holding) {
	if day, ok := MadeOn(h.ID); ok {
		u[day] = u[day].Plus(h.Use())
	}
}

// Day is the beginning of the day of t, in UTC.
func Day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// IDAt begins every id that NewID draws in the millisecond of t; ids that were
// drawn before are less, later ones are greater. The zero time gives an empty one.
func IDAt(t time.Time) string {
	ms := t.UnixMilli()
	if t.IsZero() || ms < 0 {
		return ""
	}
	return fmt.Sprintf("%08x-%04x", ms>>16, ms&0xffff)
}

// MadeOn is the day, in UTC, on which an id was drawn; ok is false if NewID did
// not draw it.
func MadeOn(id string) (day time.Time, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[14] != '7' {
		return day, false
	}
	ms, err := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
	if err != nil {
		return day, false
	}
	return Day(time.UnixMilli(ms)), true
}

// Unfinished are the states that Store.Unfinished counts.
var Unfinished = []State{AwaitingUpload, Queued, Running}
