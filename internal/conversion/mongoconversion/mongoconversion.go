// Package mongoconversion keeps conversions in MongoDB, one document each in
// the collection "conversions".
//
// The user of the URI needs find, insert, update and remove on that
// collection, and for [Store.Prepare] createIndex too; the role readWrite on
// the database has all of them. The store relies only on what MongoDB promises
// for single documents: a conditional replace and unique indexes. Writes are
// acknowledged by a majority.
package mongoconversion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"tonearm/internal/conversion"
)

const (
	// selectionTimeout bounds the search for a server that can be written to;
	// long enough for an election.
	selectionTimeout = 5 * time.Second
	// operationTimeout bounds every operation whose context has no deadline.
	operationTimeout = 30 * time.Second
)

// Store is a conversion.Store in a MongoDB database.
type Store struct {
	client      *mongo.Client
	conversions *mongo.Collection
}

var _ conversion.Store = (*Store)(nil)

// Open returns a store in the database, which it does not contact yet: a
// server that is down makes later calls fail, within 5 s. uri is a MongoDB
// connection string; its read preference, write concern and time-outs are
// overridden.
func Open(uri, database string) (*Store, error) {
	client, err := mongo.Connect(options.Client().ApplyURI(uri).
		SetAppName("tonearm").
		SetServerSelectionTimeout(selectionTimeout).
		SetTimeout(operationTimeout).
		SetReadPreference(readpref.Primary()).
		SetWriteConcern(writeconcern.Majority()))
	if err != nil {
		return nil, fmt.Errorf("open MongoDB database %s: %w", database, err)
	}
	return &Store{client: client, conversions: client.Database(database).Collection("conversions")}, nil
}

// indexes: every field under a unique one is always present, because MongoDB
// counts a missing field as null and two of them as equal.
var indexes = []struct {
	name   string
	unique bool
	keys   bson.D
}{
	{"idempotency_key", true, bson.D{{Key: "owner_id", Value: 1}, {Key: "idempotency_key", Value: 1}}},
	{"object", true, bson.D{{Key: "object.key", Value: 1}, {Key: "object.version", Value: 1}}},
	{"mp3_id", true, bson.D{{Key: "mp3.id", Value: 1}}},
	{"owner", false, bson.D{{Key: "owner_id", Value: 1}, {Key: "_id", Value: -1}}},
	{"wake_at", false, bson.D{{Key: "wake_at", Value: 1}}},
	{"state", false, bson.D{{Key: "state", Value: 1}, {Key: "_id", Value: 1}}},
	{"notice", false, bson.D{{Key: "notice.state", Value: 1}, {Key: "_id", Value: 1}}},
}

// Prepare makes the indexes. It may be called again, and by several processes
// at once.
func (s *Store) Prepare(ctx context.Context) error {
	for _, index := range indexes { // one by one: FerretDB fails on a list of existing ones
		model := mongo.IndexModel{Keys: index.keys, Options: options.Index().SetName(index.name)}
		if index.unique {
			model.Options.SetUnique(true)
		}
		if _, err := s.conversions.Indexes().CreateOne(ctx, model); err != nil {
			return fmt.Errorf("make index %s of %s: %w", index.name, s.conversions.Name(), err)
		}
	}
	return nil
}

// Ping reports whether the server answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.client.Ping(ctx, nil); err != nil {
		return fmt.Errorf("ping MongoDB: %w", err)
	}
	return nil
}

// Close ends all connections.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), selectionTimeout)
	defer cancel()
	if err := s.client.Disconnect(ctx); err != nil {
		return fmt.Errorf("close MongoDB connections: %w", err)
	}
	return nil
}

// Create adds c.
func (s *Store) Create(ctx context.Context, c conversion.Conversion) error {
	if _, err := s.conversions.InsertOne(ctx, c); err != nil {
		return fmt.Errorf("create conversion %s: %w", c.ID, known(err))
	}
	return nil
}

// known turns the driver's errors into those of the contract.
func known(err error) error {
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return conversion.ErrNotFound
	case mongo.IsDuplicateKeyError(err), duplicateOnFerretDB(err):
		// The server's message quotes the key, and that may hold an address.
		return conversion.ErrExists
	}
	return err
}

// duplicateOnFerretDB: FerretDB v1 has the code of duplicate keys for inserts
// only; a replace fails with the text of the SQLite beneath it.
func duplicateOnFerretDB(err error) bool {
	var command mongo.CommandError
	return errors.As(err, &command) && command.HasErrorMessage("UNIQUE constraint failed")
}

// ByID returns the conversion with this id.
func (s *Store) ByID(ctx context.Context, id string) (conversion.Conversion, error) {
	c, err := decode(s.one(ctx, bson.D{{Key: "_id", Value: id}}))
	if err != nil {
		return c, fmt.Errorf("conversion %s: %w", id, err)
	}
	return c, nil
}

// ByIdempotencyKey returns the conversion that the owner made under key.
func (s *Store) ByIdempotencyKey(ctx context.Context, ownerID, key string) (conversion.Conversion, error) {
	c, err := decode(s.one(ctx, bson.D{{Key: "owner_id", Value: ownerID}, {Key: "idempotency_key", Value: key}}))
	if err != nil {
		return c, fmt.Errorf("conversion of %s by idempotency key: %w", ownerID, err)
	}
	return c, nil
}

// ByObject returns the conversion of one version of a source.
func (s *Store) ByObject(ctx context.Context, key, version string) (conversion.Conversion, error) {
	c, err := decode(s.one(ctx, bson.D{{Key: "object.key", Value: key}, {Key: "object.version", Value: version}}))
	if err != nil {
		return c, fmt.Errorf("conversion by object: %w", err) // an inbox key holds an address
	}
	return c, nil
}

// ByMP3 returns the conversion with this MP3.
func (s *Store) ByMP3(ctx context.Context, mp3ID string) (conversion.Conversion, error) {
	c, err := decode(s.one(ctx, bson.D{{Key: "mp3.id", Value: mp3ID}}))
	if err != nil {
		return c, fmt.Errorf("conversion of MP3 %s: %w", mp3ID, err)
	}
	return c, nil
}

// one returns the document that filter selects.
func (s *Store) one(ctx context.Context, filter bson.D) (bson.Raw, error) {
	document, err := s.conversions.FindOne(ctx, filter).Raw()
	if err != nil {
		return nil, known(err)
	}
	return document, nil
}

// decode passes err on.
func decode(document bson.Raw, err error) (conversion.Conversion, error) {
	var c conversion.Conversion
	if err != nil {
		return c, err
	}
	if err := bson.Unmarshal(document, &c); err != nil {
		return conversion.Conversion{}, fmt.Errorf("decode document: %w", err)
	}
	return c, nil
}

// Update replaces the conversion with what change makes of it.
func (s *Store) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	for {
		document, err := s.one(ctx, bson.D{{Key: "_id", Value: id}})
		c, err := decode(document, err)
		if err != nil {
			return c, fmt.Errorf("conversion %s: %w", id, err)
		}
		revision := c.Revision
		if refusal := change(&c); refusal != nil {
			asRead, err := decode(document, nil) // change may have written to c
			if errors.Is(refusal, conversion.ErrUnchanged) {
				return asRead, err
			}
			return asRead, refusal
		}
		c.Revision = revision + 1
		result, err := s.conversions.ReplaceOne(ctx, at(id, revision), c)
		if err != nil {
			return c, fmt.Errorf("update conversion %s: %w", id, known(err))
		}
		if result.MatchedCount == 1 {
			return c, nil
		}
	}
}

// at selects the conversion at this revision.
func at(id string, revision int64) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "revision", Value: revision}}
}

// Settle empties the outbox of this revision.
func (s *Store) Settle(ctx context.Context, id string, revision int64, wakeAt time.Time) error {
	_, err := s.conversions.UpdateOne(ctx, at(id, revision), bson.D{{Key: "$set", Value: bson.D{
		{Key: "outbox", Value: bson.A{}}, {Key: "wake_at", Value: wakeAt},
	}}})
	if err != nil {
		return fmt.Errorf("settle conversion %s: %w", id, err)
	}
	return nil
}

// List returns a page of an owner's conversions.
func (s *Store) List(ctx context.Context, q conversion.Query) ([]conversion.Conversion, error) {
	states := bson.D{{Key: "$ne", Value: conversion.Deleted}}
	if len(q.States) > 0 {
		states = append(states, bson.E{Key: "$in", Value: q.States})
	}
	filter := bson.D{{Key: "owner_id", Value: q.OwnerID}, {Key: "state", Value: states}}
	if q.Before != "" {
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$lt", Value: q.Before}}})
	}
	found, err := s.many(ctx, filter, bson.D{{Key: "_id", Value: -1}}, q.Limit)
	if err != nil {
		return nil, fmt.Errorf("list conversions of %s: %w", q.OwnerID, err)
	}
	return found, nil
}

// Due returns the conversions that somebody has to look at.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	filter := bson.D{{Key: "wake_at", Value: bson.D{{Key: "$gt", Value: time.Time{}}, {Key: "$lte", Value: now}}}}
	found, err := s.many(ctx, filter, bson.D{{Key: "wake_at", Value: 1}}, limit)
	if err != nil {
		return nil, fmt.Errorf("due conversions: %w", err)
	}
	return found, nil
}

// Owing returns the conversions that owe work or a notice.
func (s *Store) Owing(ctx context.Context, after string, limit int) ([]conversion.Conversion, error) {
	filter := bson.D{
		{Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}},
		{Key: "$or", Value: bson.A{
			bson.D{{Key: "state", Value: conversion.Queued}},
			bson.D{{Key: "notice.state", Value: conversion.NoticeOwed}},
			bson.D{{Key: "notice.state", Value: conversion.NoticeSending}},
		}},
	}
	found, err := s.many(ctx, filter, bson.D{{Key: "_id", Value: 1}}, limit)
	if err != nil {
		return nil, fmt.Errorf("owing conversions: %w", err)
	}
	return found, nil
}

func (s *Store) many(ctx context.Context, filter, sort bson.D, limit int) ([]conversion.Conversion, error) {
	cursor, err := s.conversions.Find(ctx, filter, options.Find().SetSort(sort).SetLimit(int64(limit)))
	if err != nil {
		return nil, err
	}
	var found []conversion.Conversion
	if err := cursor.All(ctx, &found); err != nil {
		return nil, err
	}
	return found, nil
}

// Purge removes a tombstone.
func (s *Store) Purge(ctx context.Context, id string) error {
	filter := bson.D{{Key: "_id", Value: id}, {Key: "state", Value: conversion.Deleted}}
	if _, err := s.conversions.DeleteOne(ctx, filter); err != nil {
		return fmt.Errorf("purge conversion %s: %w", id, err)
	}
	return nil
}
