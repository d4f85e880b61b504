package journal

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

func open2(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func entry(path, key string) Entry {
	return Entry{
		Source: Source{Server: "https://s", Options: "o", Path: path, Size: 3, ModTime: 5}, State: Begun, Key: key,
		Request: api.NewConversion{Filename: "a.mp4", Size: 3, Options: &conversion.Options{Preset: "voice"}, Notify: conversion.NotifyNone},
	}
}

func TestJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	j := open2(t, dir)
	ctx := t.Context()
	const odd = "/caf\xe9/\x1b.mp4" // neither UTF-8 nor printable
	e, err := j.Begin(ctx, entry(odd, "k1"), "")
	if err != nil || e.Key != "k1" {
		t.Fatal(e, err)
	}
	if other, _ := j.Find(ctx, entry("/caf\xe8/\x1b.mp4", "").Source); other != nil {
		t.Errorf("another file has its entry: %+v", other)
	}
	e.SHA256, e.Conversion, e.MP3 = "sum", "c", api.MP3{ID: "m", Size: 7, SHA256: "s"}
	e.State = Done
	if err := j.Save(ctx, e, "/out/a.mp3"); err != nil {
		t.Fatal(err)
	}

	j.Close()
	j = open2(t, dir) // another process
	got, err := j.Find(ctx, e.Source)
	if err != nil || got == nil || got.Path != odd || got.State != Done || got.MP3.ID != "m" || *got.Request.Options != *e.Request.Options || !got.Unchanged(e.Source) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if places, err := j.Places(ctx, *got); err != nil || !slices.Equal(places, []string{"/out/a.mp3"}) {
		t.Errorf("places %q, %v", places, err)
	}
	moved := e.Source
	moved.Path = "/moved.mp4"
	part := entry("/part.mp4", "k3")
	part.Mode, part.SHA256 = "sound", "of the part"
	unknown := entry("/unknown.mp4", "k4") // its content is not known
	unknown.Mode = "other"
	for _, e := range []Entry{part, unknown} {
		if err := j.Save(ctx, e, ""); err != nil {
			t.Fatal(err)
		}
	}
	if modes, err := j.Modes(ctx, moved); err != nil || !slices.Equal(modes, []string{"sound", ""}) {
		t.Errorf("modes %q, %v", modes, err)
	}
	if same, err := j.SameContent(ctx, moved, "", "sum"); err != nil || same == nil || same.Conversion != "c" {
		t.Errorf("got %+v, %v", same, err)
	}
	for _, tt := range []struct{ mode, sum string }{{"", "other"}, {"sound", "sum"}} {
		if same, err := j.SameContent(ctx, moved, tt.mode, tt.sum); err != nil || same != nil {
			t.Errorf("%+v: got %+v, %v", tt, same, err)
		}
	}

	// A new entry has no place: another MP3 is there.
	if _, err := j.Begin(ctx, entry(odd, "k2"), "k1"); err != nil {
		t.Fatal(err)
	}
	got, err = j.Find(ctx, e.Source)
	if places, _ := j.Places(ctx, *got); err != nil || got.Key != "k2" || len(places) > 0 {
		t.Errorf("got %+v at %q, %v", got, places, err)
	}
	if err := j.Forget(ctx, e.Source); err != nil {
		t.Fatal(err)
	}
	if got, _ := j.Find(ctx, e.Source); got != nil {
		t.Errorf("got %+v", got)
	}
	for _, name := range []string{"journal.db", "journal.db-wal"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

// TestBeginAtOnce: processes that begin the same file at the same time share its key.
func TestBeginAtOnce(t *testing.T) {
	dir := t.TempDir()
	open2(t, dir)
	keys := make([]string, 8)
	var wg sync.WaitGroup
	for i := range keys {
		j := open2(t, dir)
		wg.Go(func() {
			e, err := j.Begin(t.Context(), entry("/a.mp4", strconv.Itoa(i)), "")
			if err != nil {
				t.Error(err)
			}
			keys[i] = e.Key
		})
	}
	wg.Wait()
	for _, key := range keys {
		if key != keys[0] {
			t.Fatalf("keys %q", keys)
		}
	}
}

func TestOptions(t *testing.T) {
	base := api.NewConversion{Filename: "a.mp4", Size: 3, Options: &conversion.Options{}}
	id := Options(base)
	for name, tt := range map[string]struct {
		request api.NewConversion
		same    bool
	}{
		"mail":    {api.NewConversion{Filename: "a.mp4", Size: 9, Parts: true, Notify: "email", Options: &conversion.Options{}}, true},
		"name":    {api.NewConversion{Filename: "b.mp4", Options: &conversion.Options{}}, false},
		"options": {api.NewConversion{Filename: "a.mp4", Options: &conversion.Options{Preset: "voice"}}, false},
	} {
		if got := Options(tt.request) == id; got != tt.same {
			t.Errorf("%s: same %t, want %t", name, got, tt.same)
		}
	}
	titled := &conversion.Options{Tags: &conversion.Tags{Title: "t"}}
	if Options(api.NewConversion{Filename: "a.mp4", Options: titled}) != Options(api.NewConversion{Filename: "b.mp4", Options: titled}) {
		t.Error("the name decides nothing where the title is given")
	}
}
