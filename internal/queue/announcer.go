package queue

import (
	"context"
	"sync"
	"time"
)

// announcePause is the least time between two announcements of one Announcer.
const announcePause = 10 * time.Second

// Announcer announces a topic on which something happens all the time, so often
// that subscribers know that it does, and no oftener.
type Announcer struct {
	Queue Queue
	Topic string

	mu   sync.Mutex
	last time.Time
}

// Announce announces the topic at the time now, unless it did so less than 10 s
// ago.
func (a *Announcer) Announce(ctx context.Context, now time.Time) error {
	a.mu.Lock()
	early := now.Sub(a.last) < announcePause
	if !early {
		a.last = now
	}
	a.mu.Unlock()
	if early {
		return nil
	}
	return a.Queue.Announce(ctx, a.Topic)
}
