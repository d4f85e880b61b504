package sqliteconversion_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/conversion/conversiontest"
	"tonearm/internal/conversion/sqliteconversion"
)

func open(t *testing.T, path string) *sqliteconversion.Store {
	t.Helper()
	s, err := sqliteconversion.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func prepared(t *testing.T, path string) *sqliteconversion.Store {
	t.Helper()
	s := open(t, path)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	conversiontest.Run(t, func(t *testing.T) (conversion.Store, conversiontest.Raw) {
		path := filepath.Join(t.TempDir(), "records.db")
		return prepared(t, path), raw(t, path)
	})
}

// raw reads and writes documents with SQL of its own.
func raw(t *testing.T, path string) conversiontest.Raw {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return conversiontest.Raw{
		Set: func(ctx context.Context, id, path string, value any) error {
			_, err := db.ExecContext(ctx, `UPDATE conversion SET document = json_set(document, ?, ?) WHERE id = ?`, "$."+path, value, id)
			return err
		},
		Text: func(ctx context.Context, id, path string) (string, error) {
			var text sql.NullString
			err := db.QueryRowContext(ctx, `SELECT document ->> ? FROM conversion WHERE id = ?`, "$."+path, id).Scan(&text)
			return text.String, err
		},
	}
}

// newConversion returns a conversion that awaits its upload.
func newConversion(t *testing.T) conversion.Conversion {
	t.Helper()
	c, err := conversion.New(conversion.Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKeptAndPreparedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name ?#%20é.db")
	c := newConversion(t)
	first := prepared(t, path)
	if err := first.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	second := prepared(t, path) // while the first one is still open
	if err := second.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := second.ByID(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	if files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "odd*.db")); len(files) != 1 || err != nil {
		t.Errorf("files %q, %v", files, err)
	}
}

// TestManyAtOnce lets several handles make and use one file from its first
// moment on.
// A record in which nothing belongs to another version is written as it is. That
// is several times as fast as merging, so every write must leave it like that.
func TestWrittenAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.db")
	s, now := prepared(t, path), time.Now().UTC()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := newConversion(t)
	want := func(after string) {
		t.Helper()
		c, err := s.ByID(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := db.QueryRowContext(t.Context(), "SELECT document FROM conversion WHERE id = ?", c.ID).Scan(&got); err != nil || got != string(want) {
			t.Errorf("after %s: got %s, %v; want %s", after, got, err, want)
		}
	}
	update := func(change func(*conversion.Conversion) error) {
		t.Helper()
		if c, err = s.Update(t.Context(), c.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	want("Create")
	update(func(c *conversion.Conversion) error {
		return c.Uploaded(conversion.Object{Key: c.Object.Key, Version: "<v&1>", ETag: "e", Size: 10}, now)
	})
	want("Update")
	if err := s.Settle(t.Context(), c.ID, c.Revision, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	want("Settle")
	update(func(c *conversion.Conversion) error { return c.Cancel(now) })
	want("the next Update")
}

func TestManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.db")
	shared := newConversion(t)
	var stores []*sqliteconversion.Store
	for range 8 {
		stores = append(stores, open(t, path))
	}
	var wg sync.WaitGroup
	for _, s := range stores {
		wg.Go(func() {
			if err := s.Prepare(t.Context()); err != nil {
				t.Error(err)
				return
			}
			_ = s.Create(t.Context(), shared) // the first one wins
			for range 5 {
				if _, err := s.Update(t.Context(), shared.ID, func(c *conversion.Conversion) error {
					c.Launches++
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, err := stores[0].ByID(t.Context(), shared.ID)
	if err != nil || c.Launches != 40 {
		t.Errorf("%d launches, %v, want 40", c.Launches, err)
	}
}

func TestBusyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	prepared := make(chan error, 1)
	go func() { prepared <- s.Prepare(t.Context()) }()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-prepared; err != nil {
		t.Errorf("prepare once the file is free: %v", err)
	}
}

func TestNewerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.db")
	s := prepared(t, path)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE conversion_schema SET version = 99`); err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("prepare a newer file: %v", err)
	}
}
