package transcoder

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
)

// stall is how long a connection may move no byte before it is given up.
const stall = time.Minute

// failure is an outcome to report: for good where final, else worth another
// attempt.
type failure struct {
	conversion.Failure
	final bool
	err   error // for the operator; may be nil
}

func (f *failure) Error() string {
	if f.err == nil {
		return f.Failure.Error()
	}
	return f.Failure.Error() + ": " + f.err.Error()
}

func final(code conversion.Code, format string, a ...any) *failure {
	return &failure{Failure: conversion.Failure{Code: code, Message: fmt.Sprintf(format, a...)}, final: true}
}

func mayHeal(code conversion.Code, err error, format string, a ...any) *failure {
	return &failure{Failure: conversion.Failure{Code: code, Message: fmt.Sprintf(format, a...)}, err: err}
}

// errExpired: the store does not accept the presigned URL (any more).
var errExpired = errors.New("the presigned URL is not accepted")

func diskError(err error) *failure {
	return mayHeal(conversion.CodeInternal, err, "The converter's disk is full or broken.")
}

// upload stores the file under the presigned URL.
func (w *worker) upload(ctx context.Context, path string, size int64, md5 []byte) error {
	return w.persist(ctx, "store the MP3", func() error {
		_, target := w.reports.requests()
		return w.put(ctx, target, path, size, md5) // each try starts anew
	})
}

func (w *worker) put(ctx context.Context, target attempt.Request, path string, size int64, md5 []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := time.AfterFunc(stall, cancel)
	defer idle.Stop()
	req, err := newRequest(ctx, target, &watched{r: f, moved: func(int) { idle.Reset(stall) }})
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(md5))
	resp, err := w.http.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return errExpired
	default:
		return fmt.Errorf("answer %d", s)
	}
}

// persist tries until it succeeds, fails for a reason to report, or Patience
// has passed.
func (w *worker) persist(ctx context.Context, what string, try func() error) error {
	const longest = 10 * time.Second
	since, pause := time.Now(), 100*time.Millisecond
	for {
		err := try()
		var f *failure
		switch {
		case err == nil, errors.As(err, &f):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if time.Since(since) > w.patience {
			return mayHeal(conversion.CodeStore, err, "The object store could not be reached.")
		}
		w.log.Warn("object store failed, trying again", "step", what, "error", err)
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
		pause = min(2*pause, longest)
		if errors.Is(err, errExpired) {
			if err := w.reports.refresh(ctx); err != nil {
				return err
			}
		}
	}
}

// newRequest makes a presigned request.
func newRequest(ctx context.Context, r attempt.Request, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return nil, fmt.Errorf("presigned request: %w", withoutURL(err))
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}

// withoutURL takes the address, which is a secret, out of an error.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// watched calls moved for every read that gave something.
type watched struct {
	r     io.Reader
	moved func(n int)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.moved(n)
	}
	return n, err
}
