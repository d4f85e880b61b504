package conversion_test

import (
	"testing"
	"time"

	"tonearm/internal/conversion"
)

// An id says on which day it was drawn, and IDAt sorts between the ids before and
// after.
func TestIDsTellTheirDay(t *testing.T) {
	before := time.Now().Truncate(time.Millisecond)
	id := conversion.NewID()
	after := time.Now().Add(time.Millisecond)
	if low, high := conversion.IDAt(before), conversion.IDAt(after); id < low || id >= high {
		t.Errorf("%s is not between %s and %s", id, low, high)
	}
	if day, ok := conversion.MadeOn(id); !ok || day.Before(conversion.Day(before)) || day.After(conversion.Day(after)) {
		t.Errorf("%s was drawn on %v, %t", id, day, ok)
	}
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time]time.Time{
		midnight: midnight, midnight.Add(-time.Millisecond): midnight.Add(-24 * time.Hour), midnight.Add(24*time.Hour - time.Millisecond): midnight,
	} {
		if day, ok := conversion.MadeOn(conversion.IDAt(at) + "-7fff-bfff-000000000000"); !ok || !day.Equal(want) {
			t.Errorf("of %v: %v, %t, want %v", at, day, ok, want)
		}
	}
	for _, id := range []string{"", "c0001", "01890a5d-ac96-474b-bcce-b302099a8057", "zzzzzzzz-zzzz-774b-bcce-b302099a8057"} {
		if day, ok := conversion.MadeOn(id); ok {
			t.Errorf("%q says %v", id, day)
		}
	}
	if got := conversion.IDAt(time.Time{}); got != "" {
		t.Errorf("the zero time is %q", got)
	}
}
