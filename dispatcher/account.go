package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/service"
)

const (
	accountPage = 100
	// rowAfter is how long the row of a deleted account stays at least. An upload
	// that began before the deletion may still make a conversion meanwhile.
	rowAfter = 24 * time.Hour
	// followEvery is the pause between two looks for changed accounts.
	followEvery = 5 * time.Second
	// settled is when no request is under way that knows an account only as it
	// was before a change: a record is made when its upload begins.
	settled = 10 * time.Minute
)

// deleteAccounts deletes what belongs to accounts whose deletion was asked for,
// page by page, and at last their rows. Then it removes what else the users'
// database need not keep, and pauses. An account that cannot be deleted is tried
// again the next time; the others need not wait for it.
func (d *Dispatcher) deleteAccounts(ctx context.Context) error {
	var failed error
	for after := ""; ; {
		users, err := d.o.Users.Deleted(ctx, after, accountPage)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("look for deleted accounts: %w", err))
		}
		for _, u := range users {
			failed = errors.Join(failed, d.deleteAccount(ctx, u))
			after = u.ID
		}
		if len(users) < accountPage {
			break
		}
	}
	if failed = errors.Join(failed, d.o.Users.Tidy(ctx, d.o.Now())); failed != nil {
		return failed
	}
	service.Wait(ctx, d.o.InboxEvery)
	return nil
}

// deleteAccount deletes the conversions of a deleted account; the agenda removes
// their objects. The row goes once nothing was left a day later.
func (d *Dispatcher) deleteAccount(ctx context.Context, u account.User) error {
	left, err := d.changeAll(ctx, u.ID, func(c *conversion.Conversion) error { return c.Delete(d.o.Now()) })
	if err != nil {
		return fmt.Errorf("delete the conversions of account %s: %w", u.ID, err)
	}
	if left || d.o.Now().Before(u.DeletedAt.Add(rowAfter)) {
		return nil // what could not be deleted is tried again
	}
	if err := d.o.Users.Remove(ctx, u.ID); err != nil {
		return err
	}
	d.o.Log.Info("account removed", "user_id", u.ID)
	return nil
}

// changeAll changes all conversions of an owner, and reports whether there were
// any. One that cannot be changed does not keep the others; the error is that of
// the first.
func (d *Dispatcher) changeAll(ctx context.Context, owner string, change func(*conversion.Conversion) error) (found bool, failed error) {
	for c, err := range d.conversionsOf(ctx, owner) {
		if err != nil {
			return found, errors.Join(failed, err)
		}
		found = true
		if _, _, err := d.update(ctx, c.ID, change); err != nil && !skipped(err) && failed == nil {
			failed = fmt.Errorf("change conversion %s: %w", c.ID, err)
		}
	}
	return found, failed
}

// conversionsOf reads the conversions of an owner, page by page. After an error
// there are no more.
func (d *Dispatcher) conversionsOf(ctx context.Context, owner string) iter.Seq2[conversion.Conversion, error] {
	return func(yield func(conversion.Conversion, error) bool) {
		for before := ""; ; {
			page, err := d.o.Records.List(ctx, conversion.Query{OwnerID: owner, Before: before, Limit: accountPage})
			if err != nil {
				yield(conversion.Conversion{}, fmt.Errorf("list conversions: %w", err))
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
				before = c.ID
			}
			if len(page) < accountPage {
				return
			}
		}
	}
}

// skipped reports whether a conversion is gone, or is for a newer version to
// change.
func skipped(err error) bool {
	return errors.Is(err, conversion.ErrNotFound) || errors.Is(err, conversion.ErrNewerFormat)
}

// followAccounts returns a step that makes conversions follow the changes of
// their accounts, and pauses. A change is followed at once, and again after
// settled: a request that read the account before may make a conversion after.
// Only then is it forgotten. One that cannot be followed is tried again the next
// time; the others need not wait for it.
func (d *Dispatcher) followAccounts() func(context.Context) error {
	at := map[string]time.Time{} // the change of an account that was followed once
	return func(ctx context.Context) error {
		listed := map[string]bool{}
		var failed error
		for after := ""; ; {
			changes, err := d.o.Users.Changed(ctx, after, accountPage)
			if err != nil {
				return errors.Join(failed, fmt.Errorf("look for changed accounts: %w", err))
			}
			for _, c := range changes {
				after, listed[c.User.ID] = c.User.ID, true
				again := !d.o.Now().Before(c.At.Add(settled))
				if at[c.User.ID].Equal(c.At) && !again {
					continue
				}
				if err := d.followAccount(ctx, c.User); err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				at[c.User.ID] = c.At
				if !again {
					continue
				}
				failed = errors.Join(failed, d.o.Users.Followed(ctx, c.User.ID, c.At))
			}
			if len(changes) < accountPage {
				break
			}
		}
		maps.DeleteFunc(at, func(id string, _ time.Time) bool { return !listed[id] })
		if failed != nil {
			return failed
		}
		service.Wait(ctx, min(d.o.InboxEvery, followEvery))
		return nil
	}
}

// followAccount makes all conversions of an account follow it.
func (d *Dispatcher) followAccount(ctx context.Context, u account.User) error {
	_, err := d.changeAll(ctx, u.ID, func(c *conversion.Conversion) error { return c.Readdress(u.Addressee(), d.o.Now()) })
	if err != nil {
		return fmt.Errorf("readdress the conversions of account %s: %w", u.ID, err)
	}
	return nil
}
