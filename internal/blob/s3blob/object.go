package s3blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"

	"tonearm/internal/blob"
)

// Get reads a range. An offset at or above the object's end is ErrInvalid,
// except when all of an empty object is read.
func (s *Store) Get(ctx context.Context, key, etag string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 { // S3 has no empty ranges
		o, err := s.Head(ctx, key)
		if err == nil && etag != "" && etag != o.ETag {
			err = fail("get", key, blob.ErrChanged)
		}
		if err != nil {
			return nil, err
		}
		return io.NopCloser(strings.NewReader("")), nil
	}
	var opts minio.GetObjectOptions
	var err error
	switch {
	case length > 0:
		err = opts.SetRange(offset, offset+length-1)
	case offset > 0:
		err = opts.SetRange(offset, 0)
	}
	if err == nil && etag != "" {
		err = opts.SetMatchETag(etag)
	}
	if err != nil {
		return nil, fail(fmt.Sprintf("get from byte %d of", offset), key, err)
	}
	body, _, _, err := s.core.GetObject(ctx, s.bucket, key, opts)
	if err != nil {
		return nil, fail(fmt.Sprintf("get from byte %d of", offset), key, err)
	}
	return body, nil
}

// Head asks for the object's size, ETag and version.
func (s *Store) Head(ctx context.Context, key string) (blob.Object, error) {
	info, err := s.core.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return blob.Object{}, fail("head", key, err)
	}
	return object(info), nil
}

// List reads pages of 1,000 keys. The objects have no versions.
func (s *Store) List(ctx context.Context, prefix, after string, yield func(blob.Object) bool) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing if yield does
	defer cancel()
	opts := minio.ListObjectsOptions{Prefix: prefix, StartAfter: after, Recursive: true}
	for info := range s.core.ListObjectsIter(ctx, s.bucket, opts) {
		if info.Err != nil {
			return fail("list", prefix, info.Err)
		}
		if !yield(object(info)) {
			return nil
		}
	}
	return fail("list", prefix, ctx.Err())
}

// Delete removes the object. In a bucket that keeps versions it adds a delete
// marker instead.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := fail("delete", key, s.core.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}))
	if errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}

func object(info minio.ObjectInfo) blob.Object {
	return blob.Object{
		Key:      info.Key,
		ETag:     blob.TrimETag(info.ETag),
		Version:  blob.TrimVersion(info.VersionID),
		Size:     info.Size,
		Modified: info.LastModified.UTC(),
	}
}
