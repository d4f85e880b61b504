// Package launch is the contract for running one attempt somewhere: a child
// process or a Kubernetes Job.
package launch

import (
	"context"
	"errors"
	"time"

	"tonearm/internal/conversion"
)

// ErrBusy means that there is no room for another attempt at present; try later.
var ErrBusy = errors.New("launch: no capacity")

// DefaultStartTimeout is how long an attempt may take to start where nothing else
// is said: longer than a new node takes to come.
const DefaultStartTimeout = 10 * time.Minute

// Attempt is one that runs.
type Attempt struct {
	conversion.AttemptRef
	Class conversion.Class
}

// Spec is what an attempt is started with. It holds no secret but the token of
// that attempt.
type Spec struct {
	conversion.AttemptRef
	Class      conversion.Class
	Token      string        // good for this attempt alone
	SourceSize int64         // bytes of a source that there has to be room for
	Deadline   time.Duration // after which the launcher ends the attempt
}

// Reason is why a launched attempt ended.
type Reason string

// Reasons. The exit code of Exited is one of those in package attempt.
const (
	Exited      Reason = "exited"        // by itself; see End.ExitCode
	Killed      Reason = "killed"        // by a signal nobody here sent
	OutOfMemory Reason = "out_of_memory" // by its memory limit
	Deadline    Reason = "deadline"      // by Spec.Deadline
	Disrupted   Reason = "disrupted"     // its node went away or was drained
	Stopped     Reason = "stopped"       // by Stop
	NotStarted  Reason = "not_started"   // it could never run (image missing, unschedulable)
)

// Reasons lists every reason.
var Reasons = []Reason{Exited, Killed, OutOfMemory, Deadline, Disrupted, Stopped, NotStarted}

// End is how an attempt ended.
type End struct {
	conversion.AttemptRef
	Reason   Reason
	ExitCode int    // of Exited
	Detail   string // for the operator; may be ''
}

// Launcher runs attempts.
type Launcher interface {
	// Start runs the attempt. It may be called again with the same AttemptRef: an
	// attempt that runs is left alone. ErrBusy where there is no room.
	Start(ctx context.Context, s Spec) error
	// Stop ends the attempt, waits until it is gone or ctx is done, and removes
	// what it left behind. An attempt that is gone already is no error. Whoever
	// handled an End calls Stop too.
	Stop(ctx context.Context, r conversion.AttemptRef) error
	// Running lists the attempts that have started or will, and have not ended.
	Running(ctx context.Context) ([]Attempt, error)
	// Watch calls ended for every attempt that ends, until ctx is done; it
	// returns ctx's error, or why it cannot go on. An End may come more than
	// once; one that happens while nobody watches may be lost.
	Watch(ctx context.Context, ended func(End)) error
	// Close ends what must not outlive the launcher.
	Close() error
}
