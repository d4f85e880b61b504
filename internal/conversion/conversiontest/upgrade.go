package conversiontest

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"tonearm/internal/conversion"
)

// future is a field that Conversion does not have, in any of its objects.
const future = "of_a_later_version"

// step is one transition of a conversion, with the name of its method.
type step struct {
	method string
	do     func(*conversion.Conversion) error
}

const nonce = "nonce"

// unknownFields walks conversions through every transition. After each of them
// the fields that another version added must still be there, unless the object
// that held them is gone.
func (s *suite) unknownFields() { //nolint:funlen // most of it is lists of steps
	now, policy := epoch, conversion.DefaultPolicy
	type c = *conversion.Conversion
	failure := conversion.Failure{Code: conversion.CodeCrashed, Message: "It crashed."}
	carrier := conversion.Carrier{Launch: conversion.AttemptRef{ConversionID: "first", Attempt: 1}, Files: 2, Until: now.Add(time.Hour)}
	uploaded := func(c c) error {
		return c.Uploaded(conversion.Object{Version: "etag", ETag: "etag", Size: 100}, now)
	}
	claimNotice := func(c c) error { return c.ClaimNotice(5, time.Minute, now) }
	converted := []step{
		{"PlanParts", func(c c) error { return c.PlanParts("multipart", 50, now) }},
		{"RestartUpload", func(c c) error { return c.RestartUpload("multipart", "another", now) }},
		{"Look", func(c c) error { return c.Look(now) }},
		{"Uploaded", uploaded},
		{"FallBack", func(c c) error { return c.FallBack(conversion.FallbackOff, now) }},
		{"Begin", func(c c) error { return c.Begin(1, policy, now) }},
		{"Postpone", func(c c) error { return c.Postpone(1, now) }},
		{"Begin", func(c c) error { return c.Begin(1, policy, now) }},
		{"Relaunch", func(c c) error { return c.Relaunch(1, now) }},
		{"Await", func(c c) error { return c.Await(1, conversion.WaitNode, policy, now) }},
		{"Extend", func(c c) error { return c.Extend(1, policy, now) }},
		{"Adopt", func(c c) error { return c.Adopt(1, "another launch", now) }},
		{"Claim", func(c c) error { return c.Claim(1, nonce, policy, now) }},
		{"Report", func(c c) error { return c.Report(1, nonce, conversion.Progress{DoneSeconds: 1}, policy, now) }},
		{"FailAttempt", func(c c) error { return c.FailAttempt(1, failure, conversion.Counted, policy, now) }},
		{"Republish", func(c c) error { return c.Republish(now) }},
		{"BeginCarried", func(c c) error { return c.BeginCarried(2, nonce, carrier, policy, now) }},
		{"FailStart", func(c c) error { return c.FailStart(2, failure, policy, now) }},
		{"BeginCarried", func(c c) error { return c.BeginCarried(3, nonce, carrier, policy, now) }},
		{"HandBack", func(c c) error { return c.HandBack(3, conversion.FaultDisk, failure, policy, now) }},
		{"BeginCarried", func(c c) error { return c.BeginCarried(4, nonce, carrier, policy, now) }},
		{"GiveUp", func(c c) error { return c.GiveUp(4, failure, policy, now) }},
		{"BeginCarried", func(c c) error { return c.BeginCarried(5, nonce, carrier, policy, now) }},
		{"Complete", func(c c) error {
			mp3 := conversion.MP3{Size: 100, Loudness: &conversion.Levels{IntegratedLUFS: -16}}
			err := c.Complete(5, nonce, conversion.Source{Codec: "aac"}, mp3, policy, now)
			c.Retain(time.Hour)
			return err
		}},
		{"Settle", nil},
		{"Readdress", func(c c) error {
			return c.Readdress(conversion.Addressee{Email: "new@example.org", Language: "de"}, now)
		}},
		{"PassOn", func(c c) error {
			return c.PassOn(5, nonce, conversion.AttemptRef{ConversionID: "next", Attempt: 1}, now)
		}},
		{"ClaimNotice", claimNotice},
		{"NoticeFailed", func(c c) error { return c.NoticeFailed(5, "451", true, 0, now) }},
		{"ClaimNotice", claimNotice},
		{"RenewNotice", func(c c) error { return c.RenewNotice(5, 2, time.Hour, now) }},
		{"NoticeDelivered", func(c c) error { return c.NoticeDelivered(5, now) }},
		{"Cleaned", func(c c) error { return c.Cleaned(time.Time{}, time.Hour, now) }},
		{"SourceRemoved", func(c c) error { return c.SourceRemoved(now) }},
		{"MP3Removed", func(c c) error { return c.MP3Removed(now) }},
		{"Delete", func(c c) error { return c.Delete(now) }},
	}
	retry := step{"Retry", func(c c) error { return c.Retry(time.Hour, now) }}
	ended := []step{
		{"Expire", func(c c) error { return c.Expire(now.Add(48 * time.Hour)) }},
		retry,
		{"Uploaded", uploaded},
		{"Cancel", func(c c) error { return c.Cancel(now) }},
		retry,
		{"Reject", func(c c) error { return c.Reject(failure, now) }},
		{"KeepSource", func(c c) error { return c.KeepSource(time.Hour, now) }},
	}
	walked := map[string]bool{}
	for _, steps := range [][]step{converted, ended, redone(uploaded), refused()} {
		c := s.add("u1", func(c *conversion.Conversion) {
			c.Object.Size = 100
			c.Class, c.Options.Cover = conversion.GPU, conversion.CoverPoster
			c.Options.Loudness = &conversion.Loudness{TargetLUFS: -16}
			c.Options.Tags = &conversion.Tags{Title: "A title"}
		})
		planted := map[string]bool{}
		for _, step := range steps {
			walked[step.method] = true
			s.plant(c, planted)
			c = s.take(c, step)
			s.stored(c)
			s.kept(step.method, c, planted)
		}
	}
	for name := range transitions() {
		if !walked[name] {
			s.Errorf("no step of this test calls %s", name)
		}
	}
}

// refused is the life of a conversion whose upload is not accepted.
func refused() []step {
	return []step{
		{"RejectUpload", func(c *conversion.Conversion) error {
			return c.RejectUpload(conversion.Object{Version: "etag", ETag: "etag", Size: 100},
				conversion.Failure{Code: conversion.CodeSizeMismatch, Message: "It is another file."}, epoch)
		}},
	}
}

// redone is the life of a conversion whose MP3 is lost.
func redone(uploaded func(*conversion.Conversion) error) []step {
	type c = *conversion.Conversion
	now, policy := epoch, conversion.DefaultPolicy
	return []step{
		{"Uploaded", uploaded},
		{"Begin", func(c c) error { return c.Begin(1, policy, now) }},
		{"Claim", func(c c) error { return c.Claim(1, nonce, policy, now) }},
		{"Complete", func(c c) error {
			return c.Complete(1, nonce, conversion.Source{Codec: "aac"}, conversion.MP3{Size: 100}, policy, now)
		}},
		{"Redo", func(c c) error { return c.Redo(now) }},
	}
}

// take writes one transition and returns the record after it.
func (s *suite) take(c conversion.Conversion, step step) conversion.Conversion {
	s.Helper()
	if step.do == nil {
		s.want("settle", s.store.Settle(s.Context(), c.ID, c.Revision, epoch.Add(time.Hour)), nil)
		c.Outbox, c.WakeAt = []conversion.Message{}, epoch.Add(time.Hour)
		return c
	}
	written, err := s.store.Update(s.Context(), c.ID, step.do)
	if err != nil || written.Revision != c.Revision+1 {
		s.Fatalf("%s from %s: revision %d after %d, %v", step.method, c.State, written.Revision, c.Revision, err)
	}
	return written
}

// plant puts a field that nobody knows into every object of the record.
func (s *suite) plant(c conversion.Conversion, planted map[string]bool) {
	s.Helper()
	for path := range objects(reflect.ValueOf(c), "") {
		if !planted[path] {
			s.want("plant "+path, s.raw.Set(s.Context(), c.ID, path+future, "kept in "+path), nil)
			planted[path] = true
		}
	}
}

// kept checks that every planted field is there, or gone together with its
// object.
func (s *suite) kept(after string, c conversion.Conversion, planted map[string]bool) {
	s.Helper()
	there := objects(reflect.ValueOf(c), "")
	for path := range maps.Clone(planted) {
		want := ""
		if there[path] {
			want = "kept in " + path
		} else {
			delete(planted, path)
		}
		if got, err := s.raw.Text(s.Context(), c.ID, path+future); err != nil || got != want {
			s.Errorf("after %s: %s%s is %q, %v; want %q", after, path, future, got, err, want)
		}
	}
}

// objects returns the paths of all objects in a record. Each path ends with a
// dot; the empty path is the record itself.
func objects(v reflect.Value, path string) map[string]bool {
	all := map[string]bool{path: true}
	for i := range v.NumField() {
		field := reflect.Indirect(v.Field(i))
		if field.Kind() != reflect.Struct || field.Type() == reflect.TypeFor[time.Time]() {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		maps.Copy(all, objects(field, path+name+"."))
	}
	return all
}

// transitions returns the names of the methods that change a conversion: they
// have a pointer receiver and return an error alone. Settle is the store's.
func transitions() map[string]bool {
	names := map[string]bool{"Settle": true}
	pointer, value := reflect.TypeFor[*conversion.Conversion](), reflect.TypeFor[conversion.Conversion]()
	for i := range pointer.NumMethod() {
		m := pointer.Method(i)
		_, ofValue := value.MethodByName(m.Name)
		if !ofValue && m.Type.NumOut() == 1 && m.Type.Out(0) == reflect.TypeFor[error]() {
			names[m.Name] = true
		}
	}
	return names
}

// settledMeanwhile: Settle does not raise the revision, so it may come between
// the reading and the writing of an update. The update's values win.
func (s *suite) settledMeanwhile() {
	c := s.add("u1", func(c *conversion.Conversion) {
		c.Outbox = []conversion.Message{{Kind: conversion.Stop, Attempt: 1}}
	})
	got, err := s.store.Update(s.Context(), c.ID, func(c *conversion.Conversion) error {
		c.Filename = "other.mp4"
		return s.store.Settle(s.Context(), c.ID, c.Revision, time.Time{})
	})
	s.want("update", err, nil)
	c.Filename, c.Revision = "other.mp4", c.Revision+1
	s.same(got, c)
	s.stored(c)
}

// newerFormat: a record of a newer format can be read and listed, and nothing
// else.
func (s *suite) newerFormat() {
	ctx := s.Context()
	add := func(format int) conversion.Conversion {
		c := s.add("u1", func(c *conversion.Conversion) {
			c.State, c.WakeAt, c.Format = conversion.Queued, epoch, 0
			c.Outbox = []conversion.Message{{Kind: conversion.Work, Attempt: 1}}
		})
		if c.Format = format; format > 0 {
			s.want("set the format", s.raw.Set(ctx, c.ID, "format", format), nil)
		}
		return c
	}
	absent, present, newer := add(0), add(conversion.Format), add(conversion.Format+1)
	s.stored(newer)
	listed, err := s.store.List(ctx, conversion.Query{OwnerID: "u1", Limit: 10})
	s.want("list", err, nil)
	s.ids(listed, newer.ID, present.ID, absent.ID)

	s.ids(s.dueIDs(epoch, 10), absent.ID, present.ID)
	owing, err := s.store.Owing(ctx, "", 10)
	s.want("owing", err, nil)
	s.ids(owing, absent.ID, present.ID)

	got, err := s.store.Update(ctx, newer.ID, func(*conversion.Conversion) error {
		return errors.New("change was called")
	})
	s.want("update", err, conversion.ErrNewerFormat)
	s.same(got, newer)
	s.want("settle", s.store.Settle(ctx, newer.ID, newer.Revision, time.Time{}), nil)
	s.stored(newer)

	for _, c := range []conversion.Conversion{absent, present} {
		c, err := s.store.Update(ctx, c.ID, func(c *conversion.Conversion) error { return c.Delete(epoch) })
		s.want("update", err, nil)
		s.stored(c)
	}
	gone := s.add("u1", func(c *conversion.Conversion) { c.State, c.Format = conversion.Deleted, conversion.Format+1 })
	s.want("purge", s.store.Purge(ctx, gone.ID), nil)
	s.stored(gone)
}

// owingPages: one list holds what owes work and what owes a notice, in pages.
func (s *suite) owingPages() {
	var want []string
	for i := range 9 {
		want = append(want, s.add("u1", func(c *conversion.Conversion) {
			if i%3 == 0 {
				c.State = conversion.Queued
			} else {
				c.State, c.Notice.State = conversion.Done, conversion.NoticeOwed
			}
		}).ID)
	}
	var got []string
	for after := ""; ; after = got[len(got)-1] {
		page, err := s.store.Owing(s.Context(), after, 2)
		s.want("owing", err, nil)
		for _, c := range page {
			got = append(got, c.ID)
		}
		if len(page) < 2 {
			break
		}
	}
	if !slices.Equal(got, want) {
		s.Errorf("in pages %v, want %v", got, want)
	}
}
