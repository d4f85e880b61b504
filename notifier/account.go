package notifier

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/mail"
	"tonearm/internal/queue"
	"tonearm/internal/retry"
)

// mostDue is how many account mails are read at a time.
const mostDue = 100

// accountMails sends the mails that are owed to accounts until ctx ends. The
// database says which are owed; the queue only wakes the notifier.
func (n *Notifier) accountMails(ctx context.Context) {
	var s sending
	defer s.Wait()
	s.free = make(chan struct{}, n.options.Concurrency)
	var wake <-chan struct{} // nil until Subscribe works; until then there is the poll
	for ctx.Err() == nil {
		if wake == nil {
			changed, cancel, err := n.options.Queue.Subscribe(ctx, queue.TopicMails)
			if err == nil {
				defer cancel()
				wake = changed
			}
		}
		if n.sendDue(ctx, &s) {
			continue
		}
		select {
		case <-wake:
		case <-time.After(n.poll):
		case <-ctx.Done():
		}
	}
}

// sending is the account mails that are being sent.
type sending struct {
	sync.WaitGroup
	free   chan struct{} // holds one for each
	failed atomic.Bool   // the users' store could not be written
}

// sendDue begins to send the mails that are due. It reports whether there may be
// more of them at once.
func (n *Notifier) sendDue(ctx context.Context, s *sending) (more bool) {
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
		return false
	}
	if len(due) == 0 {
		n.users.over() // else the first mail shows whether the store can be written, too
	}
	s.failed.Store(false)
	for _, m := range due {
		select {
		case s.free <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		s.Go(func() {
			defer func() { <-s.free }()
			if !n.accountMail(ctx, m.ID) {
				s.failed.Store(true)
			}
		})
	}
	return len(due) == mostDue && !s.failed.Load()
}

// accountMail claims one mail, sends it and records the result, as deliver does
// for an outcome. It returns false if the users' store could not be used.
func (n *Notifier) accountMail(ctx context.Context, id string) bool {
	m, err := n.updateMail(ctx, id, func(m *account.Mail) error {
		if !m.Notice.Claim(n.claim, n.options.Now()) {
			return conversion.ErrUnchanged // somebody else has it
		}
		return nil
	})
	if err != nil {
		return answered(err)
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
		m.Notice = got.Notice
		if errors.Is(err, conversion.ErrUnchanged) {
			return nil // somebody else has sent it
		}
		return err
	})
	log := n.options.Log.With("account_mail", id, "kind", m.Kind)
	if err != nil {
		log.Error("could not record what became of a mail; it may be sent again", "sent", failure == nil, "error", err)
		return false
	}
	n.tell(log, m.Notice, failure)
	return true
}

// updateMail makes one change to a mail; it outlives ctx.
func (n *Notifier) updateMail(ctx context.Context, id string, change func(*account.Mail) error) (account.Mail, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	m, err := n.options.Mails.UpdateMail(ctx, id, change)
	if err == nil || answered(err) {
		n.users.over()
	} else {
		n.users.failed(err)
	}
	return m, err
}
