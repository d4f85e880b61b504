package dispatcher_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"tonearm/dispatcher"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// A launch that goes on takes no file ahead of its time: as long as files wait,
// every place is used, whichever file ends first.
func TestCarriedFillsEveryPlace(t *testing.T) {
	t.Parallel()
	const files, places = 9, 2
	w := newWorld(t, goingOn(20), func(o *dispatcher.Options) { o.MaxJobs[conversion.CPU] = places })
	var begun atomic.Int32
	end := make(chan struct{})
	held := func(a *agent, as attempt.Assignment) launch.End {
		begun.Add(1)
		select {
		case <-end:
		case <-a.ctx.Done():
		}
		return a.deliver(as)
	}
	w.launcher.set(func(l *launcher) {
		l.carried = held
		l.script = func(a *agent) launch.End {
			as, err := a.Claim(a.ctx, a.nonce)
			if err != nil {
				return a.ended(err)
			}
			return held(a, as)
		}
	})
	var ids []string
	add := func() { ids = append(ids, w.uploaded("owner").ID) }
	add()
	w.run()
	w.until("the first file runs", func() bool { return begun.Load() == 1 })
	add()
	w.until("the second file does not wait for the first", func() bool { return begun.Load() == places })
	for range files - places {
		add()
	}
	for ended := range files - places {
		end <- struct{}{}
		w.until(fmt.Sprint("all places are used after the end of ", ended+1), func() bool { return begun.Load() == int32(ended)+1+places })
	}
	close(end)
	for _, id := range ids {
		w.become(id, conversion.Done)
	}
	for i, id := range ids {
		w.wantStarts(id, map[bool]int{true: 1}[i < places])
	}
}
