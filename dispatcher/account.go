package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/service"
)

const (
	deletionPage = 100
	// rowAfter is how long the row of a deleted account stays at least. An upload
	// that began before the deletion may still make a conversion meanwhile.
	rowAfter = 24 * time.Hour
)

// deleteAccounts deletes what belongs to accounts whose deletion was asked for,
// page by page, and at last their rows. Then it removes what else the users'
// database need not keep, and pauses.
func (d *Dispatcher) deleteAccounts(ctx context.Context) error {
	for after := ""; ; {
		users, err := d.o.Users.Deleted(ctx, after, deletionPage)
		if err != nil {
			return fmt.Errorf("look for deleted accounts: %w", err)
		}
		for _, u := range users {
			if err := d.deleteAccount(ctx, u); err != nil {
				return err
			}
			after = u.ID
		}
		if len(users) < deletionPage {
			break
		}
	}
	if err := d.o.Users.Tidy(ctx, d.o.Now()); err != nil {
		return err
	}
	service.Wait(ctx, d.o.InboxEvery)
	return nil
}

// deleteAccount deletes the conversions of a deleted account; the agenda removes
// their objects. The row goes once nothing was left a day later.
func (d *Dispatcher) deleteAccount(ctx context.Context, u account.User) error {
	for before := ""; ; {
		page, err := d.o.Records.List(ctx, conversion.Query{OwnerID: u.ID, Before: before, Limit: deletionPage})
		if err != nil {
			return fmt.Errorf("list conversions of deleted account %s: %w", u.ID, err)
		}
		if len(page) == 0 && before == "" {
			break
		}
		for _, c := range page {
			_, _, err := d.update(ctx, c.ID, func(c *conversion.Conversion) error { return c.Delete(d.o.Now()) })
			if err != nil && !errors.Is(err, conversion.ErrNotFound) && !errors.Is(err, conversion.ErrNewerFormat) {
				return fmt.Errorf("delete conversion %s of deleted account: %w", c.ID, err)
			}
			before = c.ID
		}
		if len(page) < deletionPage {
			return nil // what could not be deleted is tried again
		}
	}
	if d.o.Now().Before(u.DeletedAt.Add(rowAfter)) {
		return nil
	}
	if err := d.o.Users.Remove(ctx, u.ID); err != nil {
		return err
	}
	d.o.Log.Info("account removed", "user_id", u.ID)
	return nil
}
