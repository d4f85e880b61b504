// Package launch is the contract for running one attempt somewhere: a child
// process or a Kubernetes Job.
package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"tonearm/internal/conversion"
)

// ErrBusy means that there is no room for another attempt at present; try later.
var ErrBusy = errors.New("launch: no capacity")

// ErrUnwell means that the launcher can start no attempt at present, whichever it
// is: its machine has no disk or memory left, its cluster does not answer, or the
// like.
var ErrUnwell = errors.New("launch: no attempt can be started")

// DefaultStartTimeout is how long an attempt may take to start if nothing else
// is said. It is longer than a new node takes to come.
const DefaultStartTimeout = 10 * time.Minute

// Attempt is an attempt that runs, or waits for what it is to run on.
type Attempt struct {
	conversion.AttemptRef
	Class  conversion.Class
	Launch string // of its Spec; '' if the launcher starts an attempt only once, whoever asks

	Since   time.Time             // when its process began to run; zero if it waits, or if that is not known
	Waiting conversion.WaitReason // what it waits for; '' once its process runs
	Late    bool                  // it has waited for longer than attempts of its class should
}

// Spec is what an attempt is started with. The attempt's own token is the only
// secret in it.
type Spec struct {
	conversion.AttemptRef
	Launch     string // id of this launch; another launch of the same attempt has another
	Class      conversion.Class
	Token      string        // good for this attempt alone
	SourceSize int64         // bytes of the largest source that needs room
	Deadline   time.Duration // how long the attempt may run before the launcher ends it
}

// The variables that bring an attempt its token.
const (
	// TokenFileVariable is the number of a descriptor that the token is read from to its
	// end. Others cannot see it there.
	TokenFileVariable = "TONEARM_ATTEMPT_TOKEN_FD"
	// TokenVariable is the token. Kubernetes has no other way; children of a dispatcher
	// had it before version 0.2.
	TokenVariable = "TONEARM_ATTEMPT_TOKEN"
)

const maxToken = 64 << 10 // bytes

// Token returns the token that this process was started with, empty if there is none.
func Token() (string, error) {
	number := os.Getenv(TokenFileVariable)
	if number == "" {
		return os.Getenv(TokenVariable), nil
	}
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 3 {
		return "", fmt.Errorf("%s must be the number of an open file, 3 or more", TokenFileVariable)
	}
	f := os.NewFile(uintptr(fd), "token")
	if f == nil {
		return "", fmt.Errorf("%s is not open", TokenFileVariable)
	}
	defer f.Close()
	token, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return "", fmt.Errorf("read the attempt's token: %w", err)
	}
	return string(token), nil
}

// Reason is why a launched attempt ended.
type Reason string

// Reasons. With Exited, the exit code is one of those in package attempt.
const (
	Exited      Reason = "exited"        // by itself; see End.ExitCode
	Killed      Reason = "killed"        // by a signal that did not come from the launcher
	OutOfMemory Reason = "out_of_memory" // by its memory limit
	Deadline    Reason = "deadline"      // by Spec.Deadline
	Disrupted   Reason = "disrupted"     // its node went away or was drained
	Stopped     Reason = "stopped"       // by Stop
	NotStarted  Reason = "not_started"   // it can never run (image missing, wrong configuration)
)

// Reasons lists every reason.
var Reasons = []Reason{Exited, Killed, OutOfMemory, Deadline, Disrupted, Stopped, NotStarted}

// End is how an attempt ended.
type End struct {
	conversion.AttemptRef
	Launch   string // as in Attempt
	Reason   Reason
	ExitCode int    // of Exited
	Detail   string // for the operator; may be ''
}

// Launcher runs attempts.
type Launcher interface {
	// Start runs the attempt. It may be called again with the same AttemptRef:
	// a running attempt is left alone. It returns ErrBusy if there is no room,
	// and an error that wraps ErrUnwell if it can start nothing at present.
	Start(ctx context.Context, s Spec) error
	// Stop ends the attempt, waits until it is gone or ctx is done, and removes
	// what it left behind. It is no error if the attempt is gone already. Call
	// Stop too after handling an End.
	Stop(ctx context.Context, r conversion.AttemptRef) error
	// Running lists the attempts that have started or will, and have not ended.
	Running(ctx context.Context) ([]Attempt, error)
	// Watch calls ended for every attempt that ends, until ctx is done, and for
	// those that an earlier life of the launcher left and that New has ended. It
	// returns ctx's error, or the reason why it cannot go on. An End may come
	// more than once; if nobody watches when it happens, it may be lost.
	Watch(ctx context.Context, ended func(End)) error
	// Close ends what must not outlive the launcher.
	Close() error
}
