package sqliteconversion

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tonearm/internal/conversion"
)

// A full disk refuses new records. The others can be read, and once there is
// room, writing works again.
func TestFull(t *testing.T) {
	ctx := t.Context()
	s, err := Open(filepath.Join(t.TempDir(), "records.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		if _, err := s.write.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	create := func() (conversion.Conversion, error) {
		c, err := conversion.New(conversion.Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: strings.Repeat("f", 5000)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c, s.Create(ctx, c)
	}
	limit(40)
	first, err := create()
	for range 100 {
		if err != nil {
			break
		}
		_, err = create()
	}
	if !errors.Is(err, conversion.ErrFull) {
		t.Fatalf("a full disk: %v", err)
	}
	if _, err := s.ByID(ctx, first.ID); err != nil {
		t.Error(err)
	}
	_, err = s.Update(ctx, first.ID, func(c *conversion.Conversion) error { c.Filename = strings.Repeat("f", 100_000); return nil })
	if !errors.Is(err, conversion.ErrFull) {
		t.Errorf("an update on a full disk: %v", err)
	}
	limit(4000)
	if _, err := create(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
