// Package queue is the contract of Tonearm's queue: messages with owners who
// take turns.
//
// A queue is transport. Everything in it follows from the records and may be
// published again at any moment. If a queue loses everything, work is delayed
// but not lost. Delivery is at least once.
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

// The classes. A message of kind work has the class of its conversion.
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
	Owner        string // whose turn it takes
	ConversionID string
	Attempt      int
	Kind         conversion.Kind
	Size         int64     // bytes of the source, a measure of the work
	Since        time.Time // since when it is owed; UTC, whole milliseconds
}

// ID identifies the message: publishing it twice is the same as publishing it
// once.
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

// Topics of Announce and Subscribe beside the ids of conversions.
const (
	// TopicNotified: a notification of the object store has come.
	TopicNotified = "store-notified"
	// TopicCompleted: a client said that an upload is complete, before any
	// notification did.
	TopicCompleted = "upload-completed"
	// TopicMails: an account mail is owed.
	TopicMails = "account-mails"
)

// Queue delivers messages. Within a class the owners with waiting messages take
// turns, and each owner's longest-waiting message is next.
type Queue interface {
	// Publish adds m, to be delivered at notBefore or at once if that is zero or
	// past. A message with the same class and ID that waits or is leased is left
	// alone; one that is delayed comes at the earlier of the two times. One that
	// has lost its place in the queue gets a new one.
	Publish(ctx context.Context, m Message, notBefore time.Time) error
	// Take leases the next message of class for lease, waiting up to wait for
	// one; ErrEmpty if none came. A waiting Take is woken by Publish, by a delay
	// that ends and by a lease that runs out. If the answer of the queue is lost,
	// the message comes again within seconds, however long lease is.
	//
	// Owners in last have no turn while anybody else has a message waiting. They keep
	// their places.
	Take(ctx context.Context, class Class, lease, wait time.Duration, last ...string) (Delivery, error)
	// TakeOther is Take for a message of any owner but this one; ErrEmpty at once
	// where there is none.
	TakeOther(ctx context.Context, class Class, owner string, lease time.Duration) (Delivery, error)
	// TakeNext leases owner's next message of class for lease, for a taker that
	// has just finished another message of this owner. It takes the message
	// only if no other owner has one waiting in class, and if it asks for a
	// first attempt at a source of at most size bytes. Else it returns ErrEmpty
	// at once, and the message keeps its place.
	TakeNext(ctx context.Context, class Class, owner string, size int64, lease time.Duration) (Delivery, error)
	// Extend makes the lease last for lease from now on; ErrLeaseLost if it is
	// no longer this delivery's.
	Extend(ctx context.Context, d Delivery, lease time.Duration) error
	// Ack removes the message; ErrLeaseLost as above.
	Ack(ctx context.Context, d Delivery) error
	// Return gives the message back, to be delivered again after pause; its
	// count is kept. ErrLeaseLost as above. A message returned without pause
	// goes before its owner's other messages.
	Return(ctx context.Context, d Delivery, pause time.Duration) error
	// Depth counts the messages of class, in a time that does not grow with
	// their number. Size and Since may not yet include messages whose delay or
	// lease has just ended, until the next Take.
	Depth(ctx context.Context, class Class) (Depth, error)
	// Generation names the queue's present life. A queue gets a new name if it
	// was wiped, if it has lost a part, or if it lacks the last changes, as after
	// a failover. A caller that sees another name than before publishes again all that is
	// owed.
	Generation(ctx context.Context) (string, error)
	// Announce wakes the subscribers of a conversion, best effort.
	Announce(ctx context.Context, conversionID string) error
	// Subscribe returns a channel that receives after each Announce of the
	// conversion from now on. Announcements that come together may count as
	// one, and some may be lost. The channel is never closed; call cancel.
	Subscribe(ctx context.Context, conversionID string) (changed <-chan struct{}, cancel func(), err error)
	// Ping reports whether the queue can be reached.
	Ping(ctx context.Context) error
	Close() error
}
