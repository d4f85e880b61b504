package retry_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/retry"
)

func TestMarks(t *testing.T) {
	marks := map[string]func(error) error{
		"Permanent": retry.Permanent,
		"Progress":  retry.Progress,
		"After":     func(err error) error { return retry.After(err, time.Second) },
	}
	for name, mark := range marks {
		if err := mark(nil); err != nil {
			t.Errorf("%s of nil is %v", name, err)
		}
		plain := fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist})
		err := fmt.Errorf("outside: %w", mark(plain))
		var path *fs.PathError
		if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &path) || path.Path != "x" {
			t.Errorf("%s hides what it marks: %v", name, err)
		}
		if got, want := err.Error(), "outside: "+plain.Error(); got != want {
			t.Errorf("%s changes the text: got %q, want %q", name, got, want)
		}
		if got, want := retry.IsPermanent(err), name == "Permanent"; got != want {
			t.Errorf("%s: IsPermanent is %t, want %t", name, got, want)
		}
	}
	if retry.IsPermanent(nil) || retry.IsPermanent(errDown) {
		t.Error("an error without a mark is permanent")
	}
}

func TestAfterHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock begins in 2000
		now := time.Now()
		for value, want := range map[string]time.Duration{
			"":                     0,
			"0":                    0,
			"20":                   20 * time.Second,
			"-5":                   0,
			"1.5":                  0,
			"soon":                 0,
			"3601":                 time.Hour,
			"9223372036854775807":  time.Hour,
			"99999999999999999999": 0,
			now.Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
			now.Add(-time.Minute).UTC().Format(http.TimeFormat):     0,
			now.Add(48 * time.Hour).UTC().Format(http.TimeFormat):   time.Hour,
		} {
			if got := retry.AfterHeader(http.Header{"Retry-After": {value}}); got != want {
				t.Errorf("%q: got %v, want %v", value, got, want)
			}
		}
		if got := retry.AfterHeader(nil); got != 0 {
			t.Errorf("without a header: got %v", got)
		}
	})
}
