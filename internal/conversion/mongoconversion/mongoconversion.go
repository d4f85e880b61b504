// Package mongoconversion keeps conversions in MongoDB, one document each in
// the collection "conversions".
//
// The user of the URI needs find, insert, update and remove on that collection,
// and for [Store.Prepare] also listIndexes, createIndex and dropIndex; for
// [Store.Lease], find, insert, update and remove on the collection "leases". The
// role readWrite on the database has all of them. The store relies only on what
// MongoDB promises for single documents: a conditional update and unique
// indexes. Writes are acknowledged by a majority, and only what a majority
// acknowledged is read.
package mongoconversion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"tonearm/internal/conversion"
)

const (
	// selectionTimeout bounds the search for a server that can be written to;
	// longer than an election, which takes up to 12 s.
	selectionTimeout = 20 * time.Second
	// operationTimeout bounds every operation whose context has no deadline.
	operationTimeout = 30 * time.Second
	closeTimeout     = 5 * time.Second
)

// Store is a conversion.Store in a MongoDB database.
type Store struct {
	uri      string
	database string
	log      *slog.Logger

	mu         sync.Mutex
	connection *connection // nil before the first use
}

// connection is a try to make a client.
type connection struct {
	done   chan struct{} // closed once the others are set
	client *mongo.Client
	err    error
}

var _ conversion.Store = (*Store)(nil)

// Open returns a store in the database, which it does not contact yet: while
// the server is down, later calls fail within 20 s. uri is a MongoDB connection
// string; its read preference, read and write concern and time-outs are
// overridden. The name in a mongodb+srv URI is looked up by the first call that
// needs it, and again by later calls until that works.
func Open(uri, database string, log *slog.Logger) (*Store, error) {
	s := &Store{uri: uri, database: database, log: log}
	if !strings.HasPrefix(uri, "mongodb+srv://") {
		if err := options.Client().ApplyURI(uri).Validate(); err != nil {
			return nil, fmt.Errorf("open MongoDB database %s: %w", database, err)
		}
	}
	return s, nil
}

// collection returns the conversions' collection, over the one client.
func (s *Store) collection(ctx context.Context) (*mongo.Collection, error) {
	s.mu.Lock()
	c := s.connection
	if c == nil || c.failed() {
		c = &connection{done: make(chan struct{})}
		s.connection = c
		go func() { // a name lookup does not end with the context
			defer close(c.done)
			c.client, c.err = connect(s.uri)
		}()
	}
	s.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.err != nil {
		return nil, fmt.Errorf("connect to MongoDB: %w", c.err)
	}
	return c.client.Database(s.database).Collection("conversions"), nil
}

// failed reports whether the try is over without a client.
func (c *connection) failed() bool {
	select {
	case <-c.done:
		return c.err != nil
	default:
		return false
	}
}

// connect makes a client. It uses the network for DNS at most.
func connect(uri string) (*mongo.Client, error) {
	return mongo.Connect(options.Client().ApplyURI(uri).
		SetAppName("tonearm").
		SetServerSelectionTimeout(selectionTimeout).
		SetTimeout(operationTimeout).
		SetReadPreference(readpref.Primary()).
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()))
}

// Ping reports whether the server answers.
func (s *Store) Ping(ctx context.Context) error {
	conversions, err := s.collection(ctx)
	if err == nil {
		err = conversions.Database().Client().Ping(ctx, nil)
	}
	if err != nil {
		return fmt.Errorf("ping MongoDB: %w", err)
	}
	return nil
}

// Now asks the primary for its time.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	conversions, err := s.collection(ctx)
	if err == nil {
		err = conversions.Database().RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello)
	}
	if err == nil && hello.LocalTime.IsZero() {
		err = errors.New("the server does not say it")
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("time of MongoDB: %w", err)
	}
	return hello.LocalTime, nil
}

// Close ends all connections.
func (s *Store) Close() error {
	s.mu.Lock()
	c := s.connection
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	<-c.done
	if c.err != nil {
		return nil // there is no client
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := c.client.Disconnect(ctx); err != nil {
		return fmt.Errorf("close MongoDB connections: %w", err)
	}
	return nil
}

// Create adds c.
func (s *Store) Create(ctx context.Context, c conversion.Conversion) error {
	conversions, err := s.collection(ctx)
	if err == nil {
		_, err = conversions.InsertOne(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("create conversion %s: %w", c.ID, contractError(err))
	}
	return nil
}

// contractError turns the driver's errors into those of the contract.
func contractError(err error) error {
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return conversion.ErrNotFound
	case mongo.IsDuplicateKeyError(err), duplicateOnFerretDB(err):
		// The server's message quotes the key, and that may hold an address.
		return conversion.ErrExists
	case hasCode(err, codeOutOfDiskSpace), hasCode(err, codeOverQuota):
		return fmt.Errorf("%w: %w", conversion.ErrFull, err)
	}
	return err
}

// duplicateOnFerretDB recognizes a duplicate key on FerretDB v1. Only its
// inserts fail with the code for that; an update fails with the text of the
// SQLite beneath it.
func duplicateOnFerretDB(err error) bool {
	var answer mongo.ServerError
	return errors.As(err, &answer) && answer.HasErrorMessage("UNIQUE constraint failed")
}

// ByID returns the conversion with this id.
func (s *Store) ByID(ctx context.Context, id string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, byID(id))
	if err != nil {
		return c, fmt.Errorf("conversion %s: %w", id, err)
	}
	return c, nil
}

// ByIDs returns the conversions with these ids.
func (s *Store) ByIDs(ctx context.Context, ids []string) ([]conversion.Conversion, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := s.many(ctx, query{filter: byIDs(ids)}, len(ids))
	if err != nil {
		return nil, fmt.Errorf("conversions by id: %w", err)
	}
	return found, nil
}

// ByIdempotencyKey returns the conversion that the owner made under key.
func (s *Store) ByIdempotencyKey(ctx context.Context, ownerID, key string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, byIdempotencyKey(ownerID, key))
	if err != nil {
		return c, fmt.Errorf("conversion of %s by idempotency key: %w", ownerID, err)
	}
	return c, nil
}

// ByObject returns the conversion of one version of a source.
func (s *Store) ByObject(ctx context.Context, key, version string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, byObject(key, version))
	if err != nil {
		return c, fmt.Errorf("conversion by object: %w", err) // an inbox key holds an address
	}
	return c, nil
}

// ByMP3 returns the conversion with this MP3.
func (s *Store) ByMP3(ctx context.Context, mp3ID string) (conversion.Conversion, error) {
	c, err := s.oneDecoded(ctx, byMP3(mp3ID))
	if err != nil {
		return c, fmt.Errorf("conversion of MP3 %s: %w", mp3ID, err)
	}
	return c, nil
}

// one returns the document that filter selects.
func (s *Store) one(ctx context.Context, filter bson.D) (document, error) {
	conversions, err := s.collection(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := conversions.FindOne(ctx, filter).Raw()
	return document(raw), contractError(err)
}

func (s *Store) oneDecoded(ctx context.Context, filter bson.D) (conversion.Conversion, error) {
	d, err := s.one(ctx, filter)
	if err != nil {
		return conversion.Conversion{}, err
	}
	return d.Decode()
}

// Update writes what change makes of the conversion.
func (s *Store) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	return conversion.UpdateDocument(id, change,
		func() (document, error) { return s.one(ctx, byID(id)) },
		func(stored document, before, after conversion.Conversion) (bool, error) {
			update, err := updateOf(stored, before, after)
			if err != nil {
				return false, err
			}
			conversions, err := s.collection(ctx)
			if err != nil {
				return false, err
			}
			result, err := conversions.UpdateOne(ctx, at(id, before.Revision), update)
			if err != nil {
				return false, contractError(err)
			}
			return result.MatchedCount == 1, nil
		})
}

// Settle empties the outbox of this revision.
func (s *Store) Settle(ctx context.Context, id string, revision int64, wakeAt time.Time) error {
	conversions, err := s.collection(ctx)
	if err == nil {
		_, err = conversions.UpdateOne(ctx, append(at(id, revision), knownFormat), bson.D{{Key: "$set", Value: bson.D{
			{Key: "outbox", Value: bson.A{}}, {Key: "wake_at", Value: wakeAt},
		}}})
	}
	if err != nil {
		return fmt.Errorf("settle conversion %s: %w", id, err)
	}
	return nil
}

// List returns a page of an owner's conversions.
func (s *Store) List(ctx context.Context, q conversion.Query) ([]conversion.Conversion, error) {
	found, err := s.many(ctx, list(q), q.Limit)
	if err != nil {
		return nil, fmt.Errorf("list conversions of %s: %w", q.OwnerID, err)
	}
	return found, nil
}

// Uses returns what an owner's conversions take. The server sends only the fields
// that count.
func (s *Store) Uses(ctx context.Context, ownerID string, from, to time.Time) (conversion.Uses, error) {
	uses := conversion.Uses{}
	conversions, err := s.collection(ctx)
	if err != nil {
		return nil, fmt.Errorf("use of %s: %w", ownerID, err)
	}
	cursor, err := conversions.Find(ctx, made(ownerID, from, to), options.Find().SetProjection(held))
	if err != nil {
		return nil, fmt.Errorf("use of %s: %w", ownerID, err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	for cursor.Next(ctx) {
		var c conversion.Conversion
		if err := cursor.Decode(&c); err != nil {
			return nil, fmt.Errorf("use of %s: %w", ownerID, err)
		}
		uses.Add(c.Holding())
	}
	if err := cursor.Err(); err != nil {
		return nil, fmt.Errorf("use of %s: %w", ownerID, err)
	}
	return uses, nil
}

// Unfinished counts the owner's conversions that have not ended, from the index
// alone.
func (s *Store) Unfinished(ctx context.Context, ownerID string) (map[conversion.State]int64, error) {
	conversions, err := s.collection(ctx)
	if err != nil {
		return nil, fmt.Errorf("count conversions of %s: %w", ownerID, err)
	}
	counts := map[conversion.State]int64{}
	for _, state := range conversion.Unfinished {
		if counts[state], err = conversions.CountDocuments(ctx, inState(ownerID, state)); err != nil {
			return nil, fmt.Errorf("count conversions of %s: %w", ownerID, err)
		}
	}
	return counts, nil
}

// Owners returns the owners of the conversions that were made since then.
func (s *Store) Owners(ctx context.Context, since time.Time) (owners []string, err error) {
	conversions, err := s.collection(ctx)
	if err != nil {
		return nil, fmt.Errorf("owners of conversions: %w", err)
	}
	cursor, err := conversions.Find(ctx, madeSince(since), options.Find().SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "owner_id", Value: 1}}))
	if err != nil {
		return nil, fmt.Errorf("owners of conversions: %w", err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	known := map[string]bool{}
	for cursor.Next(ctx) {
		owner, _ := cursor.Current.Lookup("owner_id").StringValueOK()
		if !known[owner] {
			known[owner], owners = true, append(owners, owner)
		}
	}
	if err := cursor.Err(); err != nil {
		return nil, fmt.Errorf("owners of conversions: %w", err)
	}
	return owners, nil
}

// Due returns the conversions that somebody has to look at.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	found, err := s.many(ctx, due(now), limit)
	if err != nil {
		return nil, fmt.Errorf("due conversions: %w", err)
	}
	return found, nil
}

// Lapsed returns the running conversions whose lease has ended.
func (s *Store) Lapsed(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	found, err := s.many(ctx, lapsed(now), limit)
	if err != nil {
		return nil, fmt.Errorf("lapsed conversions: %w", err)
	}
	return found, nil
}

// Owing returns the conversions that owe work or a notice.
func (s *Store) Owing(ctx context.Context, after string, limit int) ([]conversion.Conversion, error) {
	queued, err := s.many(ctx, owingWork(after), limit)
	if err != nil {
		return nil, fmt.Errorf("conversions owing work: %w", err)
	}
	noticed, err := s.many(ctx, owingNotice(after), limit)
	if err != nil {
		return nil, fmt.Errorf("conversions owing a notice: %w", err)
	}
	found := append(queued, noticed...)
	slices.SortFunc(found, func(a, b conversion.Conversion) int { return strings.Compare(a.ID, b.ID) })
	found = slices.CompactFunc(found, func(a, b conversion.Conversion) bool { return a.ID == b.ID })
	return found[:min(limit, len(found))], nil
}

func (s *Store) many(ctx context.Context, q query, limit int) ([]conversion.Conversion, error) {
	conversions, err := s.collection(ctx)
	if err != nil {
		return nil, err
	}
	find := options.Find().SetLimit(int64(limit))
	if q.sort != nil {
		find.SetSort(q.sort)
	}
	cursor, err := conversions.Find(ctx, q.filter, find)
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
	conversions, err := s.collection(ctx)
	if err == nil {
		_, err = conversions.DeleteOne(ctx, append(byID(id), bson.E{Key: "state", Value: conversion.Deleted}, knownFormat))
	}
	if err != nil {
		return fmt.Errorf("purge conversion %s: %w", id, err)
	}
	return nil
}
