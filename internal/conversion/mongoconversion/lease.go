package mongoconversion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"tonearm/internal/conversion"
)

// Leases are documents of their own collection: _id is the name, holder who has
// it, until the end by the primary's clock.

// Lease takes or renews a lease. The time is asked for before the write, so a
// lease may end a little too early, and none is taken before its end.
func (s *Store) Lease(ctx context.Context, name, holder string, d time.Duration) (has string, err error) {
	now, err := s.Now(ctx)
	if err != nil {
		return "", fmt.Errorf("lease %s: %w", name, err)
	}
	leases, err := s.leases(ctx)
	if err != nil {
		return "", fmt.Errorf("lease %s: %w", name, err)
	}
	_, err = leases.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: name}, {Key: "$or", Value: bson.A{
			bson.D{{Key: "holder", Value: holder}}, bson.D{{Key: "until", Value: bson.D{{Key: "$lte", Value: now}}}},
		}}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "holder", Value: holder}, {Key: "until", Value: now.Add(d)}}}},
		options.UpdateOne().SetUpsert(true))
	if err == nil {
		return holder, nil
	}
	if err = contractError(err); !errors.Is(err, conversion.ErrExists) { // with that, it is another one's
		return "", fmt.Errorf("lease %s: %w", name, err)
	}
	var lease struct {
		Holder string `bson:"holder"`
	}
	err = leases.FindOne(ctx, bson.D{{Key: "_id", Value: name}}).Decode(&lease)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return "", fmt.Errorf("holder of lease %s: %w", name, err)
	}
	return lease.Holder, nil
}

// Release ends a lease.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	leases, err := s.leases(ctx)
	if err == nil {
		_, err = leases.DeleteOne(ctx, bson.D{{Key: "_id", Value: name}, {Key: "holder", Value: holder}})
	}
	if err != nil {
		return fmt.Errorf("release lease %s: %w", name, err)
	}
	return nil
}

func (s *Store) leases(ctx context.Context) (*mongo.Collection, error) {
	conversions, err := s.collection(ctx)
	if err != nil {
		return nil, err
	}
	return conversions.Database().Collection("leases"), nil
}
