package account

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tonearm/internal/conversion"
)

// Quota names a limit on what one user takes. It is a part of the interface, so its
// values stay.
type Quota string

// The quotas.
const (
	QuotaOpenUploads    Quota = "open_uploads"        // uploads that are awaited
	QuotaQueued         Quota = "queued_conversions"  // conversions that wait for their attempt
	QuotaRunning        Quota = "running_attempts"    // attempts of a class at a time while somebody else's conversions wait
	QuotaStored         Quota = "stored_bytes"        // bytes of videos and MP3s in the object store
	QuotaDailyBytes     Quota = "daily_bytes"         // bytes of the videos of one day
	QuotaDailySound     Quota = "daily_sound_seconds" // seconds of sound in the MP3s of one day
	QuotaWaiters        Quota = "waiters"             // requests with ?wait= at a time, at one gateway
	QuotaGatewayUploads Quota = "gateway_uploads"     // uploads through one gateway at a time
)

// Quotas lists every quota.
var Quotas = []Quota{QuotaOpenUploads, QuotaQueued, QuotaRunning, QuotaStored, QuotaDailyBytes, QuotaDailySound, QuotaWaiters, QuotaGatewayUploads}

// Unlimited is the value of a quota that is none.
const Unlimited int64 = -1

// Limits are values of quotas: 0 where nothing is said, Unlimited for none.
type Limits struct {
	OpenUploads    int64 `json:"open_uploads,omitempty"`
	Queued         int64 `json:"queued_conversions,omitempty"`
	Running        int64 `json:"running_attempts,omitempty"`
	Stored         int64 `json:"stored_bytes,omitempty"`
	DailyBytes     int64 `json:"daily_bytes,omitempty"`
	DailySound     int64 `json:"daily_sound_seconds,omitempty"`
	Waiters        int64 `json:"waiters,omitempty"`
	GatewayUploads int64 `json:"gateway_uploads,omitempty"`
}

// DefaultLimits are those of a user for whom nobody has set others. They let
// somebody with 10,000 videos convert them in an evening, and stop what no person
// does. Attempts have no number here: see package dispatcher.
var DefaultLimits = Limits{
	OpenUploads: 10_000, Queued: 20_000, Stored: 10 << 40, DailyBytes: 10 << 40, DailySound: 20_000 * 3600,
	Waiters: 256, GatewayUploads: 8,
}

// At is the value of a quota, to be changed; nil for an unknown one.
func (l *Limits) At(q Quota) *int64 {
	switch q {
	case QuotaOpenUploads:
		return &l.OpenUploads
	case QuotaQueued:
		return &l.Queued
	case QuotaRunning:
		return &l.Running
	case QuotaStored:
		return &l.Stored
	case QuotaDailyBytes:
		return &l.DailyBytes
	case QuotaDailySound:
		return &l.DailySound
	case QuotaWaiters:
		return &l.Waiters
	case QuotaGatewayUploads:
		return &l.GatewayUploads
	}
	return nil
}

// Of returns the value of a quota, 0 where nothing is said.
func (l Limits) Of(q Quota) int64 {
	if v := l.At(q); v != nil {
		return *v
	}
	return 0
}

// Set changes one quota; ErrInvalid if there is none of this name, or if the value
// is no limit. 0 takes back what was said.
func (l *Limits) Set(q Quota, value int64) error {
	v := l.At(q)
	switch {
	case v == nil:
		return invalid(fmt.Sprintf("there is no quota %q; the quotas are %s", q, strings.Join(names(Quotas), ", ")))
	case value < Unlimited:
		return invalid(fmt.Sprintf("the quota %s must be 1 or more, 0 for the server's own, or -1 for none", q))
	}
	*v = value
	return nil
}

func names(quotas []Quota) (names []string) {
	for _, q := range quotas {
		names = append(names, string(q))
	}
	return names
}

// Or returns l, with the values of others where l says nothing.
func (l Limits) Or(others Limits) Limits {
	for _, q := range Quotas {
		if v := l.At(q); *v == 0 {
			*v = others.Of(q)
		}
	}
	return l
}

// Validate returns ErrInvalid if a value is no limit.
func (l Limits) Validate() error {
	if i := slices.IndexFunc(Quotas, func(q Quota) bool { return l.Of(q) < Unlimited }); i >= 0 {
		return l.Set(Quotas[i], l.Of(Quotas[i]))
	}
	return nil
}

// Usage is what the conversions of a user that were made on one day take.
type Usage struct {
	UserID string
	Day    time.Time // its beginning, UTC
	conversion.Use
	CountedAt time.Time // the records were read then or later
	// StoredOnly: the day is so long ago that what was deleted may be missing in the
	// count. A row that is there keeps its other figures.
	StoredOnly bool
}

// Used is what a user takes at a time.
type Used struct {
	Today  conversion.Use // of the conversions that were made on that day
	Stored int64          // bytes in the object store, of all days
}

// UsedByAll is what all users take.
type UsedByAll struct {
	Used
	Largest Used // what one user takes at the most, of each figure
	Users   int64
}
