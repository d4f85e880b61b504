package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

var errDown = errors.New("switched off by the test")

// fault fails calls while fails says so; nil for never.
type fault struct {
	fails  atomic.Pointer[func() bool]
	failed atomic.Int64
}

func (f *fault) always() {
	always := func() bool { return true }
	f.fails.Store(&always)
}

func (f *fault) never() { f.fails.Store(nil) }

func (f *fault) err() error {
	if fails := f.fails.Load(); fails != nil && (*fails)() {
		f.failed.Add(1)
		return errDown
	}
	return nil
}

// records is a store that can be made to fail, before a write or after it. If
// it fails after a write, the writer does not know the outcome.
type records struct {
	conversion.Store
	before, after fault
	broken        atomic.Pointer[string] // an id whose record cannot be changed
	asked         atomic.Int64           // calls of ByID and ByIDs
}

func (r *records) Create(ctx context.Context, c conversion.Conversion) error {
	if err := r.before.err(); err != nil {
		return err
	}
	return errors.Join(r.Store.Create(ctx, c), r.after.err())
}

func (r *records) ByID(ctx context.Context, id string) (conversion.Conversion, error) {
	r.asked.Add(1)
	if err := r.before.err(); err != nil {
		return conversion.Conversion{}, err
	}
	return r.Store.ByID(ctx, id)
}

func (r *records) ByIDs(ctx context.Context, ids []string) ([]conversion.Conversion, error) {
	r.asked.Add(1)
	if err := r.before.err(); err != nil {
		return nil, err
	}
	if len(ids) > conversion.MaxIDs {
		return nil, fmt.Errorf("asked for %d ids at once", len(ids))
	}
	return r.Store.ByIDs(ctx, ids)
}

func (r *records) ByObject(ctx context.Context, key, version string) (conversion.Conversion, error) {
	if err := r.before.err(); err != nil {
		return conversion.Conversion{}, err
	}
	return r.Store.ByObject(ctx, key, version)
}

func (r *records) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	if err := r.before.err(); err != nil {
		return conversion.Conversion{}, err
	}
	if broken := r.broken.Load(); broken != nil && *broken == id {
		return conversion.Conversion{}, errDown
	}
	c, err := r.Store.Update(ctx, id, change)
	if err == nil {
		err = r.after.err()
	}
	return c, err
}

func (r *records) Settle(ctx context.Context, id string, revision int64, wakeAt time.Time) error {
	if err := r.before.err(); err != nil {
		return err
	}
	return r.Store.Settle(ctx, id, revision, wakeAt)
}

func (r *records) Due(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	if err := r.before.err(); err != nil {
		return nil, err
	}
	return r.Store.Due(ctx, now, limit)
}

func (r *records) Lapsed(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	if err := r.before.err(); err != nil {
		return nil, err
	}
	return r.Store.Lapsed(ctx, now, limit)
}

func (r *records) Owing(ctx context.Context, after string, limit int) ([]conversion.Conversion, error) {
	if err := r.before.err(); err != nil {
		return nil, err
	}
	return r.Store.Owing(ctx, after, limit)
}

// faultyObjects is a store that can be made to fail, for one key or for all.
type faultyObjects struct {
	blob.Store
	fault
	broken atomic.Pointer[string] // a key that cannot be looked at
	headed atomic.Int64
	stored atomic.Bool // uploads are being stored: a HEAD of one waits

	orphans int // so many uploads that no record knows are listed, before the others
}

func (b *faultyObjects) List(ctx context.Context, prefix, after string, yield func(blob.Object) bool) error {
	for i := range b.orphans {
		key := fmt.Sprintf("%sa/%d/source", conversion.UploadPrefix, i)
		if strings.HasPrefix(key, prefix) && !yield(blob.Object{Key: key}) {
			return nil
		}
	}
	return b.Store.List(ctx, prefix, after, yield)
}

func (b *faultyObjects) Head(ctx context.Context, key string) (blob.Object, error) {
	b.headed.Add(1)
	if err := b.err(); err != nil {
		return blob.Object{}, err
	}
	if broken := b.broken.Load(); broken != nil && *broken == key {
		return blob.Object{}, errDown
	}
	for b.stored.Load() && strings.HasPrefix(key, conversion.UploadPrefix) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return blob.Object{}, ctx.Err()
		}
	}
	return b.Store.Head(ctx, key)
}

func (b *faultyObjects) Delete(ctx context.Context, key string) error {
	if err := b.err(); err != nil {
		return err
	}
	return b.Store.Delete(ctx, key)
}
