package mongoconversion

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"tonearm/internal/conversion"
)

// TestPlans checks that MongoDB finds the documents of every query through the
// index that is meant for it, in the right order.
func TestPlans(t *testing.T) {
	uri := os.Getenv("TONEARM_TEST_MONGO_URI")
	if uri == "" {
		t.Skip("TONEARM_TEST_MONGO_URI is not set")
	}
	s, err := Open(uri, "tonearm_test_"+uuid.NewString(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	conversions, err := s.collection(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conversions.Database().Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	var documents []any
	for i := range 1000 {
		c, err := conversion.New(conversion.Params{OwnerID: fmt.Sprint("u", i%10), OwnerEmail: "a@example.org", Filename: "f.mp4"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c.State, c.WakeAt, c.Notice.State = conversion.Done, time.Time{}, conversion.NoticeSent
		switch i % 100 {
		case 0:
			c.State, c.WakeAt = conversion.Queued, time.Now()
		case 1:
			c.Notice.State, c.WakeAt = conversion.NoticeOwed, time.Now()
		}
		documents = append(documents, c)
	}
	if _, err := conversions.InsertMany(t.Context(), documents); err != nil {
		t.Fatal(err)
	}
	page := conversion.Query{OwnerID: "u1", Before: conversion.NewID()}
	ofStates := conversion.Query{OwnerID: "u1", States: []conversion.State{conversion.Queued, conversion.Failed}}
	for name, tt := range map[string]struct {
		query
		index string
	}{
		"by id":              {query{filter: byID("x")}, "_id_"},
		"by ids":             {query{filter: byIDs([]string{"x", "y"})}, "_id_"},
		"at":                 {query{filter: at("x", 1)}, "_id_"},
		"by idempotency key": {query{filter: byIdempotencyKey("u1", "x")}, "idempotency_key"},
		"by object":          {query{filter: byObject("x", "")}, "object_owner"},
		"by MP3":             {query{filter: byMP3("x")}, "mp3_owner"},
		"list":               {list(conversion.Query{OwnerID: "u1"}), "owner"},
		"list a later page":  {list(page), "owner"},
		"list states":        {list(ofStates), "owner_state"},
		"made":               {query{filter: made("u1", time.Now().Add(-time.Hour), time.Now())}, "owner"},
		"made since":         {query{filter: madeSince(time.Now())}, "_id_"},
		"in state":           {query{filter: inState("u1", conversion.Queued)}, "owner_state"},
		"due":                {due(time.Now()), "due"},
		"lapsed":             {lapsed(time.Now()), "lapsed"},
		"owing work":         {owingWork(""), "queued"},
		"owing a notice":     {owingNotice(""), "owed_notice"},
	} {
		find := bson.D{{Key: "find", Value: conversions.Name()}, {Key: "filter", Value: tt.filter}, {Key: "limit", Value: 100}}
		if tt.sort != nil {
			find = append(find, bson.E{Key: "sort", Value: tt.sort})
		}
		answer, err := conversions.Database().RunCommand(t.Context(), bson.D{{Key: "explain", Value: find}, {Key: "verbosity", Value: "queryPlanner"}}).Raw()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		stages, indexes := planOf(answer.Lookup("queryPlanner", "winningPlan"))
		if slices.Contains(stages, "COLLSCAN") || slices.Contains(stages, "SORT") || !slices.Contains(indexes, tt.index) && !slices.Contains(stages, "IDHACK") {
			t.Errorf("%s: stages %q with indexes %q, want index %s", name, stages, indexes, tt.index)
		}
	}
}

// planOf returns the names of all stages and indexes in a plan.
func planOf(plan bson.RawValue) (stages, indexes []string) {
	var children []bson.RawElement
	if document, ok := plan.DocumentOK(); ok {
		children, _ = document.Elements()
	} else if array, ok := plan.ArrayOK(); ok {
		children, _ = bson.Raw(array).Elements()
	}
	for _, e := range children {
		if text, ok := e.Value().StringValueOK(); ok && e.Key() == "stage" {
			stages = append(stages, text)
		} else if ok && e.Key() == "indexName" {
			indexes = append(indexes, text)
		}
		s, i := planOf(e.Value())
		stages, indexes = append(stages, s...), append(indexes, i...)
	}
	return stages, indexes
}
