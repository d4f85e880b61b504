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
	"strings"
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

// download reads the source into a new file at path. It resumes after broken
// connections; the ETag makes sure that it is one and the same object
// throughout.
func (w *worker) download(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return mayHeal(conversion.CodeInternal, err, "The source could not be written to the converter's disk.")
	}
	defer f.Close()
	etag := strings.Trim(w.SourceETag, `"`)
	at := int64(0)
	err = w.persist(ctx, "read the source", func() (moved bool, err error) {
		source, _ := w.reports.requests()
		n, err := w.fetch(ctx, source, f, at, &etag)
		at += n
		return n > 0, err
	})
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return diskError(err)
	}
	return nil
}

// fetch appends what the store has from an offset on.
func (w *worker) fetch(ctx context.Context, source attempt.Request, f *os.File, at int64, etag *string) (n int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := time.AfterFunc(stall, cancel)
	defer idle.Stop()
	req, err := newRequest(ctx, source, nil)
	if err != nil {
		return 0, err
	}
	if *etag != "" {
		req.Header.Set("If-Match", `"`+*etag+`"`)
	}
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return 0, withoutURL(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	case http.StatusNotFound, http.StatusGone:
		return 0, final(conversion.CodeSourceMissing, "The uploaded video is not there any more.")
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return 0, errChanged()
	case http.StatusUnauthorized, http.StatusForbidden:
		return 0, errExpired
	default:
		return 0, fmt.Errorf("answer %d", resp.StatusCode)
	}
	switch got := strings.Trim(resp.Header.Get("ETag"), `"`); {
	case *etag == "":
		*etag = got
	case got != "" && got != *etag:
		return 0, errChanged()
	}
	want := w.SourceSize - at
	if at > 0 {
		if r := fmt.Sprintf("bytes %d-%d/%d", at, w.SourceSize-1, w.SourceSize); resp.Header.Get("Content-Range") != r {
			return 0, fmt.Errorf("answer %d with the range %q instead of %q", resp.StatusCode, resp.Header.Get("Content-Range"), r)
		}
	}
	if resp.ContentLength >= 0 && resp.ContentLength != want {
		return 0, errChanged()
	}
	n, err = io.CopyBuffer(onlyWriter{f}, &watched{r: io.LimitReader(resp.Body, want), moved: func(n int) {
		idle.Reset(stall)
		w.reports.update(func(p *conversion.Progress) { p.BytesRead += int64(n) })
	}}, make([]byte, 256<<10))
	var disk *os.PathError
	switch {
	case errors.As(err, &disk):
		return n, diskError(err)
	case err == nil && n < want:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

func errChanged() *failure {
	return final(conversion.CodeSourceChanged, "The uploaded video was replaced by another file meanwhile.")
}

func diskError(err error) *failure {
	return mayHeal(conversion.CodeInternal, err, "The converter's disk is full or broken.")
}

// upload stores the file under the presigned URL.
func (w *worker) upload(ctx context.Context, path string, size int64, md5 []byte) error {
	return w.persist(ctx, "store the MP3", func() (bool, error) {
		_, target := w.reports.requests()
		return false, w.put(ctx, target, path, size, md5) // each try starts anew
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
// has passed since something last moved.
func (w *worker) persist(ctx context.Context, what string, try func() (moved bool, err error)) error {
	const longest = 10 * time.Second
	since, pause := time.Now(), 100*time.Millisecond
	for {
		moved, err := try()
		var f *failure
		switch {
		case err == nil, errors.As(err, &f):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if moved {
			since, pause = time.Now(), 100*time.Millisecond
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

// onlyWriter hides ReadFrom, which would copy without the buffer and in blocks
// of its own.
type onlyWriter struct{ io.Writer }
