package retry_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"tonearm/internal/retry"
)

func TestWithoutURL(t *testing.T) {
	secret := func(err error) error {
		return &url.Error{Op: "Put", URL: "http://store/bucket/key?X-Amz-Signature=secret", Err: err}
	}
	refused := secret(syscall.ECONNREFUSED)
	tests := map[string]struct {
		err  error
		want string
		is   error
	}{
		"bare":      {refused, "connection refused", syscall.ECONNREFUSED},
		"wrapped":   {fmt.Errorf("store: %w", refused), "store: connection refused", syscall.ECONNREFUSED},
		"marked":    {retry.Permanent(refused), "connection refused", syscall.ECONNREFUSED},
		"nested":    {secret(fmt.Errorf("read: %w", refused)), "read: connection refused", syscall.ECONNREFUSED},
		"joined":    {errors.Join(fs.ErrExist, refused, secret(fs.ErrClosed)), "file already exists\nconnection refused\nfile already closed", fs.ErrClosed},
		"twice":     {fmt.Errorf("%w, then %w", refused, retry.WithoutURL(refused)), "connection refused, then connection refused", syscall.ECONNREFUSED},
		"no URL":    {fmt.Errorf("x: %w", fs.ErrExist), "x: file already exists", fs.ErrExist},
		"identity":  {refused, "connection refused", refused},
		"a timeout": {secret(&net.DNSError{Err: "slow", IsTimeout: true}), "lookup : slow", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := retry.WithoutURL(tt.err)
			outside := fmt.Errorf("%w", err)
			if got := outside.Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tt.is != nil && !errors.Is(outside, tt.is) {
				t.Errorf("errors.Is does not find %v", tt.is)
			}
			if got, want := retry.IsPermanent(outside), retry.IsPermanent(tt.err); got != want {
				t.Errorf("permanent is %t, want %t", got, want)
			}
			var u *url.Error
			if errors.As(outside, &u) || u != nil {
				t.Errorf("errors.As finds %v", u)
			}
			var timeout net.Error // *url.Error is one too
			if found, want := errors.As(outside, &timeout), name != "no URL" && name != "nothing"; found && strings.Contains(timeout.Error(), "secret") || found != want {
				t.Errorf("errors.As finds a net.Error %t: %v, want %t", found, timeout, want)
			}
		})
	}
	if err := retry.WithoutURL(nil); err != nil {
		t.Errorf("of nil: %v", err)
	}
	if _, err := http.NewRequest("GET", "http://store/\x7f?secret", nil); strings.Contains(retry.WithoutURL(err).Error(), "secret") {
		t.Errorf("a malformed address: %v", retry.WithoutURL(err))
	}
}
