package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/retry"
)

// faultsInRow is after how many attempts in a row, of different files, whose
// machines were not well no more work of their class is taken.
const faultsInRow = 3

// probePauses are the pauses between two attempts that find out whether the
// machines of a class are well again.
var probePauses = retry.Policy{Initial: 5 * time.Second, Max: 5 * time.Minute}

// breaker stops the work of one class while its machines are not well. Otherwise
// a sick machine, which ends attempts faster than a sound one, gets all of them.
type breaker struct {
	mu     sync.Mutex
	row    int                   // faults in a row
	last   string                // the conversion that had the last one
	fault  conversion.WaitReason // the last one
	probes int                   // since the class was stopped; 0 while it is not
	next   time.Time             // of the next probe
}

// failed notes an attempt whose machine was not well, and reports whether that
// stops the class. Faults that one file meets again and again stop nothing.
func (b *breaker) failed(id string, fault conversion.WaitReason, now time.Time) (stopped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
	if id != b.last || id == "" {
		b.row++
	}
	b.last = id
	if b.probes > 0 || b.row < faultsInRow {
		return false
	}
	b.probe(now)
	return true
}

// probe sets the time of the next probe.
func (b *breaker) probe(now time.Time) {
	b.probes++
	b.next = now.Add(probePauses.Pause(b.probes))
}

// worked notes an attempt whose machine was well, and reports whether that
// brings the class back.
func (b *breaker) worked() (back bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	back = b.probes > 0
	b.row, b.last, b.probes = 0, "", 0
	return back
}

// started notes an attempt that was started. While the class is stopped, that is
// the probe, and the next one comes later.
func (b *breaker) started(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probes > 0 {
		b.probe(now)
	}
}

// allowed returns how many attempts may run at a time if limit may and running
// do.
func (b *breaker) allowed(limit, running int, now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.probes == 0:
		return limit
	case now.Before(b.next):
		return 0
	}
	return min(limit, running+1)
}

// stopped returns the fault that stopped the class; empty if it is not stopped.
func (b *breaker) stopped() conversion.WaitReason {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probes == 0 {
		return ""
	}
	return b.fault
}

// judge learns from the end of a launch whether the machines of c's class are
// well.
func (d *Dispatcher) judge(e launch.End, c conversion.Conversion) {
	if e.Reason != launch.Exited || d.breakers[c.Class] == nil {
		return
	}
	switch e.ExitCode {
	case attempt.ExitFault:
		fault := conversion.FaultOther
		if c.Waiting != nil {
			fault = c.Waiting.Reason
		}
		d.faulty(c.Class, e.ConversionID, fault)
	case attempt.ExitDone, attempt.ExitBadInput:
		if d.breakers[c.Class].worked() {
			d.o.Log.Info("machines are well again: taking work", "class", c.Class)
		}
	}
}

// faulty notes an attempt of a class whose machine was not well.
func (d *Dispatcher) faulty(class conversion.Class, id string, fault conversion.WaitReason) {
	if d.breakers[class].failed(id, fault, d.o.Now()) {
		d.o.Log.Error("machines are not well: taking no more work of this class but one file now and then", "class", class, "fault", fault)
	}
}

// Well returns an error if classes of work are stopped because their machines are
// not well. It is for a warning in readiness, which must not depend on it: the
// attempts that run need the dispatcher.
func (d *Dispatcher) Well(context.Context) error {
	var told []string
	for _, class := range slices.Sorted(maps.Keys(d.breakers)) {
		if fault := d.breakers[class].stopped(); fault != "" {
			told = append(told, fmt.Sprintf("class %s takes no work, because of this fault of its machines: %s", class, fault))
		}
	}
	if len(told) > 0 {
		return errors.New(strings.Join(told, "; "))
	}
	return nil
}
