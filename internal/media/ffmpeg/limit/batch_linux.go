package limit

import "golang.org/x/sys/unix"

// batch tells the kernel that what this thread runs computes and does not wait
// for people. ffmpeg passes each frame from thread to thread; otherwise the
// kernel would go over to the next one for each.
func batch() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
		attr.Policy = unix.SCHED_BATCH
		_ = unix.SchedSetAttr(0, attr, 0) // not allowed everywhere, and only a matter of speed
	}
}
