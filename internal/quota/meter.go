package quota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// Records are what a Meter counts; see conversion.Store.
type Records interface {
	Uses(ctx context.Context, ownerID string, from, to time.Time) (conversion.Uses, error)
	Unfinished(ctx context.Context, ownerID string) (map[conversion.State]int64, error)
}

// Users know what was counted on earlier days; see account.Store.
type Users interface {
	Used(ctx context.Context, first, last string, day time.Time) (map[string]account.Used, error)
}

// Meter says whether there is room for more of a user. All fields are required.
type Meter struct {
	Records  Records
	Users    Users
	Defaults account.Limits // for users without limits of their own; 0 for none
	Now      func() time.Time
	Log      *slog.Logger // says that a user could not be counted

	mu      sync.Mutex
	tallies map[string]*tally // by user
	room    int               // for tallies, until some are forgotten
}

const (
	countEvery = 30 * time.Second       // between two counts of a user who is below the limits
	countAgain = 500 * time.Millisecond // between two counts of one who is at a limit
	countShare = 20                     // a count that took long is repeated after as many times that
	countLimit = 2 * time.Second        // of one count, and for whoever waits for it
	todayLimit = time.Second            // of the part of a count that grows with the conversions of a day
	idleAfter  = 10 * time.Minute       // until a user is forgotten who does nothing
	fewUsers   = 1000                   // up to so many nobody is forgotten
)

// Ask is what somebody wants to begin.
type Ask struct {
	Uploads int64 // that will be awaited
	Queued  int64 // conversions that are queued at once
	Bytes   int64 // of their videos, as far as they are known
}

// Exceeded says which limit there is no room below.
type Exceeded struct {
	Quota account.Quota
	Limit int64
	Retry time.Duration // when it may be worth a further try
}

func (e *Exceeded) Error() string { return fmt.Sprintf("the limit of %s is %d", e.Quota, e.Limit) }

// Level is how much of a quota a user takes.
type Level struct {
	Quota account.Quota
	Used  int64
	Limit int64 // account.Unlimited for none
}

var errNotCounted = errors.New("what the user takes is not counted yet")

// tally is what one user takes.
type tally struct {
	counting chan struct{} // holds one while somebody counts
	asked    time.Time     // for the last time; of Meter.mu

	mu      sync.Mutex
	counted time.Time     // when the last count began; zero before the first
	took    time.Duration // the last count
	day     time.Time     // that it was about
	figures map[account.Quota]int64
	added   Ask // admitted and made since counted
	pending Ask // admitted, and perhaps not made yet
}

// Admitted is room that was given. Done must be called once.
type Admitted struct {
	t   *tally
	ask Ask
	// Left is how many bytes the video may have that the room was given for;
	// math.MaxInt64 for no limit. LeftOf is the limit that says so.
	Left   int64
	LeftOf Exceeded
}

// Begun says that the record of an upload is made, which does not say yet how many
// bytes it will have. Done is still to come.
func (a *Admitted) Begun() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.pending.Uploads -= a.ask.Uploads
	a.t.added.Uploads += a.ask.Uploads
	a.ask.Uploads = 0
}

// Sized says how many bytes the video has, if that was not known.
func (a *Admitted) Sized(bytes int64) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.pending.Bytes += bytes - a.ask.Bytes
	a.ask.Bytes = bytes
}

// Done says that what was asked for is in the records, or, if made is false, that
// it will not be.
func (a *Admitted) Done(made bool) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.pending = a.t.pending.minus(a.ask)
	if made {
		a.t.added = a.t.added.minus(Ask{Uploads: -a.ask.Uploads, Queued: -a.ask.Queued, Bytes: -a.ask.Bytes})
	}
}

func (a Ask) minus(b Ask) Ask {
	return Ask{Uploads: a.Uploads - b.Uploads, Queued: a.Queued - b.Queued, Bytes: a.Bytes - b.Bytes}
}

// Admit gives room for what is asked for, or returns *Exceeded. A user who cannot be
// counted is admitted by what is known: that a store is away is no reason to refuse.
func (m *Meter) Admit(ctx context.Context, u account.User, ask Ask) (*Admitted, error) {
	t := m.tally(u.ID)
	_ = m.count(ctx, u.ID, t, countEvery)
	admitted, exceeded, recent := m.admit(t, u, ask)
	if exceeded != nil && !recent {
		_ = m.count(ctx, u.ID, t, countAgain)
		admitted, exceeded, _ = m.admit(t, u, ask)
	}
	if exceeded != nil {
		return nil, exceeded
	}
	return admitted, nil
}

// admit decides by what is known. recent says that another count would come too soon.
func (m *Meter) admit(t *tally, u account.User, ask Ask) (_ *Admitted, exceeded *Exceeded, recent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &Admitted{t: t, ask: ask, Left: math.MaxInt64}
	limits, today := u.Limits.Or(m.Defaults), conversion.Day(m.Now()).Equal(t.day)
	for _, q := range counted {
		l := t.level(q, limits, today)
		if l.Limit == account.Unlimited {
			continue
		}
		full := false
		switch l.Quota {
		case account.QuotaOpenUploads:
			full = ask.Uploads > 0 && l.Used+ask.Uploads > l.Limit
		case account.QuotaQueued: // whatever is uploaded will be queued
			full = l.Used+max(ask.Queued, 1) > l.Limit
		case account.QuotaDailySound:
			full = l.Used >= l.Limit
		case account.QuotaStored, account.QuotaDailyBytes:
			if ask.Queued > 0 && ask.Bytes == 0 { // of a video that is stored
				break
			}
			full = l.Used+ask.Bytes > l.Limit || l.Used >= l.Limit
			if left := l.Limit - l.Used; left < a.Left {
				a.Left, a.LeftOf = left, m.exceeded(l)
			}
		}
		if full {
			e := m.exceeded(l)
			return nil, &e, !m.due(t, countAgain)
		}
	}
	t.pending = t.pending.minus(Ask{Uploads: -ask.Uploads, Queued: -ask.Queued, Bytes: -ask.Bytes})
	return a, nil, false
}

func (m *Meter) exceeded(l Level) Exceeded {
	return Exceeded{Quota: l.Quota, Limit: l.Limit, Retry: m.retry(l.Quota)}
}

// retry is when it may be worth a further try at a limit.
func (m *Meter) retry(q account.Quota) time.Duration {
	switch now := m.Now(); q {
	case account.QuotaDailyBytes, account.QuotaDailySound:
		return conversion.Day(now).Add(24 * time.Hour).Sub(now)
	case account.QuotaStored:
		return time.Hour
	}
	return 2 * time.Second
}

// counted are the quotas that are counted in records.
var counted = []account.Quota{account.QuotaOpenUploads, account.QuotaQueued, account.QuotaStored, account.QuotaDailyBytes, account.QuotaDailySound}

// level is the figure of a tally, which is locked, beside the user's limit.
func (t *tally) level(q account.Quota, limits account.Limits, today bool) Level {
	l := Level{Quota: q, Limit: limits.Of(q)}
	if l.Limit == 0 {
		l.Limit = account.Unlimited
	}
	daily := false
	switch q {
	case account.QuotaOpenUploads:
		l.Used = t.added.Uploads + t.pending.Uploads
	case account.QuotaQueued:
		l.Used = t.added.Queued + t.pending.Queued
	case account.QuotaStored:
		l.Used = t.added.Bytes + t.pending.Bytes
	case account.QuotaDailyBytes:
		daily, l.Used = true, t.added.Bytes+t.pending.Bytes
	case account.QuotaDailySound:
		daily = true
	}
	if today || !daily {
		l.Used += t.figures[q]
	}
	return l
}

// Levels returns how much of the quotas that are counted in records the user takes,
// as it was a few seconds ago at the most.
func (m *Meter) Levels(ctx context.Context, u account.User) ([]Level, error) {
	t := m.tally(u.ID)
	err := m.count(ctx, u.ID, t, 0)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.figures == nil {
		return nil, cmp.Or(err, errNotCounted)
	}
	limits, today := u.Limits.Or(m.Defaults), conversion.Day(m.Now()).Equal(t.day)
	var levels []Level
	for _, q := range counted {
		levels = append(levels, t.level(q, limits, today))
	}
	return levels, nil
}

// tally is that of a user. It forgets those of users who do nothing.
func (m *Meter) tally(userID string) *tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	t := m.tallies[userID]
	if t == nil {
		if len(m.tallies) >= m.room {
			m.forget(now)
		}
		t = &tally{counting: make(chan struct{}, 1)}
		m.tallies[userID] = t
	}
	t.asked = now
	return t
}

func (m *Meter) forget(now time.Time) {
	kept := map[string]*tally{}
	for id, t := range m.tallies {
		t.mu.Lock()
		if t.pending != (Ask{}) || now.Sub(t.asked) < idleAfter {
			kept[id] = t
		}
		t.mu.Unlock()
	}
	m.tallies, m.room = kept, max(fewUsers, 2*len(kept)) // rarely, however many there are
}

// due reports whether a tally, which is locked, is to be counted: its last count
// began longer ago than every, and did not take too large a share of that time.
func (m *Meter) due(t *tally, every time.Duration) bool {
	if t.counted.IsZero() || t.figures != nil && !conversion.Day(m.Now()).Equal(t.day) {
		return true
	}
	return time.Since(t.counted) >= max(every, countShare*t.took)
}

// count counts the user's records, if that is due. Whoever is below the limits does
// not wait for somebody else's count.
func (m *Meter) count(ctx context.Context, userID string, t *tally, every time.Duration) error {
	t.mu.Lock()
	due, known := m.due(t, every), t.figures != nil
	t.mu.Unlock()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	select {
	case t.counting <- struct{}{}:
	default:
		if known && every == countEvery {
			return nil
		}
		select {
		case t.counting <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-t.counting }()
	return m.recount(ctx, userID, t, every)
}

// recount counts the user's records, unless somebody else has just done so.
func (m *Meter) recount(ctx context.Context, userID string, t *tally, every time.Duration) error {
	t.mu.Lock()
	due, before, began, day := m.due(t, every), t.added, time.Now(), conversion.Day(m.Now())
	t.mu.Unlock()
	if !due {
		return nil
	}
	figures, err := m.read(ctx, userID, day)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took, t.counted = time.Since(began), began // a store that is away is not asked all the time
	if err != nil {
		m.Log.Warn("could not count what a user takes; going on with what is known", "user_id", userID, "error", err)
		return err
	}
	t.figures, t.day = figures, day
	t.added = t.added.minus(before)
	return nil
}

// read reads what a user takes.
func (m *Meter) read(ctx context.Context, userID string, day time.Time) (map[account.Quota]int64, error) {
	unfinished, err := m.Records.Unfinished(ctx, userID)
	if err != nil {
		return nil, err
	}
	used, err := m.Users.Used(ctx, userID, userID, day)
	if err != nil {
		return nil, err
	}
	saved := used[userID]
	today, err := m.today(ctx, userID, day)
	if err != nil && (errors.Is(err, context.Canceled) || saved == (account.Used{})) {
		return nil, err
	}
	if err != nil { // there are very many
		today = saved.Today
	}
	return map[account.Quota]int64{
		account.QuotaOpenUploads: unfinished[conversion.AwaitingUpload],
		account.QuotaQueued:      unfinished[conversion.Queued],
		account.QuotaStored:      max(0, saved.Stored-saved.Today.Stored) + today.Stored,
		account.QuotaDailyBytes:  today.Bytes,
		account.QuotaDailySound:  int64(math.Round(today.Sound)),
	}, nil
}

// today reads what the user's conversions of the day take.
func (m *Meter) today(ctx context.Context, userID string, day time.Time) (today conversion.Use, err error) {
	ctx, cancel := context.WithTimeout(ctx, todayLimit)
	defer cancel()
	uses, err := m.Records.Uses(ctx, userID, day, time.Time{})
	for _, u := range uses { // also tomorrow's, by the clocks of others
		today = today.Plus(u)
	}
	return today, err
}
