package conversion

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
)

// lastID is the time in the last id of this process, in 1/4096 ms since 1970.
var lastID atomic.Int64

// NewID draws an id for a conversion: a UUID version 7 (RFC 9562), valid in
// Kubernetes names and object keys. Ids sort by creation: those of one process
// strictly, those of several by their clocks.
func NewID() string {
	now := time.Now()
	tick := now.UnixMilli()<<12 | int64(now.Nanosecond()%1e6)<<12/1e6
	for last := lastID.Load(); ; last = lastID.Load() {
		tick = max(tick, last+1)
		if lastID.CompareAndSwap(last, tick) {
			break
		}
	}
	id := randomID()
	binary.BigEndian.PutUint64(id[:8], uint64(tick>>12)<<16|uint64(tick&0xfff))
	return format(id, 7)
}

// newMP3ID draws a random id, a UUID version 4, which gives nothing away.
func newMP3ID() string { return format(randomID(), 4) }

// newLaunch draws an id for a launch.
func newLaunch() string { return rand.Text() }

func randomID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// format sets version and variant, and writes the UUID in its usual form.
func format(id [16]byte, version byte) string {
	id[6] = id[6]&0x0f | version<<4
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
