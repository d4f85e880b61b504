package transcoder

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/retry"
)

// stall is how long a connection may move no byte before it is closed.
const stall = time.Minute

// failure is an outcome to report. If final is set it is for good, otherwise
// another attempt is worth while.
type failure struct {
	conversion.Failure
	final bool
	fault conversion.WaitReason // of this machine; '' if it is well
	err   error                 // for the operator; may be nil
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

func retryable(code conversion.Code, err error, format string, a ...any) *failure {
	return &failure{Failure: conversion.Failure{Code: code, Message: fmt.Sprintf(format, a...)}, err: err}
}

// errExpired: the store does not accept the presigned URL, or not any more.
var errExpired = errors.New("the object store does not accept the presigned URL")

// errRefused: the object store is there and does not take this MP3.
var errRefused = errors.New("the object store refuses the MP3")

// upload stores the file under the presigned URL. It tries until it succeeds,
// fails for a reason to report, or Patience has passed.
func (w *worker) upload(ctx context.Context, path string, size int64, md5 []byte) error {
	defer w.alive.wait()()
	expired := false
	err := retry.Do(ctx, retry.Policy{
		Initial: 50 * time.Millisecond, Max: 5 * time.Second, Jitter: 2, Patience: w.patience,
		Before: func(err error, _ time.Duration) {
			w.log.Warn("object store failed, trying again", "step", "store the MP3", "error", err)
		},
	}, func(ctx context.Context) error {
		if expired {
			if err := w.reports.refresh(ctx); err != nil {
				return err
			}
		}
		_, target := w.reports.requests()
		err := w.put(ctx, target, path, size, md5) // each try starts anew
		expired = errors.Is(err, errExpired)
		return err
	})
	if f := (*failure)(nil); err == nil || errors.As(err, &f) || ctx.Err() != nil {
		return err
	}
	f := storeError(err)
	if errors.Is(err, errRefused) {
		f.fault = ""
	}
	return f
}

func (w *worker) put(ctx context.Context, target attempt.Request, path string, size int64, md5 []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return retry.Permanent(diskError(err))
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := time.AfterFunc(stall, cancel)
	defer idle.Stop()
	req, err := newRequest(ctx, target, &watched{r: f, onRead: func(int) { idle.Reset(stall) }})
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(md5))
	resp, err := w.http.Do(req)
	if err != nil {
		return retry.WithoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return errExpired
	case s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests:
		return fmt.Errorf("%w: it answered %d", errRefused, s)
	default:
		return fmt.Errorf("the object store answered %d", s)
	}
}

// newRequest makes a presigned request.
func newRequest(ctx context.Context, r attempt.Request, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return nil, fmt.Errorf("presigned request: %w", retry.WithoutURL(err))
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}

// watched calls onRead for every read that gave something.
type watched struct {
	r      io.Reader
	onRead func(n int)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.onRead(n)
	}
	return n, err
}
