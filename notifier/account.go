package notifier

import (
	"context"
	"errors"
	"sync"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/mail"
	"tonearm/internal/queue"
	"tonearm/internal/retry"
	"tonearm/internal/service"
)

// mostDue is how many account mails are read at a time.
const mostDue = 100

// accountMails sends the mails that are owed to accounts until ctx ends. The
// database says which are owed; the queue only wakes the notifier.
func (n *Notifier) accountMails(ctx context.Context) {
	wake := n.subscribe(ctx)
	free := make(chan struct{}, n.options.Concurrency)
	var sending sync.WaitGroup
	defer sending.Wait()
	for ctx.Err() == nil {
		var due []account.Mail
		p := n.storing
		p.Before = func(err error, _ time.Duration) { n.users.failed(err) }
		_ = retry.Forever(ctx, p, func(ctx context.Context) (err error) {
			ctx, cancel := context.WithTimeout(ctx, storeTimeout)
			defer cancel()
			due, err = n.options.Mails.DueMails(ctx, n.options.Now(), mostDue)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		n.users.over()
		for _, m := range due {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return
			}
			sending.Go(func() {
				defer func() { <-free }()
				n.accountMail(ctx, m.ID)
			})
		}
		if len(due) < mostDue {
			select {
			case <-wake:
			case <-time.After(n.poll):
			case <-ctx.Done():
			}
		}
	}
}

// subscribe returns a channel that receives when a mail is owed. It reconnects
// by itself; until it has, there is the poll.
func (n *Notifier) subscribe(ctx context.Context) <-chan struct{} {
	wake := make(chan struct{}, 1)
	go func() {
		for ctx.Err() == nil {
			changed, cancel, err := n.options.Queue.Subscribe(ctx, queue.TopicMails)
			if err != nil {
				service.Wait(ctx, n.poll)
				continue
			}
			defer cancel()
			for {
				select {
				case <-changed:
					select {
					case wake <- struct{}{}:
					default:
					}
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return wake
}

// accountMail claims one mail, sends it and records the result, as deliver does
// for an outcome.
func (n *Notifier) accountMail(ctx context.Context, id string) {
	m, err := n.updateMail(ctx, id, func(m *account.Mail) error {
		if !m.Notice.Claim(n.claim, n.options.Now()) {
			return conversion.ErrUnchanged // somebody else has it
		}
		return nil
	})
	if err != nil {
		return
	}
	tries := m.Notice.Tries
	renew := func(ctx context.Context) {
		_, _ = n.updateMail(ctx, id, func(m *account.Mail) error { // updateMail tells of a failure
			if !m.Notice.Renew(tries, n.claim, n.options.Now()) {
				return conversion.ErrUnchanged
			}
			return nil
		})
	}
	text, failure := n.renderAccount(m, n.options.Now())
	if failure == nil {
		failure = n.send(ctx, text, renew)
	}
	now := n.options.Now()
	err = n.record(ctx, func() {}, func(ctx context.Context) error {
		got, err := n.updateMail(ctx, id, func(m *account.Mail) error {
			changed := false
			switch {
			case failure == nil:
				changed = m.Notice.Delivered(now)
			case m.Notice.Tries == tries:
				changed = m.Notice.Failed(reason(failure), !mail.Permanent(failure), n.pause(tries, failure), now)
			}
			if !changed {
				return conversion.ErrUnchanged
			}
			return nil
		})
		if errors.Is(err, conversion.ErrUnchanged) {
			err = nil
		}
		m.Notice = got.Notice
		return err
	})
	log := n.options.Log.With("account_mail", id, "kind", m.Kind)
	if err != nil {
		log.Error("could not record what became of a mail; it may be sent again", "sent", failure == nil, "error", err)
		return
	}
	n.tell(log, m.Notice, failure)
}

// updateMail makes one change to a mail; it outlives ctx.
func (n *Notifier) updateMail(ctx context.Context, id string, change func(*account.Mail) error) (account.Mail, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	m, err := n.options.Mails.UpdateMail(ctx, id, change)
	if err == nil || answered(err) || errors.Is(err, conversion.ErrUnchanged) {
		n.users.over()
	} else {
		n.users.failed(err)
	}
	return m, err
}
