// Package redisqueue is the queue on Redis 7 or later, alone or as a cluster.
//
// The keys of a class stand in common.lua and share one slot of a cluster. Each
// operation is one short script, which takes the time from Redis, so the clocks
// of takers do not matter. Nothing scans: the work of a call does not grow with
// the number of waiting messages.
//
// Redis must not evict keys (maxmemory-policy noeviction). It may lose all of
// them at any moment, or one, or go back to an earlier state: each class has a
// life with a name and a count of writes, and a new life begins where a part is
// missing or the count is lower than a caller has seen. A full Redis refuses new
// messages only.
package redisqueue

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// firstLease is the lease of a delivery until its receipt, when it becomes what
// the taker asked for.
const firstLease = 5 * time.Second

// DefaultPrefix begins the name of every key if no other prefix is given.
const DefaultPrefix = "tonearm"

var (
	//go:embed common.lua
	commonLua string
	//go:embed publish.lua
	publishLua string
	//go:embed deliver.lua
	deliverLua string
	//go:embed take.lua
	takeLua string
	//go:embed takenext.lua
	takeNextLua string
	//go:embed extend.lua
	extendLua string
	//go:embed ack.lua
	ackLua string
	//go:embed return.lua
	returnLua string
	//go:embed depth.lua
	depthLua string
	//go:embed life.lua
	lifeLua string

	publishScript  = redis.NewScript(commonLua + publishLua)
	takeScript     = redis.NewScript(commonLua + deliverLua + takeLua)
	takeNextScript = redis.NewScript(commonLua + deliverLua + takeNextLua)
	extendScript   = redis.NewScript(commonLua + extendLua)
	ackScript      = redis.NewScript(commonLua + ackLua)
	returnScript   = redis.NewScript(commonLua + returnLua)
	depthScript    = redis.NewScript(commonLua + depthLua)
	lifeScript     = redis.NewScript(commonLua + lifeLua)
)

// Queue is a queue.Queue on Redis, for use by any number of goroutines. One
// connection listens for all that wait.
type Queue struct {
	client  redis.UniversalClient
	close   func() error // of client; nil if the client belongs to somebody else
	prefix  string
	channel string // pub/sub: announcements and wake-ups
	hub     *hub
	lives   lives
	now     func() time.Time
}

var _ queue.Queue = (*Queue)(nil)

// New returns the queue on a client. Close does not close that client.
func New(client redis.UniversalClient, prefix string) *Queue {
	prefix = cmp.Or(prefix, DefaultPrefix)
	channel := prefix + ":events"
	return &Queue{client: client, prefix: prefix, channel: channel, hub: newHub(client, channel), now: time.Now}
}

// UseClock makes now the clock by which Publish's notBefore is meant; time.Now
// otherwise. Call it before anything else. Redis is told pauses only, so its own
// clock does not matter.
func (q *Queue) UseClock(now func() time.Time) { q.now = now }

// Client is the client of the queue, for what else is kept in the same Redis.
func (q *Queue) Client() redis.UniversalClient { return q.client }

// Close ends the listening connection and waits for it.
func (q *Queue) Close() error {
	q.hub.close()
	if q.close == nil {
		return nil
	}
	return q.close()
}

// body is a message as it is stored. The class is in the key.
type body struct {
	Owner        string          `json:"owner"`
	ConversionID string          `json:"conversion_id"`
	Attempt      int             `json:"attempt"`
	Kind         conversion.Kind `json:"kind"`
	Size         int64           `json:"size"`
	Since        int64           `json:"since"` // ms since 1970
}

// Publish implements queue.Queue.
func (q *Queue) Publish(ctx context.Context, m queue.Message, notBefore time.Time) error {
	b, err := json.Marshal(body{m.Owner, m.ConversionID, m.Attempt, m.Kind, m.Size, milliseconds(m.Since)})
	if err != nil {
		return fmt.Errorf("publish %s: %w", m.ID(), err)
	}
	pause := max(0, notBefore.Sub(q.now())+time.Millisecond-1) // round up, so that it never comes too early
	if _, err := q.run(ctx, publishScript, m.Class, m.ID(), b, pause.Milliseconds()); err != nil {
		return fmt.Errorf("publish %s: %w", m.ID(), err)
	}
	return nil
}

// Take implements queue.Queue.
func (q *Queue) Take(ctx context.Context, class queue.Class, lease, wait time.Duration, last ...string) (queue.Delivery, error) {
	d, err := q.take(ctx, class, min(lease, firstLease), wait, last)
	return q.took(ctx, class, d, err, lease)
}

// TakeOther implements queue.Queue.
func (q *Queue) TakeOther(ctx context.Context, class queue.Class, owner string, lease time.Duration) (queue.Delivery, error) {
	d, _, err := q.look(ctx, class, min(lease, firstLease), 1, []string{owner})
	return q.took(ctx, class, d, err, lease)
}

// took is the end of a take.
func (q *Queue) took(ctx context.Context, class queue.Class, d queue.Delivery, err error, lease time.Duration) (queue.Delivery, error) {
	if err == nil {
		err = q.received(ctx, d, lease)
	}
	if err != nil && !errors.Is(err, queue.ErrEmpty) {
		return queue.Delivery{}, fmt.Errorf("take %s: %w", class, err)
	}
	return d, err
}

func (q *Queue) take(ctx context.Context, class queue.Class, lease, wait time.Duration, last []string) (queue.Delivery, error) {
	deadline := time.Now().Add(wait)
	var woken <-chan struct{}
	for {
		d, pause, err := q.look(ctx, class, lease, 0, last)
		if !errors.Is(err, queue.ErrEmpty) {
			return d, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return d, err
		}
		if woken == nil {
			var cancel func()
			woken, cancel = q.hub.subscribe(classTopic(class))
			defer cancel()
			continue // nobody was woken for what was published before
		}
		timer := time.NewTimer(min(pause, left))
		select {
		case <-woken:
		case <-timer.C:
		case <-ctx.Done():
			return d, ctx.Err()
		}
		timer.Stop()
	}
}

// look takes a message if one is ready; else it returns ErrEmpty and when to
// look again.
func (q *Queue) look(ctx context.Context, class queue.Class, lease time.Duration, others int, owners []string) (queue.Delivery, time.Duration, error) {
	var none queue.Delivery
	args := []any{lease.Milliseconds(), others}
	for _, owner := range owners {
		args = append(args, owner)
	}
	got, err := q.run(ctx, takeScript, class, args...)
	if err != nil {
		return none, 0, err
	}
	switch got := got.(type) {
	case int64:
		return none, time.Duration(got) * time.Millisecond, queue.ErrEmpty
	case []any:
		d, err := delivery(class, got)
		return d, 0, err
	}
	return none, 0, fmt.Errorf("unexpected answer %v", got)
}

// received makes the first lease of a delivery as long as it is to be. The
// first one is short because the answer that brings the delivery may be lost:
// then nobody works on the message, and it is to come again soon.
func (q *Queue) received(ctx context.Context, d queue.Delivery, lease time.Duration) error {
	if lease <= firstLease {
		return nil
	}
	err := q.Extend(ctx, d, lease)
	if errors.Is(err, queue.ErrLeaseLost) { // the answer came too late
		return queue.ErrEmpty
	}
	return err
}

// TakeNext implements queue.Queue.
func (q *Queue) TakeNext(ctx context.Context, class queue.Class, owner string, size int64, lease time.Duration) (queue.Delivery, error) {
	got, err := q.run(ctx, takeNextScript, class, min(lease, firstLease).Milliseconds(), owner, size)
	if err == nil && got == nil {
		return queue.Delivery{}, queue.ErrEmpty
	}
	var d queue.Delivery
	if err == nil {
		taken, _ := got.([]any)
		d, err = delivery(class, taken)
	}
	if err == nil {
		err = q.received(ctx, d, lease)
	}
	if errors.Is(err, queue.ErrEmpty) {
		return queue.Delivery{}, queue.ErrEmpty
	}
	if err != nil {
		return queue.Delivery{}, fmt.Errorf("take next of %s: %w", class, err)
	}
	return d, nil
}

// delivery reads the answer of a script that took a message.
func delivery(class queue.Class, got []any) (queue.Delivery, error) {
	if len(got) != 2 {
		return queue.Delivery{}, fmt.Errorf("unexpected answer %v", got)
	}
	kept, _ := got[0].(string)
	count, _ := got[1].(int64)
	var b body
	if err := json.Unmarshal([]byte(kept), &b); err != nil {
		return queue.Delivery{}, fmt.Errorf("message %q: %w", kept, err)
	}
	m := queue.Message{Class: class, Owner: b.Owner, ConversionID: b.ConversionID, Attempt: b.Attempt, Kind: b.Kind,
		Size: b.Size, Since: instant(b.Since)}
	return queue.Delivery{Message: m, Count: int(count)}, nil
}

// Extend implements queue.Queue.
func (q *Queue) Extend(ctx context.Context, d queue.Delivery, lease time.Duration) error {
	return q.onLease(ctx, "extend", extendScript, d, lease.Milliseconds())
}

// Ack implements queue.Queue.
func (q *Queue) Ack(ctx context.Context, d queue.Delivery) error {
	return q.onLease(ctx, "acknowledge", ackScript, d)
}

// Return implements queue.Queue.
func (q *Queue) Return(ctx context.Context, d queue.Delivery, pause time.Duration) error {
	return q.onLease(ctx, "return", returnScript, d, pause.Milliseconds())
}

func (q *Queue) onLease(ctx context.Context, op string, script *redis.Script, d queue.Delivery, args ...any) error {
	held, err := q.run(ctx, script, d.Class, append([]any{d.ID(), d.Count}, args...)...)
	if err == nil && held != int64(1) {
		err = queue.ErrLeaseLost
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, d.ID(), err)
	}
	return nil
}

// Depth implements queue.Queue.
func (q *Queue) Depth(ctx context.Context, class queue.Class) (queue.Depth, error) {
	n, err := depthScript.Run(ctx, q.client, q.keys(class)).Int64Slice()
	if err == nil && len(n) != 5 {
		err = fmt.Errorf("unexpected answer %v", n)
	}
	if err != nil {
		return queue.Depth{}, fmt.Errorf("depth of %s: %w", class, err)
	}
	return queue.Depth{Waiting: n[0], Delayed: n[1], Leased: n[2], WaitingSize: n[3], WaitingSince: instant(n[4])}, nil
}

// Generation implements queue.Queue: the names of the lives of all classes.
func (q *Queue) Generation(ctx context.Context) (string, error) {
	names := make([]string, len(queue.Classes))
	for i, class := range queue.Classes {
		if _, err := q.run(ctx, lifeScript, class); err != nil {
			return "", fmt.Errorf("generation of queue: %w", err)
		}
		names[i] = q.lives.known(class).name
	}
	return strings.Join(names, "."), nil
}

// Announce implements queue.Queue.
func (q *Queue) Announce(ctx context.Context, conversionID string) error {
	if err := q.client.Publish(ctx, q.channel, conversionTopic(conversionID)).Err(); err != nil {
		return fmt.Errorf("announce %s: %w", conversionID, err)
	}
	return nil
}

// Subscribe implements queue.Queue. It does not wait for Redis and never fails:
// whenever the listening connection is made, the first time too, everybody is
// woken.
func (q *Queue) Subscribe(_ context.Context, conversionID string) (<-chan struct{}, func(), error) {
	changed, cancel := q.hub.subscribe(conversionTopic(conversionID))
	return changed, cancel, nil
}

// Ping implements queue.Queue.
func (q *Queue) Ping(ctx context.Context) error {
	if err := q.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping redis: %w", err)
	}
	return nil
}

// run runs one of the scripts that end by answer of common.lua, and returns its
// result; nil for none.
func (q *Queue) run(ctx context.Context, script *redis.Script, class queue.Class, args ...any) (any, error) {
	known := q.lives.known(class)
	got, err := script.Run(ctx, q.client, q.keys(class),
		append([]any{q.channel, classTopic(class), known.name, known.writes, rand.Text()}, args...)...).Slice()
	if err != nil {
		return nil, err
	}
	var now life
	if len(got) > 1 {
		now.name, _ = got[0].(string)
		now.writes, _ = got[1].(int64)
	}
	if now.name == "" {
		return nil, fmt.Errorf("unexpected answer %v", got)
	}
	q.lives.saw(class, known, now)
	if len(got) < 3 {
		return nil, nil
	}
	return got[2], nil
}

// keys are those that common.lua names.
func (q *Queue) keys(class queue.Class) []string {
	key := q.prefix + ":{" + string(class) + "}:"
	return []string{
		key + "messages", key + "deliveries", key + "leases", key + "delays", key + "ring", key + "line:",
		key + "waiting", key + "size", key + "life",
	}
}

// milliseconds since 1970; 0 for the zero time.
func milliseconds(t time.Time) int64 { return max(0, t.UnixMilli()) }

func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func classTopic(c queue.Class) string  { return "class/" + string(c) }
func conversionTopic(id string) string { return "conversion/" + id }
