// Package conversiontest is the conformance suite of conversion.Store: what
// every implementation has to do alike.
package conversiontest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/conversion"
)

// Raw reads and writes the records of a store directly, as another version of
// Tonearm would. A path names a field as JSON does, such as "options.tags".
type Raw struct {
	// Set writes one field.
	Set func(ctx context.Context, id, path string, value any) error
	// Text reads a field that holds a string, '' where it is missing.
	Text func(ctx context.Context, id, path string) (string, error)
}

// Run runs the suite. open returns an empty store that is ready for use, and
// closes it with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) (conversion.Store, Raw)) {
	for _, tt := range []struct {
		name string
		test func(*suite)
	}{
		{"EveryFieldComesBack", (*suite).everyField},
		{"NotFound", (*suite).notFound},
		{"ByIDs", (*suite).byIDs},
		{"Unique", (*suite).unique},
		{"CreateRace", (*suite).createRace},
		{"Update", (*suite).update},
		{"UpdateRefused", (*suite).updateRefused},
		{"NoLostUpdate", (*suite).noLostUpdate},
		{"OneBegins", (*suite).oneBegins},
		{"Settle", (*suite).settle},
		{"List", (*suite).list},
		{"Due", (*suite).due},
		{"Owing", (*suite).owing},
		{"Purge", (*suite).purge},
		{"Canceled", (*suite).canceled},
		{"UnknownFields", (*suite).unknownFields},
		{"SettledMeanwhile", (*suite).settledMeanwhile},
		{"NewerFormat", (*suite).newerFormat},
		{"OwingPages", (*suite).owingPages},
		{"Use", (*suite).use},
		{"Leases", (*suite).leases},
		{"LeaseRace", (*suite).leaseRace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &suite{T: t}
			s.store, s.raw = open(t)
			if now, err := s.store.Now(t.Context()); err != nil || time.Since(now).Abs() > time.Hour {
				t.Fatalf("the store's time is %v, %v", now, err)
			}
			if err := s.store.Ping(t.Context()); err != nil {
				t.Fatalf("ping: %v", err)
			}
			tt.test(s)
		})
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)

type suite struct {
	*testing.T
	store conversion.Store
	raw   Raw
	made  int
}

// make returns a new conversion that is not stored yet; ids ascend.
func (s *suite) make(owner string) conversion.Conversion {
	s.Helper()
	s.made++
	c, err := conversion.New(conversion.Params{
		ID: fmt.Sprintf("c%04d", s.made), OwnerID: owner, OwnerEmail: owner + "@example.org",
		Filename: "film.mp4", UploadWindow: 24 * time.Hour,
	}, epoch)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// add stores a new conversion after change.
func (s *suite) add(owner string, change func(*conversion.Conversion)) conversion.Conversion {
	s.Helper()
	c := s.make(owner)
	if change != nil {
		change(&c)
	}
	if err := s.store.Create(s.Context(), c); err != nil {
		s.Fatalf("create %s: %v", c.ID, err)
	}
	return c
}

// stored checks that the store has exactly want.
func (s *suite) stored(want conversion.Conversion) {
	s.Helper()
	got, err := s.store.ByID(s.Context(), want.ID)
	if err != nil {
		s.Fatal(err)
	}
	s.same(got, want)
}

func (s *suite) same(got, want conversion.Conversion) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("got %+v\nwant %+v", got, want)
	}
}

func (s *suite) want(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func (s *suite) everyField() {
	full := conversion.Conversion{}
	fill(reflect.ValueOf(&full).Elem(), new(int))
	empty := s.make("u1")
	empty.Outbox = []conversion.Message{}
	odd := s.make("u1")
	odd.Filename = "a \"b\" 'c' \\ % ü 日本 🎬 <&>\t\n\u2028"
	odd.Object.Key = "inbox/a+b@example.org/" + odd.Filename
	zero := 0
	odd.Options.VBRQuality = &zero
	for _, c := range []conversion.Conversion{full, empty, odd} {
		if err := s.store.Create(s.Context(), c); err != nil {
			s.Fatal(err)
		}
		s.stored(c)
		got, err := s.store.ByIdempotencyKey(s.Context(), c.OwnerID, c.IdempotencyKey)
		s.want("by idempotency key", err, nil)
		s.same(got, c)
		got, err = s.store.ByObject(s.Context(), c.Object.Key, c.Object.Version)
		s.want("by object", err, nil)
		s.same(got, c)
		got, err = s.store.ByMP3(s.Context(), c.MP3.ID)
		s.want("by MP3", err, nil)
		s.same(got, c)
	}

	// The same with Update, on a document with empty fields.
	c := s.add("u2", nil)
	other := conversion.Conversion{}
	n := 1000
	fill(reflect.ValueOf(&other).Elem(), &n)
	other.ID, other.Revision = c.ID, c.Revision
	got, err := s.store.Update(s.Context(), c.ID, func(c *conversion.Conversion) error {
		*c = other
		return nil
	})
	s.want("update", err, nil)
	other.Revision++
	s.same(got, other)
	s.stored(other)
}

// fill sets every field to a value of its own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(epoch.Add(time.Duration(*n) * 1001 * time.Millisecond)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("value %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) + 1<<40)
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	default:
		panic("no value for a " + v.Type().String())
	}
}

func (s *suite) notFound() {
	ctx := s.Context()
	s.add("u1", nil)
	_, err := s.store.ByID(ctx, "none")
	s.want("by id", err, conversion.ErrNotFound)
	_, err = s.store.ByIdempotencyKey(ctx, "u1", "none")
	s.want("by idempotency key", err, conversion.ErrNotFound)
	_, err = s.store.ByObject(ctx, "none", "")
	s.want("by object", err, conversion.ErrNotFound)
	_, err = s.store.ByMP3(ctx, "none")
	s.want("by MP3", err, conversion.ErrNotFound)
	_, err = s.store.Update(ctx, "none", func(*conversion.Conversion) error {
		s.Error("change was called for a conversion that is not there")
		return nil
	})
	s.want("update", err, conversion.ErrNotFound)
	s.want("settle", s.store.Settle(ctx, "none", 1, epoch), nil)
	s.want("purge", s.store.Purge(ctx, "none"), nil)
}

func (s *suite) unique() {
	ctx := s.Context()
	first := s.add("u1", func(c *conversion.Conversion) { c.IdempotencyKey = "key" })
	s.want("the same again", s.store.Create(ctx, first), conversion.ErrExists)
	for what, change := range map[string]func(*conversion.Conversion){
		"id":              func(c *conversion.Conversion) { c.ID = first.ID },
		"idempotency key": func(c *conversion.Conversion) { c.IdempotencyKey = "key" },
		"object":          func(c *conversion.Conversion) { c.Object.Key = first.Object.Key },
		"MP3":             func(c *conversion.Conversion) { c.MP3.ID = first.MP3.ID },
	} {
		c := s.make("u1")
		change(&c)
		s.want("another with the same "+what, s.store.Create(ctx, c), conversion.ErrExists)
	}
	s.stored(first)
	s.add("u2", func(c *conversion.Conversion) { c.IdempotencyKey = "key" })
	second := s.add("u1", func(c *conversion.Conversion) {
		c.Object.Key, c.Object.Version = first.Object.Key, "other"
	})

	_, err := s.store.Update(ctx, second.ID, func(c *conversion.Conversion) error {
		c.Object.Version = first.Object.Version
		return nil
	})
	s.want("update to another's object", err, conversion.ErrExists)
	s.stored(second)
}

// race runs do in eight goroutines at once and counts the successes; other
// errors than allowed fail the test.
func (s *suite) race(allowed error, do func(i int) error) int {
	s.Helper()
	var won atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range 8 {
		wg.Go(func() {
			<-start
			if err := do(i); err == nil {
				won.Add(1)
			} else if !errors.Is(err, allowed) {
				s.Errorf("racer %d: %v", i, err)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load())
}

func (s *suite) createRace() {
	var racers []conversion.Conversion
	for range 8 {
		c := s.make("u1")
		c.Object.Key, c.Object.Version = "inbox/u1@example.org/film.mp4", "v1"
		racers = append(racers, c)
	}
	won := s.race(conversion.ErrExists, func(i int) error { return s.store.Create(s.Context(), racers[i]) })
	if won != 1 {
		s.Errorf("%d conversions for one object", won)
	}
	all, err := s.store.List(s.Context(), conversion.Query{OwnerID: "u1", Limit: 100})
	if err != nil || len(all) != 1 {
		s.Errorf("listed %d, %v, want 1", len(all), err)
	}
}

func (s *suite) update() {
	c := s.add("u1", nil)
	want := c
	want.Filename, want.Revision = "other.mp4", c.Revision+1
	got, err := s.store.Update(s.Context(), c.ID, func(read *conversion.Conversion) error {
		s.same(*read, c)
		read.Filename = "other.mp4"
		return nil
	})
	s.want("update", err, nil)
	s.same(got, want)
	s.stored(want)
	if !got.UpdatedAt.Equal(c.UpdatedAt) {
		s.Errorf("the store set updated_at to %s", got.UpdatedAt)
	}
}

func (s *suite) updateRefused() {
	c := s.add("u1", func(c *conversion.Conversion) {
		c.Upload = &conversion.Upload{ID: "multipart"}
		c.Outbox = []conversion.Message{{Kind: conversion.Work, Attempt: 1}}
	})
	because := fmt.Errorf("because")
	for _, refusal := range []error{
		conversion.ErrUnchanged, fmt.Errorf("already: %w", conversion.ErrUnchanged),
		conversion.ErrState, conversion.ErrStaleAttempt, because,
	} {
		got, err := s.store.Update(s.Context(), c.ID, func(c *conversion.Conversion) error {
			c.Filename, c.Upload.ID, c.Outbox[0].Attempt = "changed", "changed", 7
			return refusal
		})
		want := refusal
		if errors.Is(refusal, conversion.ErrUnchanged) {
			want = nil
		}
		if err != want { //nolint:errorlint // the very error that change returned
			s.Errorf("change returned %v: got %v, want %v", refusal, err, want)
		}
		s.same(got, c)
		s.stored(c)
	}
}

func (s *suite) noLostUpdate() {
	const each = 6
	c := s.add("u1", nil)
	s.race(nil, func(int) error {
		for range each {
			if _, err := s.store.Update(s.Context(), c.ID, func(c *conversion.Conversion) error {
				c.Launches++
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	c.Launches += 8 * each
	c.Revision += 8 * each
	s.stored(c)
}

func (s *suite) oneBegins() {
	c := s.add("u1", func(c *conversion.Conversion) { c.State = conversion.Queued })
	errLate := errors.New("another was first")
	won := s.race(errLate, func(int) error {
		_, err := s.store.Update(s.Context(), c.ID, func(c *conversion.Conversion) error {
			err := c.Begin(1, conversion.DefaultPolicy, epoch)
			if errors.Is(err, conversion.ErrUnchanged) {
				return errLate
			}
			return err
		})
		return err
	})
	if won != 1 {
		s.Errorf("%d began attempt 1", won)
	}
}

func (s *suite) settle() {
	ctx := s.Context()
	c := s.add("u1", func(c *conversion.Conversion) {
		c.Revision = 3
		c.Outbox = []conversion.Message{{Kind: conversion.Work, Attempt: 1}}
	})
	for _, revision := range []int64{2, 4} {
		s.want("settle another revision", s.store.Settle(ctx, c.ID, revision, epoch.Add(time.Hour)), nil)
		s.stored(c)
	}
	want := c
	want.Outbox, want.WakeAt = []conversion.Message{}, epoch.Add(2*time.Hour)
	for range 2 {
		s.want("settle", s.store.Settle(ctx, c.ID, 3, want.WakeAt), nil)
		s.stored(want)
	}
	s.ids(s.dueIDs(epoch.Add(3*time.Hour), 10), c.ID)

	want.WakeAt = time.Time{}
	s.want("settle for good", s.store.Settle(ctx, c.ID, 3, time.Time{}), nil)
	s.stored(want)
	s.ids(s.dueIDs(epoch.Add(1000*time.Hour), 10))
}

// ids checks that got has exactly the ids want, in this order.
func (s *suite) ids(got []conversion.Conversion, want ...string) {
	s.Helper()
	ids := []string{}
	for _, c := range got {
		ids = append(ids, c.ID)
	}
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		s.Errorf("got %v, want %v", ids, want)
	}
}

func (s *suite) canceled() {
	c := s.add("u1", nil)
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.store.ByID(ctx, c.ID)
	s.want("by id", err, context.Canceled)
	_, err = s.store.Update(ctx, c.ID, func(c *conversion.Conversion) error {
		c.Launches++
		return nil
	})
	s.want("update", err, context.Canceled)
	s.want("create", s.store.Create(ctx, s.make("u1")), context.Canceled)
	s.stored(c)
}
