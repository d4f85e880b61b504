package conversion

import (
	"slices"
	"time"
)

// Waiting says why a conversion that was to run does not run yet, though
// nothing is wrong with its file.
type Waiting struct {
	Reason WaitReason `json:"reason" bson:"reason"`
	Since  time.Time  `json:"since" bson:"since"`
}

// WaitReason is a stable word for why a conversion waits.
type WaitReason string

// What an attempt waits for that was launched and does not run yet.
const (
	WaitNode      WaitReason = "no_node"   // no machine has room for it
	WaitPod       WaitReason = "no_pod"    // the cluster makes no pod for it: a quota, or a rule
	WaitSuspended WaitReason = "suspended" // a queueing controller holds it back
	WaitStart     WaitReason = "starting"  // its machine is preparing it
)

// Faults of machines. The conversion waits for one that is well.
const (
	FaultDisk   WaitReason = "disk"   // full, read-only or broken
	FaultMemory WaitReason = "memory" // none is left, or no process can be started
	FaultFFmpeg WaitReason = "ffmpeg" // missing, or cannot be started
	FaultStore  WaitReason = "store"  // the object store cannot be reached from there
	FaultOther  WaitReason = "other"  // a word of a newer version

	// FaultLauncher: no attempt can be started at all. No conversion has this
	// reason, because the beginning of its attempt is taken back.
	FaultLauncher WaitReason = "launcher"
)

// Waits lists what launched attempts wait for, Faults the faults of machines.
var (
	Waits  = []WaitReason{WaitNode, WaitPod, WaitSuspended, WaitStart}
	Faults = []WaitReason{FaultDisk, FaultMemory, FaultFFmpeg, FaultStore, FaultOther}
)

// await notes what the conversion waits for, and since when.
func (c *Conversion) await(reason WaitReason, now time.Time) {
	if c.Waiting == nil || c.Waiting.Reason != reason {
		c.Waiting = &Waiting{Reason: reason, Since: stamp(now)}
	}
}

// Await renews the lease of attempt n, which was launched and does not run yet,
// and notes why. An attempt that was claimed waits for nothing, and gets
// ErrStaleAttempt.
func (c *Conversion) Await(n int, reason WaitReason, p Policy, now time.Time) error {
	if c.State != Running || c.Attempt != n || c.Nonce != "" {
		return ErrStaleAttempt
	}
	c.await(reason, now)
	c.renew(p, now)
	return nil
}

// HandBack ends attempt n, whose machine was not well. The attempt does not
// count as a failure nor as a launch. The conversion is queued again after a
// pause, which grows with each attempt in a row that ends like this. A stale
// attempt gets ErrStaleAttempt, one that was recorded before gets ErrUnchanged.
func (c *Conversion) HandBack(n int, fault WaitReason, f Failure, p Policy, now time.Time) error {
	if c.ended(n) {
		return ErrUnchanged
	}
	if c.State != Running || c.Attempt != n {
		return ErrStaleAttempt
	}
	if !slices.Contains(Faults, fault) {
		fault = FaultOther
	}
	c.Faults++
	c.Launches--
	c.Error = &f
	c.enqueue(now, now.Add(p.backoff(c.Faults)))
	c.await(fault, now)
	return nil
}

// GiveUp ends attempt n, which has been silent for longer than its lease though
// its launch was there. The first time does not count, because the machine may
// be the reason; another one does. Errors are those of FailAttempt.
func (c *Conversion) GiveUp(n int, f Failure, p Policy, now time.Time) error {
	outcome := Disrupted
	if c.Silences > 0 {
		outcome = Counted
	}
	if err := c.FailAttempt(n, f, outcome, p, now); err != nil {
		return err
	}
	c.Silences++
	return nil
}

// Relaunch draws another launch id for attempt n, which has begun and was not
// claimed: whoever began it may have died before it launched anything. Of two
// launches only one can count. An attempt that was claimed gets ErrUnchanged.
func (c *Conversion) Relaunch(n int, now time.Time) error {
	switch {
	case c.State != Running || c.Attempt != n:
		return ErrStaleAttempt
	case c.Nonce != "":
		return ErrUnchanged
	}
	c.Launch = newLaunch()
	c.touch(now)
	return nil
}

// Adopt notes that the process that claimed attempt n belongs to this launch.
// An attempt may have been launched twice: then the launch counts whose process
// was first. An empty one is a launch that nobody tells apart.
func (c *Conversion) Adopt(n int, launch string, now time.Time) error {
	if c.State != Running || c.Attempt != n {
		return ErrStaleAttempt
	}
	if launch == "" || c.Launch == launch || c.Carrier != nil {
		return ErrUnchanged
	}
	c.Launch = launch
	c.touch(now)
	return nil
}

// LaunchedAs reports whether the current or last attempt may belong to this
// launch. An empty one may be any.
func (c Conversion) LaunchedAs(launch string) bool {
	return launch == "" || c.Launch == "" || c.Launch == launch
}
