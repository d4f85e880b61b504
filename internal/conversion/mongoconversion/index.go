package mongoconversion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"tonearm/internal/conversion"
)

// index is one index of the collection. If the keys of an index change, it gets
// another name, and its old name goes to replaced: an older version that starts
// beside this one makes its own indexes, under its own names. For the same
// reason no two versions may have indexes with the same keys and different
// filters, which the server may refuse. That is why some keys here descend.
type index struct {
	name   string
	unique bool
	keys   bson.D
	filter bson.D // of a partial index; only a query that implies it can use the index
}

// indexes are those that the queries of this package need. Unique ones begin
// with the owner, so that the collection can be sharded by owner. Every field
// under a unique one is always present, because MongoDB counts a missing field
// as null and two of them as equal.
var indexes = []index{
	{name: "idempotency_key", unique: true, keys: bson.D{{Key: "owner_id", Value: 1}, {Key: "idempotency_key", Value: 1}}},
	{name: "owner_object", unique: true, keys: bson.D{{Key: "owner_id", Value: 1}, {Key: "object.key", Value: 1}, {Key: "object.version", Value: 1}}},
	{name: "owner_mp3", unique: true, keys: bson.D{{Key: "owner_id", Value: 1}, {Key: "mp3.id", Value: 1}}},
	{name: "owner", keys: bson.D{{Key: "owner_id", Value: 1}, {Key: "_id", Value: -1}}},
	{name: "owner_state", keys: bson.D{{Key: "owner_id", Value: 1}, {Key: "state", Value: 1}, {Key: "_id", Value: -1}}},
	{name: "object_owner", keys: bson.D{{Key: "object.key", Value: 1}, {Key: "object.version", Value: 1}, {Key: "owner_id", Value: 1}}},
	{name: "mp3_owner", keys: bson.D{{Key: "mp3.id", Value: 1}, {Key: "owner_id", Value: 1}}},
	{
		name: "due", keys: bson.D{{Key: "wake_at", Value: 1}, {Key: "_id", Value: 1}},
		filter: bson.D{{Key: "wake_at", Value: bson.D{{Key: "$gt", Value: time.Time{}}}}},
	},
	{
		name: "lapsed", keys: bson.D{{Key: "state", Value: 1}, {Key: "wake_at", Value: 1}},
		filter: bson.D{{Key: "state", Value: conversion.Running}},
	},
	{
		name: "queued", keys: bson.D{{Key: "state", Value: -1}, {Key: "_id", Value: 1}},
		filter: bson.D{{Key: "state", Value: conversion.Queued}},
	},
	{
		// A range, because servers before 6.0 do not allow $in here. Besides
		// the two states it holds only "refused", which is rare.
		name: "owed_notice", keys: bson.D{{Key: "notice.state", Value: -1}, {Key: "_id", Value: 1}},
		filter: bson.D{{Key: "notice.state", Value: bson.D{
			{Key: "$gte", Value: conversion.NoticeOwed}, {Key: "$lte", Value: conversion.NoticeSending},
		}}},
	},
}

// replaced are indexes of earlier versions. They are dropped once those above
// are ready.
var replaced = []string{"object", "mp3_id", "wake_at", "state", "notice"}

const (
	listTimeout = 10 * time.Second
	// buildTimeout is long. Without it the client's default would apply.
	buildTimeout = 20 * 24 * time.Hour
	buildReport  = 10 * time.Second // between two log lines about a build
)

// Prepare builds the indexes that are missing, however long that takes, and then
// drops those that they replace. It may be called again, and by several
// processes at once: the server builds an index once, and all of them wait for
// it.
func (s *Store) Prepare(ctx context.Context) error {
	conversions, err := s.collection(ctx)
	if err != nil {
		return fmt.Errorf("prepare MongoDB: %w", err)
	}
	listing, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	there, err := conversions.Indexes().ListSpecifications(listing)
	if err != nil {
		return fmt.Errorf("list indexes of %s: %w", conversions.Name(), err)
	}
	exists := func(name string) bool {
		return slices.ContainsFunc(there, func(i mongo.IndexSpecification) bool { return i.Name == name })
	}
	// One by one, because FerretDB fails on a list with indexes that exist.
	// Existing indexes are in the list too, because they may still be under
	// construction.
	for _, i := range indexes {
		ask := func(ctx context.Context) error { return create(ctx, conversions, i) }
		count := func(ctx context.Context) (int64, error) { return conversions.EstimatedDocumentCount(ctx) }
		if err := build(ctx, s.log.With("index", i.name), exists(i.name), ask, count); err != nil {
			return fmt.Errorf("make index %s of %s: %w", i.name, conversions.Name(), err)
		}
	}
	for _, name := range replaced {
		if !exists(name) {
			continue
		}
		if err := conversions.Indexes().DropOne(ctx, name); err != nil && !hasCode(err, codeIndexNotFound) {
			return fmt.Errorf("drop index %s of %s: %w", name, conversions.Name(), err)
		}
		s.log.Info("replaced index dropped", "index", name)
	}
	return nil
}

// build makes one index and returns once it can be used. The log says meanwhile
// how long that takes and how many documents there are.
func build(ctx context.Context, log *slog.Logger, exists bool, create func(context.Context) error, count func(context.Context) (int64, error)) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- create(ctx) }()
	report := time.NewTicker(buildReport)
	defer report.Stop()
	for {
		select {
		case err := <-done:
			if took := time.Since(began); err == nil && (!exists || took > buildReport) {
				log.Info("index built", "seconds", took.Seconds())
			}
			return err
		case <-report.C:
			counting, cancel := context.WithTimeout(ctx, buildReport/2)
			n, err := count(counting)
			cancel()
			if err != nil {
				n = -1 // not known
			}
			log.Info("building index", "seconds", time.Since(began).Seconds(), "documents", n)
		}
	}
}

// Codes of the server's errors.
const (
	codeIndexNotFound  = 27
	codeOverQuota      = 8000 // Atlas, where a cluster has reached its size
	codeOutOfDiskSpace = 14031
	codeNotImplemented = 238
)

// create asks for the index. A server without partial indexes gets a full one.
func create(ctx context.Context, conversions *mongo.Collection, i index) error {
	model := mongo.IndexModel{Keys: i.keys, Options: options.Index().SetName(i.name)}
	if i.unique {
		model.Options.SetUnique(true)
	}
	if i.filter != nil {
		model.Options.SetPartialFilterExpression(i.filter)
	}
	_, err := conversions.Indexes().CreateOne(ctx, model)
	if i.filter != nil && hasCode(err, codeNotImplemented) {
		model.Options = options.Index().SetName(i.name)
		_, err = conversions.Indexes().CreateOne(ctx, model)
	}
	return err
}

func hasCode(err error, code int) bool {
	var answer mongo.ServerError
	return errors.As(err, &answer) && answer.HasErrorCode(code)
}
