package conversion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Format is the format of the records that this program writes. A program of
// the next format must still read those of this one.
const Format = 1

// MaxIDs is for how many conversions Store.ByIDs may be asked at once.
const MaxIDs = 1000

// Errors of stores and transitions.
var (
	// ErrNotFound: no such conversion.
	ErrNotFound = errors.New("conversion: not found")
	// ErrExists: a conversion with this id, owner and idempotency key, object
	// and version, or MP3 id is there already.
	ErrExists = errors.New("conversion: exists")
	// ErrUnchanged is returned by a transition that happened before: what the
	// caller asks for is already so. A Store writes nothing then.
	ErrUnchanged = errors.New("conversion: unchanged")
	// ErrState: the transition is not allowed in the conversion's state.
	ErrState = errors.New("conversion: not possible in this state")
	// ErrStaleAttempt: the attempt is not the current one, or another process
	// claimed it.
	ErrStaleAttempt = errors.New("conversion: attempt is not the current one")
	// ErrFull: the store has no room for more. What it has can still be read.
	ErrFull = errors.New("conversion: the store is full")
	// ErrNewerFormat: a newer version of Tonearm wrote the record, and this one
	// may not change it.
	ErrNewerFormat = errors.New("conversion: the record has a newer format than this version of Tonearm writes")
)

// Store keeps conversions. It is the truth: what it has acknowledged survives
// a crash. Implementations wait for no one else and never retry writes whose
// outcome is unknown; every method may be called again with the same
// arguments.
//
// A newer version of Tonearm may write the same records at the same time. What
// this one does not know stays: a store that rewrites a record keeps every field
// that Conversion lacks, also inside nested objects. An object that a change
// removes goes with all its fields, and a list that a change touches is replaced
// as a whole. A record whose Format is above Format can be read and listed, and
// nothing else.
type Store interface {
	// Create adds c, or returns ErrExists.
	Create(ctx context.Context, c Conversion) error
	// ByIDs returns those of these conversions that there are, in any order. One
	// call takes up to MaxIDs.
	ByIDs(ctx context.Context, ids []string) ([]Conversion, error)
	// ByID and the next three return ErrNotFound where there is none.
	ByID(ctx context.Context, id string) (Conversion, error)
	ByIdempotencyKey(ctx context.Context, ownerID, key string) (Conversion, error)
	ByObject(ctx context.Context, key, version string) (Conversion, error)
	ByMP3(ctx context.Context, mp3ID string) (Conversion, error)
	// Update reads the conversion, applies change and writes the result if
	// nobody else wrote meanwhile; else it starts again with what is there now.
	// It returns the conversion as written. Update raises Revision by one;
	// UpdatedAt is left to change. If change returns ErrUnchanged, nothing is
	// written, and the conversion as read is returned without error. Any other
	// error of change is returned as it is, with the conversion as read.
	// ErrNewerFormat comes with the conversion as read too.
	Update(ctx context.Context, id string, change func(*Conversion) error) (Conversion, error)
	// Settle empties the outbox and sets WakeAt to wakeAt if the document still
	// has this revision; Revision stays as it is. A newer document, or one of a
	// newer format, is left alone without error.
	Settle(ctx context.Context, id string, revision int64, wakeAt time.Time) error
	// List returns an owner's conversions, newest (highest id) first.
	List(ctx context.Context, q Query) ([]Conversion, error)
	// Uses returns what an owner's conversions take, by the day on which they were
	// made: all of those with ids from IDAt(from) on and below IDAt(to), deleted ones
	// included. It takes a time that grows with their number alone. Zero times are
	// no bounds.
	Uses(ctx context.Context, ownerID string, from, to time.Time) (Uses, error)
	// Unfinished counts the owner's conversions in each state of Unfinished.
	Unfinished(ctx context.Context, ownerID string) (map[State]int64, error)
	// Owners returns the owners, in any order, of the conversions that were made
	// since then.
	Owners(ctx context.Context, since time.Time) ([]string, error)
	// Due returns up to limit conversions with WakeAt at or before now, the
	// longest overdue first. A zero WakeAt means never. Those of a newer format
	// are left out.
	Due(ctx context.Context, now time.Time, limit int) ([]Conversion, error)
	// Lapsed is Due for Running conversions alone: their lease has ended. It takes
	// a time that does not grow with the number of others.
	Lapsed(ctx context.Context, now time.Time, limit int) ([]Conversion, error)
	// Owing returns up to limit conversions with an id above after, in order of
	// id, that are Queued or whose notice is owed or being sent. Those of a newer
	// format are left out.
	Owing(ctx context.Context, after string, limit int) ([]Conversion, error)
	// Purge removes the tombstone of a deleted conversion. A conversion in
	// another state or of a newer format is left alone without error. A missing
	// one is no error either.
	Purge(ctx context.Context, id string) error
	// Lease takes the named lease for holder, or renews it, until d from now by
	// the store's clock, and returns who has it. If that is another one, its lease
	// has not ended, and nothing changes; '' means that it ended meanwhile.
	Lease(ctx context.Context, name, holder string, d time.Duration) (string, error)
	// Release ends the named lease if holder has it.
	Release(ctx context.Context, name, holder string) error
	// Now returns the store's time, by which all that use it can agree on what is
	// over.
	Now(ctx context.Context) (time.Time, error)
	// Ping reports whether the store can be reached.
	Ping(ctx context.Context) error
	Close() error
}

// Query selects conversions of one owner. Deleted ones are never listed.
type Query struct {
	OwnerID string
	States  []State // any of these; empty for all but Deleted
	Before  string  // ids below this one; '' from the newest
	Limit   int
}

// Listed returns the states of States that can be listed, each once: not
// Deleted.
func (q Query) Listed() []State {
	states := slices.DeleteFunc(slices.Clone(q.States), func(s State) bool { return s == Deleted })
	slices.Sort(states)
	return slices.Compact(states)
}

// Document is one stored record in the form of its store.
type Document interface {
	// Decode returns the conversion in it; each call returns a new one.
	Decode() (Conversion, error)
}

// UpdateDocument is Store.Update for a store that keeps documents of type D.
// read returns the document with this id. write replaces document by after if
// the stored one still has the revision of before, and reports whether it did.
// Both before and after were decoded from document.
func UpdateDocument[D Document](id string, change func(*Conversion) error,
	read func() (D, error), write func(document D, before, after Conversion) (bool, error),
) (Conversion, error) {
	for {
		document, err := read()
		if err != nil {
			return Conversion{}, fmt.Errorf("conversion %s: %w", id, err)
		}
		before, err := document.Decode()
		if err != nil {
			return before, fmt.Errorf("conversion %s: %w", id, err)
		}
		if before.Format > Format {
			return before, fmt.Errorf("update conversion %s: %w", id, ErrNewerFormat)
		}
		after, err := document.Decode() // change may write through pointers
		if err != nil {
			return after, fmt.Errorf("conversion %s: %w", id, err)
		}
		if refusal := change(&after); errors.Is(refusal, ErrUnchanged) {
			return before, nil
		} else if refusal != nil {
			return before, refusal
		}
		after.Revision = before.Revision + 1
		written, err := write(document, before, after)
		if err != nil {
			return after, fmt.Errorf("update conversion %s: %w", id, err)
		}
		if written {
			return after, nil
		}
	}
}
