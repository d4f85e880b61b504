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

// Errors are logged, and the keys of the inbox hold their owners' e-mail
// addresses, URLs hold keys and signatures: none of it leaves the package.
var (
	urls      = regexp.MustCompile(`\b[a-z][a-z0-9+.-]*://\S+`)
	addresses = regexp.MustCompile(`(?i)[^\s/"]+(@|%40)[^\s/"]+`)
)

// fail is the error of an operation on a key or a prefix, or nil.
func fail(operation, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", operation, public(key, key), translate(err, key))
}

// public returns text without what is private in it, and without key where that
// is of the inbox.
func public(text, key string) string {
	if strings.HasPrefix(key, inbox) {
		text = strings.ReplaceAll(text, key, inbox+"…")
	}
	return addresses.ReplaceAllString(urls.ReplaceAllString(text, "…"), "…@…")
}

// translate returns the store's error without what is private in it, and with the
// contract's error where there is one.
func translate(err error, key string) error {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return hide(err, key)
	}
	// What else it has may name the key, its message too.
	err = minio.ErrorResponse{Code: r.Code, StatusCode: r.StatusCode, RequestID: r.RequestID}
	switch r.Code {
	case minio.NoSuchKey, minio.NoSuchBucket, minio.NoSuchUpload, "NoSuchVersion":
		return fmt.Errorf("%w: %w", blob.ErrNotExist, err)
	case minio.PreconditionFailed:
		return fmt.Errorf("%w: %w", blob.ErrChanged, err)
	case "RequestTimeout", "IncompleteBody", "ExpiredToken", "AuthorizationHeaderMalformed", "OperationAborted", "ConditionalRequestConflict":
		return err // 400 or 409 as well, but may pass
	}
	switch r.StatusCode {
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
