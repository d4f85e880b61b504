package conversion

import (
	"time"

	"tonearm/internal/retry"
)

// Policy holds the durations and limits that transitions depend on.
type Policy struct {
	Lease           time.Duration // an attempt silent for this long is presumed lost
	MaxAttempts     int           // how many counted failures make a conversion fail
	MaxLaunches     int           // most attempts in all, however they end
	Backoff         time.Duration // before the second attempt; doubles with each further failure
	MaxBackoff      time.Duration
	SourceRetention time.Duration // uploads are removed this long after their conversion's end; 0 keeps them
	MP3Retention    time.Duration // MP3s are removed this long after they were made; 0 keeps them
	RecordRetention time.Duration // an ended conversion is deleted this long after its end; 0 keeps it
	URLExpiry       time.Duration // how long a transcoder's upload URL can still be used
}

// DefaultPolicy is what services use where the operator says nothing.
var DefaultPolicy = Policy{
	Lease: 30 * time.Second, MaxAttempts: 3, MaxLaunches: 20,
	Backoff: 5 * time.Second, MaxBackoff: 5 * time.Minute,
	SourceRetention: 7 * 24 * time.Hour, URLExpiry: time.Hour,
}

// backoff is the pause after this many failures, at least 1.
func (p Policy) backoff(failures int) time.Duration {
	return retry.Policy{Initial: p.Backoff, Max: p.MaxBackoff}.Pause(failures)
}
