package dispatcher_test

import (
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// Uploads are counted by how they were found, and if no notification comes while
// there are uploads, readiness and a metric say so.
func TestSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	found := func(by string) float64 { return w.metric("tonearm_uploads_found_total", "by="+by) }
	silent := func(want bool) {
		t.Helper()
		if err := w.serving.Load().Notifications(t.Context()); (err != nil) != want || w.metric("tonearm_notifications_silent") != map[bool]float64{true: 1}[want] {
			t.Errorf("silent: %v and %v, want %v", err, w.metric("tonearm_notifications_silent"), want)
		}
	}
	lost := func() {
		t.Helper()
		before := found("sweep")
		c := w.create("owner", int64(len(source)))
		w.put(c.Object.Key, source)
		w.clock.advance(31 * time.Second)
		w.become(c.ID, conversion.Done)
		if got := found("sweep"); got != before+1 {
			t.Errorf("%v found by a sweep, want %v", got, before+1)
		}
	}
	w.become(w.uploaded("owner").ID, conversion.Done)
	if found("notification") != 1 || found("sweep") != 0 {
		t.Errorf("found: %v by notification, %v by sweep", found("notification"), found("sweep"))
	}
	lost() // one notification may be lost
	w.clock.advance(3 * time.Minute)
	silent(false)
	lost()
	silent(false)
	w.clock.advance(3 * time.Minute)
	silent(true)
	if n := w.metric("tonearm_events_total", "outcome=found_by_sweep"); n != 2 {
		t.Errorf("%v events found by a sweep", n)
	}
	w.tell(w.uploaded("owner").Object.Key)
	silent(false)

	// What clients say and what other replicas hear counts too.
	w.clock.advance(3 * time.Minute)
	announce := func(topic string) {
		t.Helper()
		w.must(w.queue.Announce(t.Context(), topic))
	}
	w.until("a gateway's word is heard", func() bool {
		announce(queue.TopicCompleted)
		w.clock.advance(time.Minute)
		return w.serving.Load().Notifications(t.Context()) != nil
	})
	w.until("another dispatcher's word is heard", func() bool {
		announce(queue.TopicNotified)
		return w.serving.Load().Notifications(t.Context()) == nil
	})
}
