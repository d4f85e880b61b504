package sqliteconversion

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/conversion"
)

// Writers are served in the order in which they come.
func TestTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		busy, err := s.write.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		var wg sync.WaitGroup
		for range 20 {
			c, err := conversion.New(conversion.Params{OwnerID: "u", OwnerEmail: "u@example.org", Filename: "f.mp4"}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, c.ID)
			wg.Go(func() {
				if err := s.Create(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // it stands in line
		}
		if err := busy.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		rows, err := s.read.QueryContext(t.Context(), `SELECT id FROM conversion ORDER BY rowid`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got []string
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			got = append(got, id)
		}
		if err := rows.Err(); err != nil || !slices.Equal(got, want) {
			t.Errorf("written in the order %q, %v; want %q", got, err, want)
		}
	})
}
