package mongoconversion

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"tonearm/internal/conversion"
)

// query selects documents, in an order if sort is not nil. Each has an index, see TestPlans.
type query struct{ filter, sort bson.D }

// knownFormat selects what this version may change; a missing format is 1.
var knownFormat = bson.E{Key: "format", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$gt", Value: conversion.Format}}}}}

func byID(id string) bson.D { return bson.D{{Key: "_id", Value: id}} }

func byIDs(ids []string) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
}

// at selects the conversion at this revision.
func at(id string, revision int64) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "revision", Value: revision}}
}

func byIdempotencyKey(ownerID, key string) bson.D {
	return bson.D{{Key: "owner_id", Value: ownerID}, {Key: "idempotency_key", Value: key}}
}

func byObject(key, version string) bson.D {
	return bson.D{{Key: "object.key", Value: key}, {Key: "object.version", Value: version}}
}

func byMP3(mp3ID string) bson.D { return bson.D{{Key: "mp3.id", Value: mp3ID}} }

func list(q conversion.Query) query {
	states := bson.D{{Key: "$ne", Value: conversion.Deleted}}
	if len(q.States) > 0 { // $in alone: the server merges the states' parts of the index by _id
		states = bson.D{{Key: "$in", Value: q.Listed()}}
	}
	filter := bson.D{{Key: "owner_id", Value: q.OwnerID}, {Key: "state", Value: states}}
	if q.Before != "" {
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$lt", Value: q.Before}}})
	}
	return query{filter, bson.D{{Key: "_id", Value: -1}}}
}

// made selects what an owner made in this time; zero times are no bounds.
func made(ownerID string, from, to time.Time) bson.D {
	between := bson.D{{Key: "$gte", Value: conversion.IDAt(from)}}
	if !to.IsZero() {
		between = append(between, bson.E{Key: "$lt", Value: conversion.IDAt(to)})
	}
	return bson.D{{Key: "owner_id", Value: ownerID}, {Key: "_id", Value: between}}
}

func madeSince(since time.Time) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: conversion.IDAt(since)}}}}
}

func inState(ownerID string, state conversion.State) bson.D {
	return bson.D{{Key: "owner_id", Value: ownerID}, {Key: "state", Value: state}}
}

// held are the fields of Conversion.Holding.
var held = bson.D{
	{Key: "state", Value: 1}, {Key: "object.etag", Value: 1}, {Key: "object.size", Value: 1}, {Key: "source_gone", Value: 1},
	{Key: "mp3.size", Value: 1}, {Key: "mp3.duration", Value: 1}, {Key: "mp3_gone", Value: 1}, {Key: "progress.total_seconds", Value: 1},
}

func due(now time.Time) query {
	return query{
		bson.D{{Key: "wake_at", Value: bson.D{{Key: "$gt", Value: time.Time{}}, {Key: "$lte", Value: now}}}, knownFormat},
		bson.D{{Key: "wake_at", Value: 1}},
	}
}

func lapsed(now time.Time) query {
	return query{
		bson.D{{Key: "state", Value: conversion.Running}, {Key: "wake_at", Value: bson.D{{Key: "$lte", Value: now}}}, knownFormat},
		bson.D{{Key: "wake_at", Value: 1}},
	}
}

func owingWork(after string) query {
	return owing(after, bson.E{Key: "state", Value: conversion.Queued})
}

func owingNotice(after string) query {
	return owing(after, bson.E{Key: "notice.state", Value: bson.D{
		{Key: "$in", Value: bson.A{conversion.NoticeOwed, conversion.NoticeSending}},
	}})
}

func owing(after string, what bson.E) query {
	return query{
		bson.D{what, {Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}, knownFormat},
		bson.D{{Key: "_id", Value: 1}},
	}
}
