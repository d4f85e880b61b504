package dispatcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"tonearm/internal/queue"
)

// foundBy is how the end of an upload became known. It is a label of
// tonearm_uploads_found_total, so its values stay. Gateways count those of which
// their clients told them.
type foundBy string

const (
	byNotification foundBy = "notification"
	bySweep        foundBy = "sweep" // a look at the store: by the agenda, the listing of the inbox, or the scan
)

const (
	silence     = 2 * time.Minute // without a notification while uploads are found in other ways
	silenceOver = time.Hour       // without any upload, after which the silence says nothing
)

// signals watches whether the store's notifications come. Notifications may
// reach any replica, and clients call any gateway, so all of them tell each
// other through the queue.
type signals struct {
	mu       sync.Mutex
	notified time.Time // when the last notification came to any replica
	without  time.Time // since when uploads are found without one; zero while they come
	found    time.Time // when the last of these was found
}

// heard notes a notification that came to any replica.
func (s *signals) heard(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notified, s.without = now, time.Time{}
}

// missed notes an upload that was found without a notification.
func (s *signals) missed(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.notified) < silence {
		return
	}
	if s.without.IsZero() || now.Sub(s.found) > silenceOver {
		s.without = now
	}
	s.found = now
}

func (s *signals) silent(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.without.IsZero() && now.Sub(s.without) >= silence && now.Sub(s.found) <= silenceOver
}

// Notifications returns an error while uploads are found only because clients
// say so or because the store was asked, and no notification has come for two
// minutes.
func (d *Dispatcher) Notifications(context.Context) error {
	if d.signals.silent(d.o.Now()) {
		return errors.New("no notification of the object store has come for two minutes, though uploads have; they start late")
	}
	return nil
}

// notificationCame notes that the store's notifications come, and tells the other
// replicas.
func (d *Dispatcher) notificationCame(ctx context.Context) {
	d.signals.heard(d.o.Now())
	if err := d.coming.Announce(ctx, d.o.Now()); err != nil {
		d.outage.Warn("could not tell the other dispatchers that notifications come", "error", err)
	}
}

// foundUpload counts an upload, which was stored at the given time. Nobody could
// be notified of one from before this process ran.
func (d *Dispatcher) foundUpload(by foundBy, stored time.Time) {
	d.metrics.found.WithLabelValues(string(by)).Inc()
	if by == bySweep {
		d.metrics.event(eventFoundBySweep)
		if !stored.Before(d.started.Truncate(time.Second)) && d.o.Now().Sub(stored) < silenceOver {
			d.signals.missed(d.o.Now())
		}
	}
}

// hear listens to what other processes tell of notifications and of uploads that
// gateways learned of from their clients.
func (d *Dispatcher) hear(ctx context.Context) error {
	notified, cancel, err := d.o.Queue.Subscribe(ctx, queue.TopicNotified)
	if err != nil {
		return err
	}
	defer cancel()
	completed, cancelCompleted, err := d.o.Queue.Subscribe(ctx, queue.TopicCompleted)
	if err != nil {
		return err
	}
	defer cancelCompleted()
	for {
		select {
		case <-notified:
			d.signals.heard(d.o.Now())
		case <-completed:
			d.signals.missed(d.o.Now())
		case <-ctx.Done():
			return nil
		}
	}
}
