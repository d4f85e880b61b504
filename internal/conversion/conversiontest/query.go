package conversiontest

import (
	"time"

	"tonearm/internal/conversion"
)

func (s *suite) dueIDs(now time.Time, limit int) []conversion.Conversion {
	s.Helper()
	due, err := s.store.Due(s.Context(), now, limit)
	s.want("due", err, nil)
	return due
}

func (s *suite) byIDs() {
	byIDs := func(ids ...string) map[string]conversion.Conversion {
		s.Helper()
		got, err := s.store.ByIDs(s.Context(), ids)
		s.want("by ids", err, nil)
		found := map[string]conversion.Conversion{}
		for _, c := range got {
			found[c.ID] = c
		}
		if len(found) != len(got) {
			s.Errorf("%d records of %d conversions", len(got), len(found))
		}
		return found
	}
	first, deleted, other := s.add("u1", nil), s.add("u1", func(c *conversion.Conversion) { c.State = conversion.Deleted }), s.add("u2", nil)
	s.add("u1", nil)
	if found := byIDs(); len(found) != 0 {
		s.Errorf("by no id: %d", len(found))
	}
	many := []string{"", "none", other.ID, first.ID, first.ID}
	for len(many) < conversion.MaxIDs-1 {
		many = append(many, conversion.NewID())
	}
	found := byIDs(append(many, deleted.ID)...)
	if len(found) != 3 {
		s.Fatalf("%d found, want 3", len(found))
	}
	for _, want := range []conversion.Conversion{first, deleted, other} {
		s.same(found[want.ID], want)
	}
}

func (s *suite) list() {
	all := []conversion.Conversion{}
	for i := range 10 {
		all = append(all, s.add("u1", func(c *conversion.Conversion) {
			c.State = []conversion.State{conversion.Done, conversion.Failed, conversion.Queued, conversion.Deleted}[i%4]
		}))
		s.add("u2", nil)
	}
	query := func(q conversion.Query) []conversion.Conversion {
		s.Helper()
		q.OwnerID = "u1"
		got, err := s.store.List(s.Context(), q)
		s.want("list", err, nil)
		return got
	}
	id := func(i int) string { return all[i].ID }
	page := query(conversion.Query{Limit: 3})
	s.ids(page, id(9), id(8), id(6))
	s.same(page[0], all[9])
	s.ids(query(conversion.Query{Limit: 3, Before: id(6)}), id(5), id(4), id(2))
	s.ids(query(conversion.Query{Limit: 3, Before: id(2)}), id(1), id(0))
	s.ids(query(conversion.Query{Limit: 3, Before: id(0)}))
	s.ids(query(conversion.Query{Limit: 9, States: []conversion.State{conversion.Done}}), id(8), id(4), id(0))
	s.ids(query(conversion.Query{Limit: 3, Before: id(8), States: []conversion.State{conversion.Done, conversion.Queued}}),
		id(6), id(4), id(2))
	s.ids(query(conversion.Query{Limit: 9, States: []conversion.State{conversion.Deleted}}))
	s.ids(query(conversion.Query{Limit: 9, States: []conversion.State{conversion.Deleted, conversion.Failed}}),
		id(9), id(5), id(1))
}

func (s *suite) due() {
	waking := func(after time.Duration) conversion.Conversion {
		return s.add("u1", func(c *conversion.Conversion) { c.WakeAt = epoch.Add(after) })
	}
	third := waking(3 * time.Second)
	first := waking(time.Second - time.Millisecond)
	s.add("u1", func(c *conversion.Conversion) { c.WakeAt = time.Time{} })
	fourth := waking(3*time.Second + time.Millisecond)
	second := waking(time.Second)
	old := s.add("u2", func(c *conversion.Conversion) { c.WakeAt = time.Unix(0, 0).UTC() })

	s.ids(s.dueIDs(epoch, 10), old.ID)
	s.ids(s.dueIDs(epoch.Add(time.Second), 10), old.ID, first.ID, second.ID)
	s.ids(s.dueIDs(epoch.Add(3*time.Second).In(time.FixedZone("", 7200)), 10), old.ID, first.ID, second.ID, third.ID)
	s.ids(s.dueIDs(epoch.Add(time.Hour), 10), old.ID, first.ID, second.ID, third.ID, fourth.ID)
	s.ids(s.dueIDs(epoch.Add(time.Hour), 2), old.ID, first.ID)

	if _, err := s.store.Update(s.Context(), first.ID, func(c *conversion.Conversion) error {
		c.WakeAt = time.Time{}
		return nil
	}); err != nil {
		s.Fatal(err)
	}
	s.ids(s.dueIDs(epoch.Add(time.Second), 10), old.ID, second.ID)

	lapsed := func(now time.Time, limit int) []conversion.Conversion {
		s.Helper()
		found, err := s.store.Lapsed(s.Context(), now, limit)
		s.want("lapsed", err, nil)
		return found
	}
	s.ids(lapsed(epoch.Add(time.Hour), 10))
	var running []string
	for i := range 3 {
		running = append(running, s.add("u1", func(c *conversion.Conversion) {
			c.State, c.WakeAt = conversion.Running, epoch.Add(time.Duration(3-i)*time.Minute)
		}).ID)
	}
	s.ids(lapsed(epoch.Add(time.Minute-time.Millisecond), 10))
	s.ids(lapsed(epoch.Add(2*time.Minute), 10), running[2], running[1])
	s.ids(lapsed(epoch.Add(time.Hour), 2), running[2], running[1])
}

func (s *suite) owing() {
	add := func(state conversion.State, notice conversion.NoticeState) string {
		return s.add("u1", func(c *conversion.Conversion) { c.State, c.Notice.State = state, notice }).ID
	}
	var want []string
	for _, state := range conversion.States {
		id := add(state, conversion.NoticeNone)
		if state == conversion.Queued {
			want = append(want, id)
		}
	}
	add(conversion.Done, conversion.NoticeSent)
	want = append(want, add(conversion.Done, conversion.NoticeOwed))
	add(conversion.Failed, conversion.NoticeRefused)
	want = append(want, add(conversion.Failed, conversion.NoticeSending), add(conversion.Queued, conversion.NoticeNone))

	owing := func(after string, limit int) []conversion.Conversion {
		s.Helper()
		got, err := s.store.Owing(s.Context(), after, limit)
		s.want("owing", err, nil)
		return got
	}
	s.ids(owing("", 10), want...)
	s.ids(owing("", 2), want[:2]...)
	s.ids(owing(want[1], 2), want[2:]...)
	s.ids(owing(want[3], 2))
	if _, err := s.store.Update(s.Context(), want[0], func(c *conversion.Conversion) error {
		return c.Begin(1, conversion.DefaultPolicy, epoch)
	}); err != nil {
		s.Fatal(err)
	}
	s.ids(owing("", 10), want[1:]...)
}

func (s *suite) purge() {
	ctx := s.Context()
	for _, state := range conversion.States {
		c := s.add("u1", func(c *conversion.Conversion) { c.State = state })
		s.want("purge", s.store.Purge(ctx, c.ID), nil)
		if state != conversion.Deleted {
			s.stored(c)
			continue
		}
		_, err := s.store.ByID(ctx, c.ID)
		s.want("by id after purge", err, conversion.ErrNotFound)
		s.want("purge again", s.store.Purge(ctx, c.ID), nil)
		s.want("create again", s.store.Create(ctx, c), nil)
	}
}
