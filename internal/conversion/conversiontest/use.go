package conversiontest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"tonearm/internal/conversion"
)

// addAt stores a conversion that was made at t.
func (s *suite) addAt(owner string, t time.Time, change func(*conversion.Conversion)) {
	s.Helper()
	s.add(owner, func(c *conversion.Conversion) {
		c.ID = conversion.IDAt(t) + fmt.Sprintf("-7000-8000-%012d", s.made)
		c.IdempotencyKey, c.Object.Key = c.ID, c.ID
		if change != nil {
			change(c)
		}
	})
}

// use is all that an owner's conversions take: each state, what was removed, and
// what is only announced, on either side of midnight.
func (s *suite) use() {
	noon := conversion.Day(epoch).Add(12 * time.Hour)
	day := conversion.Day(noon)
	next := day.Add(24 * time.Hour)
	done := func(c *conversion.Conversion) {
		c.State, c.Object.ETag, c.Object.Size, c.MP3.Size, c.MP3.Duration = conversion.Done, "e", 1000, 10, 1.5
	}
	s.addAt("u1", day, done)
	s.addAt("u1", next.Add(-time.Millisecond), func(c *conversion.Conversion) { done(c); c.SourceGone = true })
	s.addAt("u1", next, func(c *conversion.Conversion) { done(c); c.MP3Gone = true })
	s.addAt("u1", next, func(c *conversion.Conversion) { done(c); c.State = conversion.Deleted })
	s.addAt("u1", next, func(c *conversion.Conversion) { c.Object.Size = 7 })
	s.addAt("u1", next, func(c *conversion.Conversion) { c.Object.Size, c.State = 7, conversion.Expired })
	s.addAt("u1", next, func(c *conversion.Conversion) {
		c.Object.Size, c.Object.ETag, c.State, c.Progress.TotalSeconds = 50, "e", conversion.Running, 60
	})
	s.addAt("u1", next, func(c *conversion.Conversion) { c.Object.Size, c.Object.ETag, c.State = 50, "e", conversion.Queued })
	s.addAt("u2", noon, done)
	first := conversion.Use{Conversions: 2, Bytes: 2000, Sound: 3, Stored: 1020}
	second := conversion.Use{Conversions: 6, Bytes: 2107, Sound: 63, Stored: 1107}
	for _, tt := range []struct {
		from, to time.Time
		want     conversion.Uses
	}{
		{time.Time{}, time.Time{}, conversion.Uses{day: first, next: second}},
		{day, next, conversion.Uses{day: first}},
		{next, next.Add(24 * time.Hour), conversion.Uses{next: second}},
		{next.Add(24 * time.Hour), time.Time{}, conversion.Uses{}},
	} {
		got, err := s.store.Uses(s.Context(), "u1", tt.from, tt.to)
		s.want("uses", err, nil)
		if !maps.Equal(got, tt.want) {
			s.Errorf("from %v to %v: got %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}

	unfinished, err := s.store.Unfinished(s.Context(), "u1")
	s.want("unfinished", err, nil)
	if want := (map[conversion.State]int64{conversion.AwaitingUpload: 1, conversion.Queued: 1, conversion.Running: 1}); !maps.Equal(unfinished, want) {
		s.Errorf("unfinished: got %v, want %v", unfinished, want)
	}
	for since, want := range map[time.Time][]string{day: {"u1", "u2"}, next: {"u1"}, next.Add(time.Hour): nil} {
		got, err := s.store.Owners(s.Context(), since)
		s.want("owners", err, nil)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			s.Errorf("owners since %v: got %q, want %q", since, got, want)
		}
	}
}
