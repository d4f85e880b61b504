package retry

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err as an error that no further try can fix; nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent reports whether err, or an error that it wraps, is marked by
// Permanent.
func IsPermanent(err error) bool {
	var e permanentError
	return errors.As(err, &e)
}

type progressError struct{ error }

func (e progressError) Unwrap() error { return e.error }

// Progress marks err as the error of a try that got further than the one
// before. Pauses and Patience then begin anew. nil stays nil.
func Progress(err error) error {
	if err == nil {
		return nil
	}
	return progressError{err}
}

func progressed(err error) bool {
	var e progressError
	return errors.As(err, &e)
}

type afterError struct {
	error
	pause time.Duration
}

func (e afterError) Unwrap() error { return e.error }

// After marks err with a pause of at least d, which the other side asks for;
// nil stays nil.
func After(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return afterError{err, d}
}

func asked(err error) time.Duration {
	var e afterError
	errors.As(err, &e)
	return e.pause
}

// maxAfter is the longest pause that a header can ask for.
const maxAfter = time.Hour

// AfterHeader returns the pause that the header Retry-After asks for, in
// seconds or until a date, at most an hour; 0 if it asks for none.
func AfterHeader(h http.Header) time.Duration {
	s := h.Get("Retry-After")
	pause := time.Duration(0)
	if n, err := strconv.Atoi(s); err == nil {
		pause = time.Duration(min(n, int(maxAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		pause = time.Until(at)
	}
	return min(max(pause, 0), maxAfter)
}
