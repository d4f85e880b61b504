package accounttest

import (
	"errors"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// A user's own limits come back by each way to read a user, and other changes of
// the account leave them.
func limits(t *testing.T, s account.Store) {
	ctx := t.Context()
	u, other := create(t, s, "a@example.org"), create(t, s, "b@example.org")
	own := account.Limits{OpenUploads: 5, Stored: account.Unlimited, DailySound: 3600}
	if err := s.SetLimits(ctx, u.ID, own); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Configure(ctx, u.ID, account.German, account.MailNone); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() (account.User, error){
		"by id":      func() (account.User, error) { return s.ByID(ctx, u.ID) },
		"by address": func() (account.User, error) { return s.ByEmail(ctx, u.Email) },
		"by login":   func() (account.User, error) { return s.Authenticate(ctx, u.Email, password) },
	} {
		if got, err := read(); err != nil || got.Limits != own {
			t.Errorf("%s: limits %+v, %v, want %+v", name, got.Limits, err, own)
		}
	}
	if got, err := s.ByID(ctx, other.ID); err != nil || got.Limits != (account.Limits{}) {
		t.Errorf("limits of another user: %+v, %v", got.Limits, err)
	}
	if err := s.SetLimits(ctx, u.ID, account.Limits{}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByID(ctx, u.ID); err != nil || got.Limits != (account.Limits{}) {
		t.Errorf("limits after they were taken back: %+v, %v", got.Limits, err)
	}
	if err := s.SetLimits(ctx, u.ID, account.Limits{Queued: -2}); !errors.Is(err, account.ErrInvalid) {
		t.Errorf("a limit of -2: %v", err)
	}
	if err := s.SetLimits(ctx, "nobody", own); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("limits of nobody: %v", err)
	}
}

// One row a user and day: a later count replaces an earlier one, and never the
// other way round.
func usage(t *testing.T, s account.Store) {
	ctx := t.Context()
	u, other := create(t, s, "a@example.org"), create(t, s, "b@example.org")
	today := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	noon := today.Add(12 * time.Hour)
	save := func(user account.User, day, at time.Time, n int64) {
		t.Helper()
		err := s.SaveUsage(ctx, account.Usage{UserID: user.ID, Day: day, CountedAt: at,
			Use: conversion.Use{Conversions: n, Bytes: 10 * n, Sound: float64(n) + .5, Stored: 100 * n}})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(user account.User, want account.Used) {
		t.Helper()
		if used, err := s.Used(ctx, user.ID, user.ID, today); err != nil || used[user.ID] != want || len(used) > 1 {
			t.Errorf("used %+v, %v, want %+v", used, err, want)
		}
	}
	if all, err := s.UsedByAll(ctx, today); err != nil || all != (account.UsedByAll{}) {
		t.Errorf("used by all: %+v, %v", all, err)
	}
	want(u, account.Used{})
	save(u, today, noon, 1)
	save(u, today, noon.Add(time.Second), 3)
	save(u, today, noon.Add(-time.Second), 2) // counted earlier, saved later
	save(u, today.Add(-24*time.Hour), noon, 7)
	save(u, today.Add(-24*time.Hour), noon, 8) // the same moment
	save(other, today, noon, 2)
	want(u, account.Used{Today: conversion.Use{Conversions: 3, Bytes: 30, Sound: 3.5, Stored: 300}, Stored: 1100})
	want(other, account.Used{Today: conversion.Use{Conversions: 2, Bytes: 20, Sound: 2.5, Stored: 200}, Stored: 200})
	all, err := s.UsedByAll(ctx, today)
	if want := (account.UsedByAll{
		Used:    account.Used{Today: conversion.Use{Conversions: 5, Bytes: 50, Sound: 6}, Stored: 1300},
		Largest: account.Used{Today: conversion.Use{Conversions: 3, Bytes: 30, Sound: 3.5}, Stored: 1100}, Users: 2,
	}); err != nil || all != want {
		t.Errorf("used by all: %+v, %v, want %+v", all, err, want)
	}

	// A count of a day long ago changes what is stored alone; days without records
	// have nothing stored.
	if err := s.SaveUsage(ctx, account.Usage{UserID: u.ID, Day: today, CountedAt: noon.Add(time.Minute), StoredOnly: true, Use: conversion.Use{Stored: 5}}); err != nil {
		t.Fatal(err)
	}
	want(u, account.Used{Today: conversion.Use{Conversions: 3, Bytes: 30, Sound: 3.5, Stored: 5}, Stored: 805})
	if err := s.ClearUsage(ctx, u.ID, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	want(u, account.Used{Today: conversion.Use{Conversions: 3, Bytes: 30, Sound: 3.5, Stored: 5}, Stored: 5})

	if _, err := s.Delete(ctx, u); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, u.ID); err != nil {
		t.Fatal(err)
	}
	want(u, account.Used{})
}
