// Package blob is the contract of the object store: presigned URLs, ranged
// reads, listings, multipart uploads and notifications of one bucket.
package blob

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"tonearm/internal/conversion"
)

// Errors of object stores.
var (
	// ErrNotExist: no such object, upload or bucket.
	ErrNotExist = errors.New("blob: does not exist")
	// ErrChanged: the object has another ETag than the one asked for.
	ErrChanged = errors.New("blob: object changed")
	// ErrInvalid: the store refused the request and would refuse it again
	// (parts missing or too small, a wrong checksum, a name it cannot hold).
	ErrInvalid = errors.New("blob: refused by the store")
	// ErrFull: the store has no room for more. What it has can still be read.
	ErrFull = errors.New("blob: the store is full")
)

// Audience is who uses a presigned URL. In every cluster people and transcoders
// reach the store by different addresses.
type Audience int

// The audiences.
const (
	Public   Audience = iota // people: the store's public address
	Internal                 // transcoders: the address inside
)

// Object is one object as the store knows it.
type Object struct {
	Key      string
	ETag     string // without quotes
	Version  string // the store's version id; '' if the bucket keeps no versions
	Size     int64
	Modified time.Time
}

// Record is what a conversion keeps of the object. If the bucket keeps no
// versions, the ETag tells apart the objects that one key has had.
func (o Object) Record() conversion.Object {
	return conversion.Object{Key: o.Key, Version: cmp.Or(o.Version, o.ETag), ETag: o.ETag, Size: o.Size}
}

// Request is a presigned request: whoever sends it needs no other credential.
// All of Header must be sent as it is.
type Request struct {
	Method    string
	URL       string
	Header    http.Header
	ExpiresAt time.Time
}

// Part is one stored part of a multipart upload.
type Part struct {
	Number int // from 1
	ETag   string
	Size   int64
}

// Store is one bucket.
type Store interface {
	// Prepare makes the bucket, its CORS rules and its notification of the
	// prefixes uploads/ and inbox/, where they are missing. It may be called at
	// every start, by several processes.
	Prepare(ctx context.Context) error

	// PresignPut signs a PUT of exactly size bytes that is refused (412) where
	// the key exists. Header holds Content-Length and If-None-Match.
	PresignPut(ctx context.Context, key string, size int64, expiry time.Duration, to Audience) (Request, error)
	// PresignOverwrite signs a PUT of any size that replaces what is there. The
	// sender may add Content-MD5, which the store checks.
	PresignOverwrite(ctx context.Context, key string, expiry time.Duration, to Audience) (Request, error)
	// PresignGet signs a GET. With a filename (any Unicode) the answer is an
	// attachment of that name, and its Content-Type is contentType.
	PresignGet(ctx context.Context, key, filename, contentType string, expiry time.Duration, to Audience) (Request, error)

	// CreateUpload begins a multipart upload and returns its id.
	CreateUpload(ctx context.Context, key string) (uploadID string, err error)
	// PresignPart signs a PUT of one part of exactly size bytes. Header holds
	// Content-Length.
	PresignPart(ctx context.Context, key, uploadID string, number int, size int64, expiry time.Duration, to Audience) (Request, error)
	// Parts lists the stored parts in order of their numbers; ErrNotExist if the
	// upload was completed or aborted.
	Parts(ctx context.Context, key, uploadID string) ([]Part, error)
	// CompleteUpload joins parts into the object.
	CompleteUpload(ctx context.Context, key, uploadID string, parts []Part) (Object, error)
	// AbortUpload drops an upload and its parts; a missing upload is no error.
	AbortUpload(ctx context.Context, key, uploadID string) error

	// Put stores r, of unknown length, in constant memory.
	Put(ctx context.Context, key string, r io.Reader) (Object, error)
	// Get reads length bytes from offset, or all from there if length < 0. It
	// returns ErrChanged if etag is not '' and the object has another ETag.
	Get(ctx context.Context, key, etag string, offset, length int64) (io.ReadCloser, error)
	Head(ctx context.Context, key string) (Object, error)
	// List calls yield for each object under prefix with a key above after, in
	// order of keys, until yield returns false.
	List(ctx context.Context, prefix, after string, yield func(Object) bool) error
	// Delete removes the object; a missing object is no error.
	Delete(ctx context.Context, key string) error
	// Ping reports whether the store can be reached.
	Ping(ctx context.Context) error
}
