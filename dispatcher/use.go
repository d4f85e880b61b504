package dispatcher

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/service"
)

// What users take is kept in a row for each user and day. A row follows from the
// records of the conversions that were made on its day. It is counted anew when one
// of them has changed: whoever changes a record notes that in memory. Four things
// make up for notes that are lost with their process. Whatever a gateway changes
// makes a dispatcher change the record soon. New records are found by their ids. A
// dispatcher that begins to lead counts whoever made a conversion since yesterday.
// And all users are counted once in a while.
const (
	useShare    = 40               // a count that took long is repeated after as many times that, but
	useLate     = 45 * time.Second // not later than this
	useOverlap  = time.Minute      // of looks for new records: clocks and writes differ
	useAllEvery = 6 * time.Hour    // between two counts of all users
	usePage     = 100
	// tombstones is how long ago a day may be, until deleted conversions of it may
	// be gone for good.
	tombstones = 7 * 24 * time.Hour
)

// ownDay is a row.
type ownDay struct {
	owner string
	day   time.Time
}

// usage notes which rows are to be counted.
type usage struct {
	mu  sync.Mutex
	due map[ownDay]bool
}

// changed is called when a record has changed.
func (u *usage) changed(c conversion.Conversion) {
	if day, ok := conversion.MadeOn(c.ID); ok {
		u.note(c.OwnerID, day)
	}
}

func (u *usage) note(owner string, day time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.due[ownDay{owner, day}] = true
}

// take returns what is to be counted.
func (u *usage) take() map[ownDay]bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	due := u.due
	u.due = map[ownDay]bool{}
	return due
}

// KeepUse counts what users take until ctx is done, where this replica has changed
// records. Each replica must run it, whether it leads or not.
func (d *Dispatcher) KeepUse(ctx context.Context) error {
	var took time.Duration
	service.Repeat(ctx, d.outage, "saving what users take", func(ctx context.Context) error {
		service.Wait(ctx, max(d.o.UseEvery, min(useShare*took, useLate)))
		began := time.Now()
		err := d.saveUse(ctx)
		took = time.Since(began)
		return err
	})
	last, cancel := detached(ctx, workTime) // what was noted before the end
	defer cancel()
	if err := d.saveUse(last); err != nil {
		d.o.Log.Warn("could not save what users take", "error", err)
	}
	return nil
}

// saveUse counts the rows that were noted.
func (d *Dispatcher) saveUse(ctx context.Context) error {
	due := d.usage.take()
	for row := range due {
		if err := d.countDay(ctx, row); err != nil {
			for row := range due {
				d.usage.note(row.owner, row.day)
			}
			return err
		}
		delete(due, row)
	}
	return nil
}

func (d *Dispatcher) countDay(ctx context.Context, row ownDay) error {
	at := d.o.Now()
	uses, err := d.o.Records.Uses(ctx, row.owner, row.day, row.day.Add(24*time.Hour))
	if err != nil {
		return err
	}
	return d.saveDay(ctx, row, uses[row.day], at)
}

func (d *Dispatcher) saveDay(ctx context.Context, row ownDay, use conversion.Use, at time.Time) error {
	return d.o.Users.SaveUsage(ctx, account.Usage{UserID: row.owner, Day: row.day, Use: use, CountedAt: at,
		StoredOnly: at.Sub(row.day) > tombstones})
}

// countUse returns the step that finds what nobody noted, for KeepUse, and pauses. It
// is the leader's.
func (d *Dispatcher) countUse() func(context.Context) error {
	since := conversion.Day(d.o.Now()).Add(-24 * time.Hour) // at first, since yesterday
	next, after := time.Time{}, ""
	return func(ctx context.Context) error {
		now := d.o.Now()
		owners, err := d.o.Records.Owners(ctx, since)
		if err != nil {
			return err
		}
		for _, owner := range owners {
			for day := conversion.Day(since); !day.After(now.Add(useOverlap)); day = day.Add(24 * time.Hour) {
				d.usage.note(owner, day)
			}
		}
		since = now.Add(-useOverlap)
		all, err := d.o.Users.UsedByAll(ctx, conversion.Day(now))
		if err != nil {
			return err
		}
		d.metrics.used(all)
		if after != "" || !now.Before(next) {
			if after == "" {
				next = now.Add(useAllEvery)
			}
			if after, err = d.countPage(ctx, after); err != nil {
				return err
			}
		}
		if after == "" { // else more users are waiting
			service.Wait(ctx, d.o.UseEvery)
		}
		return nil
	}
}

// countPage counts all that some users take, whose ids are greater than after, and
// returns the last id; empty at the end.
func (d *Dispatcher) countPage(ctx context.Context, after string) (last string, err error) {
	users, err := d.o.Users.List(ctx, account.Filter{}, after, usePage)
	if err != nil || len(users) == 0 {
		return "", err
	}
	last = users[len(users)-1].ID
	today := conversion.Day(d.o.Now())
	saved, err := d.o.Users.Used(ctx, users[0].ID, last, today)
	if err != nil {
		return after, err
	}
	for _, u := range users {
		at := d.o.Now()
		uses, err := d.o.Records.Uses(ctx, u.ID, time.Time{}, time.Time{})
		if err != nil {
			return after, fmt.Errorf("count what %s takes: %w", u.ID, err)
		}
		var sum conversion.Use
		for _, use := range uses {
			sum = sum.Plus(use)
		}
		if known, ok := saved[u.ID]; known.Stored == sum.Stored && known.Today == rounded(uses[today]) && (ok || len(uses) == 0) {
			continue
		}
		for day, use := range uses {
			if err := d.saveDay(ctx, ownDay{u.ID, day}, use, at); err != nil {
				return after, err
			}
		}
		if err := d.o.Users.ClearUsage(ctx, u.ID, at); err != nil {
			return after, err
		}
	}
	if len(users) < usePage {
		last = ""
	}
	return last, nil
}

// rounded is a Use as it is saved.
func rounded(u conversion.Use) conversion.Use {
	u.Sound = float64(time.Duration(u.Sound*float64(time.Second)).Round(time.Millisecond).Milliseconds()) / 1000
	return u
}
