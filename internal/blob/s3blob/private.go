package s3blob

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/minio/minio-go/v7"

	"tonearm/internal/blob"
	"tonearm/internal/retry"
)

const inbox = "inbox/"

// Errors are logged, but some of their texts must not be: inbox keys hold the
// e-mail addresses of their owners, and URLs hold keys and signatures. These
// patterns find such texts, which must not leave the package.
var (
	urls      = regexp.MustCompile(`\b[a-z][a-z0-9+.-]*://\S+`)
	addresses = regexp.MustCompile(`(?i)[^\s/"]+(@|%40)[^\s/"]+`)
)

// fail returns the error of an operation on a key or a prefix; nil for nil.
func fail(operation, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", operation, public(key, key), translate(err, key))
}

// public returns text without its private parts, and without key if key is in
// the inbox.
func public(text, key string) string {
	if strings.HasPrefix(key, inbox) {
		text = strings.ReplaceAll(text, key, inbox+"…")
	}
	return addresses.ReplaceAllString(urls.ReplaceAllString(text, "…"), "…@…")
}

// translate returns the store's error without its private parts, and wrapped in
// an error of the contract if one fits.
func translate(err error, key string) error {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return hide(err, key)
	}
	// The other fields may name the key, and so may the message.
	err = minio.ErrorResponse{Code: r.Code, StatusCode: r.StatusCode, RequestID: r.RequestID}
	switch r.Code {
	case minio.NoSuchKey, minio.NoSuchBucket, minio.NoSuchUpload, "NoSuchVersion":
		return fmt.Errorf("%w: %w", blob.ErrNotExist, err)
	case minio.PreconditionFailed:
		return fmt.Errorf("%w: %w", blob.ErrChanged, err)
	case "XMinioStorageFull", "NoSpaceLeftOnDevice", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity", "StorageFull":
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	case "RequestTimeout", "IncompleteBody", "ExpiredToken", "AuthorizationHeaderMalformed", "OperationAborted", "ConditionalRequestConflict":
		return err // such answers have status 400 or 409 too, but a retry may work
	}
	switch r.StatusCode {
	case http.StatusInsufficientStorage:
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %w", blob.ErrInvalid, err)
	}
	return err
}

// hide returns err with a text that may be logged.
func hide(err error, key string) error {
	err = retry.WithoutURL(err)
	text := err.Error()
	if t := public(text, key); t != text {
		return &hiddenError{text: t, err: err}
	}
	return err
}

// hiddenError is an error under another text.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }
