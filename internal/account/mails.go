package account

import (
	"context"
	"time"
)

// Mails is the part of a store with the account mails that are owed. A notifier
// may read and claim these and nothing else.
type Mails interface {
	// Mail returns one mail; ErrNotFound.
	Mail(ctx context.Context, id string) (Mail, error)
	// UpdateMail changes the Notice of a mail in one step. If change returns an
	// error, nothing is written and UpdateMail returns the mail as it is with
	// that error. ErrNotFound.
	UpdateMail(ctx context.Context, id string, change func(*Mail) error) (Mail, error)
	// DueMails returns some mails that may be claimed by now, the oldest first.
	DueMails(ctx context.Context, now time.Time, limit int) ([]Mail, error)
	Ping(ctx context.Context) error
}
