package redisqueue

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// hub shares one pub/sub connection among all subscribers. Each message on the
// channel names a topic. The connection is made when the first subscriber
// comes, and made again when it breaks. Each time everybody is woken, since a
// message may have been missed.
type hub struct {
	client    redis.UniversalClient
	channel   string
	listening sync.WaitGroup

	mu     sync.Mutex
	stop   context.CancelFunc // of listen; nil before the first subscriber
	closed bool
	topics map[string]map[chan struct{}]struct{}
}

func newHub(client redis.UniversalClient, channel string) *hub {
	return &hub{client: client, channel: channel, topics: map[string]map[chan struct{}]struct{}{}}
}

// subscribe returns a channel that receives after each message of topic;
// messages that come together count as one. A closed hub wakes nobody.
func (h *hub) subscribe(topic string) (<-chan struct{}, func()) {
	woken := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.topics[topic] == nil {
		h.topics[topic] = map[chan struct{}]struct{}{}
	}
	h.topics[topic][woken] = struct{}{}
	if h.stop == nil && !h.closed {
		// The first subscriber may leave before the others, so its context is
		// not used.
		var ctx context.Context
		ctx, h.stop = context.WithCancel(context.Background())
		h.listening.Go(func() { h.listen(ctx) })
	}
	return woken, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.topics[topic], woken)
		if len(h.topics[topic]) == 0 {
			delete(h.topics, topic)
		}
	}
}

func (h *hub) listen(ctx context.Context) {
	subscription := h.client.Subscribe(ctx, h.channel)
	defer func() { _ = subscription.Close() }()
	events := subscription.ChannelWithSubscriptions() // pings, and connects again
	for {
		select {
		case <-ctx.Done():
			return
		case event, ok := <-events:
			if !ok {
				return // somebody closed the client
			}
			switch event := event.(type) {
			case *redis.Subscription:
				h.wakeAll()
			case *redis.Message:
				h.wake(event.Payload)
			}
		}
	}
}

func (h *hub) wake(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	signal(h.topics[topic])
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, waiting := range h.topics {
		signal(waiting)
	}
}

func signal(waiting map[chan struct{}]struct{}) {
	for woken := range waiting {
		select {
		case woken <- struct{}{}:
		default: // the subscriber has not looked since the last time
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	if h.stop != nil {
		h.stop()
	}
	h.mu.Unlock()
	h.listening.Wait()
}
