// Package queue is the contract of Tonearm's queue: messages with owners who
// take turns.
//
// A queue is transport. Everything in it follows from the records and may be
// published again at any moment; a queue that loses everything delays work and
// loses none. Delivery is at least once.
package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tonearm/internal/conversion"
)

// Errors of queues.
var (
	// ErrEmpty: nothing became ready while Take waited.
	ErrEmpty = errors.New("queue: empty")
	// ErrLeaseLost: the delivery's lease ran out and the message was delivered
	// to somebody else, acknowledged, or lost with the queue.
	ErrLeaseLost = errors.New("queue: lease lost")
)

// Class separates messages that different takers want.
type Class string

// The classes. Work for a conversion's class travels in the class of the same
// name.
const (
	CPU    = Class(conversion.CPU)
	GPU    = Class(conversion.GPU)
	Notice = Class("notice")
	Stop   = Class("stop")
)

// Classes lists every class.
var Classes = []Class{CPU, GPU, Notice, Stop}

// Message asks for one thing to be done for one attempt of one conversion.
type Message struct {
	Class        Class
	Owner        string // whose turn it uses up
	ConversionID string
	Attempt      int
	Kind         conversion.Kind
	Size         int64     // bytes of the source, a measure of the work
	Since        time.Time // since when it is owed; UTC, whole milliseconds
}

// ID identifies the message: publishing the same twice is publishing it once.
func (m Message) ID() string { return fmt.Sprintf("%s/%d/%s", m.ConversionID, m.Attempt, m.Kind) }

// Delivery is a message taken under a lease.
type Delivery struct {
	Message
	// Count is how often the message was delivered, this time included, since it
	// was published; it also fences a late Ack.
	Count int
}

// Depth counts the messages of a class by what they wait for.
type Depth struct {
	Waiting int64 // for a taker
	Delayed int64 // for their time
	Leased  int64 // taken and neither acknowledged nor returned

	WaitingSize  int64     // sum of Size over the waiting messages
	WaitingSince time.Time // the earliest Since among them; zero where none waits
}

// Queue delivers messages. Within a class the owners with waiting messages take
// turns, and each owner's longest-waiting message is next.
type Queue interface {
	// Publish adds m, to be delivered at notBefore or at once if that is zero or
	// past. A message with the same class and ID that waits or is leased is left
	// alone; one that is delayed comes at the earlier of the two times.
	Publish(ctx context.Context, m Message, notBefore time.Time) error
	// Take leases the next message of class for lease, waiting up to wait for
	// one; ErrEmpty if none came. A waiting Take is woken by Publish, by a delay
	// that ends and by a lease that runs out.
	Take(ctx context.Context, class Class, lease, wait time.Duration) (Delivery, error)
	// Extend makes the lease end after lease from now; ErrLeaseLost if it is not
	// this delivery's any more.
	Extend(ctx context.Context, d Delivery, lease time.Duration) error
	// Ack removes the message; ErrLeaseLost as above.
	Ack(ctx context.Context, d Delivery) error
	// Return gives the message back, to be delivered again after pause, its
	// count kept; ErrLeaseLost as above. A message returned without pause goes
	// before its owner's other messages.
	Return(ctx context.Context, d Delivery, pause time.Duration) error
	// Depth counts the messages of class, in time independent of their number.
	// Size and Since of messages whose delay or lease has just ended may be missing
	// until the next Take.
	Depth(ctx context.Context, class Class) (Depth, error)
	// Generation names the queue's present life; it is drawn anew when the queue
	// was wiped. A caller that sees another than before publishes everything
	// owed again.
	Generation(ctx context.Context) (string, error)
	// Announce wakes the subscribers of a conversion, best effort.
	Announce(ctx context.Context, conversionID string) error
	// Subscribe returns a channel that receives after each Announce of the
	// conversion from now on; announcements that come together may count as
	// one, and some may be lost. The channel is never closed; call cancel.
	Subscribe(ctx context.Context, conversionID string) (changed <-chan struct{}, cancel func(), err error)
	// Ping reports whether the queue can be reached.
	Ping(ctx context.Context) error
	Close() error
}
