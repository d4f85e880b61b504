package retry

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
)

// WithoutURL returns err without the addresses that net/http and net/url put
// into errors: a presigned URL is a secret. errors.Is and errors.As work as on
// err, except that errors.As does not find the *url.Error.
func WithoutURL(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	return &hiddenError{text: withoutURL(err.Error(), err), err: err}
}

// withoutURL cuts the addresses of err and of what it wraps out of text.
func withoutURL(text string, err error) string {
	if u, ok := err.(*url.Error); ok { //nolint:errorlint // what it wraps is looked at below
		text = strings.ReplaceAll(text, u.Error(), u.Err.Error())
	}
	switch e := err.(type) { //nolint:errorlint // so here
	case interface{ Unwrap() error }:
		text = withoutURL(text, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			text = withoutURL(text, err)
		}
	}
	return text
}

// hiddenError does not unwrap, so that a walk along the chain does not find the
// address.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string        { return e.text }
func (e *hiddenError) Is(target error) bool { return errors.Is(e.err, target) }

func (e *hiddenError) As(target any) bool {
	if !errors.As(e.err, target) {
		return false
	}
	found := reflect.ValueOf(target).Elem()
	u, ok := found.Interface().(*url.Error) // asked for, or as an interface that it has
	if !ok {
		return true
	}
	found.SetZero()
	return errors.As(WithoutURL(u.Err), target)
}
