package notifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/mail"
	"tonearm/internal/queue"
	"tonearm/internal/retry"
	"tonearm/internal/service"
)

// Tokens signs the links in the mails.
type Tokens interface {
	// Download returns a token that opens one MP3 without login, and when it
	// expires.
	Download(mp3ID string) (token string, expiresAt time.Time, err error)
	// Unsubscribe returns a token with which whoever reads the mails to this
	// address chooses to get fewer.
	Unsubscribe(userID, email string) (token string, err error)
}

// Options is what a notifier works with. All fields without a default are
// required.
type Options struct {
	Records     conversion.Store
	Mails       account.Mails // owed to accounts; nil for a notifier that leaves them to others
	Queue       queue.Queue
	Sender      mail.Sender
	Tokens      Tokens
	PublicURL   string // of the gateway, for links: "https://tonearm.example.org"
	Domain      string // of Message-IDs; default PublicURL's host
	Concurrency int    // most mails that are sent at once; default DefaultConcurrency
	Log         *slog.Logger
	Registerer  prometheus.Registerer
	Now         func() time.Time // default time.Now
}

// DefaultConcurrency is how many mails are sent at once if Options do not say.
const DefaultConcurrency = 4

func (o Options) withDefaults() Options {
	o.PublicURL = strings.TrimRight(o.PublicURL, "/")
	if public, err := url.Parse(o.PublicURL); err == nil {
		o.Domain = cmp.Or(o.Domain, public.Hostname())
	}
	o.Concurrency = cmp.Or(o.Concurrency, DefaultConcurrency)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (o Options) validate() error {
	if o.Records == nil || o.Queue == nil || o.Sender == nil || o.Tokens == nil || o.Log == nil || o.Registerer == nil {
		return errors.New("records, queue, sender, tokens, log and registerer are required")
	}
	public, err := url.Parse(o.PublicURL)
	if err != nil || public.Host == "" || public.Scheme != "http" && public.Scheme != "https" || public.RawQuery != "" || public.Fragment != "" {
		return fmt.Errorf("the public URL %q must be an http or https address, such as https://tonearm.example.org", o.PublicURL)
	}
	if o.Concurrency < 0 {
		return fmt.Errorf("the number of mails at once is %d; it must not be negative", o.Concurrency)
	}
	return nil
}

// Notifier mails outcomes.
type Notifier struct {
	options Options
	outbox  queue.Outbox
	metrics metrics
	records outage
	queue   outage
	users   outage

	claim   time.Duration // how long a notice is claimed in the record, until that is renewed
	lease   time.Duration // how long its message is leased in the queue, until that is renewed
	unknown time.Duration // pause after a try of which nobody knows whether the mail was taken
	poll    time.Duration // between two looks at the account mails, if nobody wakes the notifier
	drain   time.Duration // longest time for a mail that is being sent when the notifier is stopped
	sending retry.Policy  // pauses after temporary refusals
	storing retry.Policy  // after failures of record store and queue
}

const (
	claimTime      = 30 * time.Second // renewed three times as often while a mail is being sent
	margin         = time.Second      // of the lease beyond the claim: a message that comes again finds the claim ended
	unknownPause   = 10 * time.Minute // by then a mail server has taken the mail for good or dropped it
	drainTime      = 30 * time.Second
	takeWait       = 5 * time.Second
	pollEvery      = 5 * time.Second
	storeTimeout   = 10 * time.Second // for one call to record store or queue
	mostDeliveries = 20
	longestReason  = 500 // bytes

	// newerPause is the pause before a message comes again that only a newer
	// version can handle.
	newerPause = 10 * time.Second
)

// New checks the options; it contacts nobody.
func New(o Options) (*Notifier, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("notifier: %w", err)
	}
	n := &Notifier{
		options: o,
		outbox:  queue.Outbox{Records: o.Records, Queue: o.Queue, Log: o.Log, Now: o.Now},
		metrics: newMetrics(),
		records: outage{neighbour: "records", log: o.Log},
		queue:   outage{neighbour: "queue", log: o.Log},
		users:   outage{neighbour: "users", log: o.Log},
		poll:    pollEvery,

		claim:   claimTime,
		lease:   claimTime + margin,
		unknown: unknownPause,
		drain:   drainTime,
		sending: retry.Policy{Initial: 30 * time.Second, Max: time.Hour},
		storing: retry.Policy{Initial: 200 * time.Millisecond, Max: 5 * time.Second},
	}
	if err := service.Register(o.Registerer, n.metrics.collectors()...); err != nil {
		return nil, fmt.Errorf("notifier: %w", err)
	}
	return n, nil
}

// Run sends mails until ctx ends, then finishes those it began.
func (n *Notifier) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range n.options.Concurrency {
		workers.Go(func() { n.work(ctx) })
	}
	if n.options.Mails != nil {
		workers.Go(func() { n.accountMails(ctx) })
	}
	workers.Wait()
	return nil
}

func (n *Notifier) work(ctx context.Context) {
	take := n.storing
	take.Before = func(err error, _ time.Duration) { n.queue.failed(err) }
	for ctx.Err() == nil {
		_ = retry.Forever(ctx, take, func(ctx context.Context) error {
			d, err := n.options.Queue.Take(ctx, queue.Notice, n.lease, takeWait)
			if err != nil && !errors.Is(err, queue.ErrEmpty) {
				return err
			}
			n.queue.over()
			if err == nil && !n.handle(ctx, d) {
				n.awaitRecords(ctx)
			}
			return nil
		})
	}
}

// awaitRecords waits until the record store, which has just failed, answers.
func (n *Notifier) awaitRecords(ctx context.Context) {
	service.Wait(ctx, n.storing.Pause(1))
	ping := n.storing
	ping.Before = func(err error, _ time.Duration) { n.records.failed(err) }
	_ = retry.Forever(ctx, ping, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		return n.options.Records.Ping(ctx)
	})
}

// handle does what one message asks for. It returns false if the record store
// could not be used. What it has begun outlives ctx.
func (n *Notifier) handle(ctx context.Context, d queue.Delivery) bool {
	if d.Count > mostDeliveries {
		n.options.Log.Warn("a message about a mail was delivered too often and is dropped; the dispatcher publishes it again",
			"conversion_id", d.ConversionID, "attempt", d.Attempt, "deliveries", d.Count)
		n.metrics.outcomes.WithLabelValues(outcomePoison).Inc()
		n.ack(ctx, d)
		return true
	}
	claimed := false
	c, err := n.update(ctx, d.ConversionID, func(c *conversion.Conversion) error {
		err := c.ClaimNotice(d.Attempt, n.claim, n.options.Now())
		claimed = err == nil
		return err
	})
	switch {
	case errors.Is(err, conversion.ErrNotFound):
		n.obsolete(ctx, d)
		return true
	case errors.Is(err, conversion.ErrNewerFormat):
		n.giveBack(ctx, d, newerPause)
		return true
	case err != nil:
		n.giveBack(ctx, d, n.storing.Pause(d.Count))
		return false
	case claimed:
		n.deliver(ctx, d, c)
		return true
	}
	if until := owedAt(c, d.Attempt); !until.IsZero() {
		n.giveBack(ctx, d, max(until.Sub(n.options.Now()), 0)+time.Millisecond)
	} else {
		n.obsolete(ctx, d)
	}
	return true
}

// owedAt is when the notice of an attempt may be claimed next; zero for never.
func owedAt(c conversion.Conversion, attempt int) time.Time {
	switch {
	case c.Notice.Attempt != attempt:
	case c.Notice.State == conversion.NoticeOwed:
		return c.Notice.NotBefore
	case c.Notice.State == conversion.NoticeSending:
		return c.Notice.ClaimedUntil
	}
	return time.Time{}
}

// deliver sends the claimed notice of c and records the result.
func (n *Notifier) deliver(ctx context.Context, d queue.Delivery, c conversion.Conversion) {
	claim := c.Notice
	m, failure := n.render(c, n.options.Now())
	if failure == nil {
		failure = n.send(ctx, m, func(ctx context.Context) {
			_, _ = n.update(ctx, d.ConversionID, func(c *conversion.Conversion) error { // update tells of a failure
				if !c.Notice.OwedSince.Equal(claim.OwedSince) {
					return conversion.ErrUnchanged
				}
				return c.RenewNotice(d.Attempt, claim.Tries, n.claim, n.options.Now())
			})
			n.extend(ctx, d)
		})
	}
	now := n.options.Now()
	err := n.record(ctx, func() { n.extend(ctx, d) }, func(ctx context.Context) (err error) {
		c, err = n.update(ctx, d.ConversionID, func(c *conversion.Conversion) error {
			if !c.Notice.OwedSince.Equal(claim.OwedSince) {
				return conversion.ErrUnchanged // the record has another notice by now
			}
			if failure == nil {
				return c.NoticeDelivered(d.Attempt, now)
			}
			if c.Notice.Tries != claim.Tries {
				return conversion.ErrUnchanged // somebody else is sending it
			}
			return c.NoticeFailed(d.Attempt, reason(failure), !mail.Permanent(failure), n.pause(claim.Tries, failure), now)
		})
		return err
	})
	log := n.options.Log.With("conversion_id", d.ConversionID, "attempt", d.Attempt)
	if err != nil {
		log.Error("could not record what became of a mail; it may be sent again", "sent", failure == nil, "error", err)
		return
	}
	if failure == nil {
		n.metrics.delay.Observe(n.options.Now().Sub(c.FinishedAt).Seconds())
	}
	n.tell(log, c.Notice, failure)
	// If the notice is owed again, its new message has the same id. The queue
	// accepts that only once the old message is gone.
	n.ack(ctx, d)
	n.outbox.Flush(ctx, c)
}

// pause is the time from a failed try to the next one.
func (n *Notifier) pause(tries int, failure error) time.Duration {
	pause := n.sending.Pause(tries)
	if mail.Unknown(failure) {
		pause = max(pause, n.unknown)
	}
	return pause
}

// send sends a mail and keeps its claim meanwhile. When the notifier is stopped,
// it goes on for a while.
func (n *Notifier) send(ctx context.Context, m mail.Message, renew func(context.Context)) error {
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.options.Sender.Timeout())
	defer cancel()
	var renewing sync.WaitGroup
	defer renewing.Wait()
	sent := make(chan struct{})
	defer close(sent)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(n.drain):
			cancel()
		case <-sent:
		}
	})()
	renewing.Go(func() {
		tick := time.NewTicker(n.claim / 3)
		defer tick.Stop()
		for {
			select {
			case <-sent:
				return
			case <-tick.C:
				renew(sending)
			}
		}
	})
	return n.options.Sender.Send(sending, m)
}

// extend keeps the lease of a message.
func (n *Notifier) extend(ctx context.Context, d queue.Delivery) {
	n.onQueue(ctx, func(ctx context.Context) error { return n.options.Queue.Extend(ctx, d, n.lease) })
}

// tell logs and counts the result of a try.
func (n *Notifier) tell(log *slog.Logger, notice conversion.Notice, failure error) {
	log = log.With("tries", notice.Tries)
	outcome := outcomeSent
	switch {
	case failure == nil:
		log.Info("notice sent")
	case notice.State == conversion.NoticeRefused:
		outcome = outcomeRefused
		log.Error("notice given up", "error", reason(failure))
	default:
		outcome = outcomeDelayed
		if mail.Unknown(failure) {
			outcome = outcomeUnknown
		}
		log.Warn("notice not sent; it will be tried again", "not_before", notice.NotBefore, "maybe_sent", mail.Unknown(failure),
			"error", reason(failure))
	}
	n.metrics.outcomes.WithLabelValues(outcome).Inc()
}

// record writes what became of a try. It tries until that succeeds or ctx ends;
// hold is called before each further one, so that nobody else sends the mail
// meanwhile.
func (n *Notifier) record(ctx context.Context, hold func(), write func(context.Context) error) error {
	p := n.storing
	p.Before = func(error, time.Duration) { hold() }
	return retry.Do(ctx, p, func(ctx context.Context) error {
		err := write(ctx)
		if answered(err) {
			return retry.Permanent(err)
		}
		return err
	})
}

// update makes one change to a record; it outlives ctx.
func (n *Notifier) update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	c, err := n.outbox.Write(ctx, id, change)
	if err == nil || answered(err) {
		n.records.over()
	} else {
		n.records.failed(err)
	}
	return c, err
}

// answered reports whether err is a store's answer about a record or an account
// mail. Otherwise the store could not be asked.
func answered(err error) bool {
	return errors.Is(err, conversion.ErrNotFound) || errors.Is(err, conversion.ErrNewerFormat) || errors.Is(err, conversion.ErrUnchanged) ||
		errors.Is(err, account.ErrNotFound)
}

func (n *Notifier) obsolete(ctx context.Context, d queue.Delivery) {
	n.metrics.outcomes.WithLabelValues(outcomeObsolete).Inc()
	n.ack(ctx, d)
}

func (n *Notifier) ack(ctx context.Context, d queue.Delivery) {
	n.onQueue(ctx, func(ctx context.Context) error { return n.options.Queue.Ack(ctx, d) })
}

func (n *Notifier) giveBack(ctx context.Context, d queue.Delivery, after time.Duration) {
	n.onQueue(ctx, func(ctx context.Context) error { return n.options.Queue.Return(ctx, d, after) })
}

// onQueue does one thing with a delivery; it outlives ctx. If it fails, the
// lease ends and the message comes again.
func (n *Notifier) onQueue(ctx context.Context, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := do(ctx); err != nil && !errors.Is(err, queue.ErrLeaseLost) {
		n.queue.failed(err)
	}
}

// reason returns the text of a refusal for the record and the log.
func reason(err error) string {
	s := printable(err.Error())
	return strings.ToValidUTF8(s[:min(len(s), longestReason)], "")
}
