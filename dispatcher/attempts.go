package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tonearm/internal/attempt"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

const (
	maxReport  = 64 << 10 // bytes of a transcoder's request
	maxMessage = 1 << 10  // bytes of a failure's message
)

// errUnauthorized: a token that is missing or not good for what was asked.
var errUnauthorized = errors.New("the token is missing or not good for this")

// call reads the token and the body of a transcoder's request.
func (d *Dispatcher) call(w http.ResponseWriter, r *http.Request, body any) (id string, n int, err error) {
	id = r.PathValue("id")
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", 0, errUnauthorized
	}
	if n, err = d.o.AttemptKey.Verify(id, token); err != nil {
		return "", 0, errUnauthorized
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport))
	if err := dec.Decode(body); err != nil {
		return "", 0, &badRequest{err}
	}
	return id, n, nil
}

func (d *Dispatcher) serveClaim(w http.ResponseWriter, r *http.Request) {
	var claim attempt.Claim
	id, n, err := d.call(w, r, &claim)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	c, err := d.outbox.Update(r.Context(), id, func(c *conversion.Conversion) error {
		return c.Claim(n, claim.Nonce, d.o.Policy, d.o.Now())
	})
	if err != nil {
		d.fail(w, r, err)
		return
	}
	source, target, err := d.urls(r.Context(), c)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	limits := d.o.Limits
	limits.MaxSourceBytes = c.Object.Size
	answer(w, attempt.Assignment{
		ConversionID: c.ID, Attempt: n, Filename: c.Filename, Options: c.Options,
		Source: source, SourceETag: c.Object.ETag, SourceSize: c.Object.Size, Target: target,
		Limits: limits, ReportSeconds: d.o.ReportEvery.Seconds(),
	})
}

func (d *Dispatcher) serveProgress(w http.ResponseWriter, r *http.Request) {
	var p attempt.Progress
	id, n, err := d.call(w, r, &p)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	c, err := d.outbox.Update(r.Context(), id, func(c *conversion.Conversion) error {
		return c.Report(n, p.Nonce, p.Progress, d.o.Policy, d.o.Now())
	})
	if errors.Is(err, conversion.ErrStaleAttempt) || errors.Is(err, conversion.ErrNotFound) {
		answer(w, attempt.Go{Stop: true})
		return
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	source, target, err := d.urls(r.Context(), c)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	answer(w, attempt.Go{Source: source, Target: target})
}

// urls signs what the current attempt may read and write.
func (d *Dispatcher) urls(ctx context.Context, c conversion.Conversion) (source, target attempt.Request, err error) {
	get, err := d.o.Blobs.PresignGet(ctx, c.Object.Key, "", "", d.o.Policy.URLExpiry, blob.Internal)
	if err != nil {
		return source, target, fmt.Errorf("sign source of %s: %w", c.ID, err)
	}
	put, err := d.o.Blobs.PresignOverwrite(ctx, c.MP3Key(c.Attempt), d.o.Policy.URLExpiry, blob.Internal)
	if err != nil {
		return source, target, fmt.Errorf("sign target of %s: %w", c.ID, err)
	}
	return onWire(get), onWire(put), nil
}

func onWire(r blob.Request) attempt.Request {
	header := map[string]string{}
	for name := range r.Header {
		header[name] = r.Header.Get(name)
	}
	return attempt.Request{Method: r.Method, URL: r.URL, Header: header}
}

func (d *Dispatcher) serveResult(w http.ResponseWriter, r *http.Request) {
	var result attempt.Result
	id, n, err := d.call(w, r, &result)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	var c conversion.Conversion
	switch {
	case result.Failure != nil && result.MP3 == nil:
		c, err = d.takeFailure(r.Context(), id, n, result)
	case result.MP3 != nil && result.Source != nil && result.Failure == nil:
		c, err = d.takeMP3(r.Context(), id, n, result)
	default:
		err = &badRequest{errors.New("a result holds either mp3 and source, or failure")}
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	answer(w, attempt.Taken{State: c.State})
}

func (d *Dispatcher) takeFailure(ctx context.Context, id string, n int, result attempt.Result) (conversion.Conversion, error) {
	failure := *result.Failure
	if !failure.Code.Known() || len(failure.Message) > maxMessage { // it goes into metrics and mails
		failure = conversion.Failure{Code: conversion.CodeInternal, Message: "The converter reported something unknown."}
	}
	outcome := conversion.Counted
	if result.Final {
		outcome = conversion.Final
	}
	c, moved, err := d.update(ctx, id, func(c *conversion.Conversion) error {
		if c.State == conversion.Running && !c.Current(n, result.Nonce) {
			return conversion.ErrStaleAttempt
		}
		return c.FailAttempt(n, failure, outcome, d.o.Policy, d.o.Now())
	})
	if moved {
		d.o.Log.Info("attempt reported a failure", "conversion_id", id, "attempt", n, "code", failure.Code, "state", c.State)
	}
	return c, err
}

// takeMP3 records the result once the store confirms it. The object of a
// refused result is removed.
func (d *Dispatcher) takeMP3(ctx context.Context, id string, n int, result attempt.Result) (conversion.Conversion, error) {
	c, err := d.o.Records.ByID(ctx, id)
	if err != nil {
		return c, err
	}
	key := c.MP3Key(n)
	object, err := d.o.Blobs.Head(ctx, key)
	switch there := err == nil; {
	case !there && !errors.Is(err, blob.ErrNotExist):
		return c, fmt.Errorf("confirm result of attempt %d of %s: %w", n, id, err)
	case !c.Current(n, result.Nonce): // known already, or refused below
	case !there:
		return c, &badRequest{errors.New("nothing is stored at the target")}
	case object.Size != result.MP3.Size:
		return c, &badRequest{fmt.Errorf("the stored object has %d bytes, the result says %d", object.Size, result.MP3.Size)}
	}
	mp3 := *result.MP3
	mp3.ETag = object.ETag
	c, moved, err := d.update(ctx, id, func(c *conversion.Conversion) error {
		return c.Complete(n, result.Nonce, *result.Source, mp3, d.o.Policy, d.o.Now())
	})
	if errors.Is(err, conversion.ErrStaleAttempt) {
		if c.MP3.Key != key && (c.State != conversion.Running || c.Attempt != n) {
			d.o.Log.Info("late result refused", "conversion_id", id, "attempt", n)
			if removed := d.o.Blobs.Delete(ctx, key); removed != nil { // CleanAt finds it later
				d.o.Log.Warn("object of refused result left", "conversion_id", id, "attempt", n, "error", removed)
			} else if object.Key != "" {
				d.metrics.removed.Inc()
			}
		}
		return c, err
	}
	if moved {
		d.o.Log.Info("conversion done", "conversion_id", id, "attempt", n,
			"audio_seconds", c.MP3.Duration, "mp3_bytes", c.MP3.Size)
	}
	return c, err
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}
