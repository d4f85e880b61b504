package s3blob

import (
	"context"
	"errors"

	"github.com/minio/minio-go/v7"

	"tonearm/internal/blob"
)

// CreateUpload begins a multipart upload.
func (s *Store) CreateUpload(ctx context.Context, key string) (string, error) {
	id, err := s.core.NewMultipartUpload(ctx, s.bucket, key, minio.PutObjectOptions{})
	if err != nil {
		return "", fail("create upload of", key, err)
	}
	return id, nil
}

// Parts reads all pages of the list.
func (s *Store) Parts(ctx context.Context, key, uploadID string) ([]blob.Part, error) {
	var parts []blob.Part
	for marker := 0; ; {
		page, err := s.core.ListObjectParts(ctx, s.bucket, key, uploadID, marker, 1000)
		if err != nil {
			return nil, fail("list parts of", key, err)
		}
		for _, p := range page.ObjectParts {
			parts = append(parts, blob.Part{Number: p.PartNumber, ETag: blob.TrimETag(p.ETag), Size: p.Size})
		}
		if !page.IsTruncated {
			return parts, nil
		}
		marker = page.NextPartNumberMarker
	}
}

// CompleteUpload joins the parts. If the upload was joined before, a store
// answers with the object or with ErrNotExist.
func (s *Store) CompleteUpload(ctx context.Context, key, uploadID string, parts []blob.Part) (blob.Object, error) {
	complete := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		complete[i] = minio.CompletePart{PartNumber: p.Number, ETag: p.ETag}
	}
	_, err := s.core.CompleteMultipartUpload(ctx, s.bucket, key, uploadID, complete, minio.PutObjectOptions{})
	if err != nil {
		return blob.Object{}, fail("complete upload of", key, err)
	}
	return s.Head(ctx, key) // the answer has neither size nor time
}

// AbortUpload drops the upload.
func (s *Store) AbortUpload(ctx context.Context, key, uploadID string) error {
	err := fail("abort upload of", key, s.core.AbortMultipartUpload(ctx, s.bucket, key, uploadID))
	if errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}
