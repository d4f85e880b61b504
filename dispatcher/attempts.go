package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"tonearm/internal/attempt"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/printable"
	"tonearm/internal/strictjson"
)

const (
	maxReport  = 64 << 10 // bytes of a transcoder's request
	maxMessage = 1 << 10  // bytes of a failure's message

	leastMP3Limit = 64 << 20 // bytes
	mp3Growth     = 60       // Opus at 6 kbit/s as an MP3 at 320 is 53 times as large
)

// errUnauthorized: the token is missing or not good for the call.
var errUnauthorized = errors.New("the token is missing or not valid for this request")

// serveCall returns the handler of one of the transcoder's calls: it checks the
// token, decodes the body and answers with what do returns.
func serveCall[B any](d *Dispatcher, do func(ctx context.Context, id string, n int, body B) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		n, err := d.o.AttemptKey.Verify(id, token)
		if err != nil || !bearer {
			d.fail(w, r, errUnauthorized)
			return
		}
		var body B
		content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
		if err == nil {
			err = strictjson.Unmarshal(content, &body)
		}
		if err != nil {
			d.fail(w, r, &badRequest{err})
			return
		}
		answer, err := do(r.Context(), id, n, body)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer)
	}
}

func (d *Dispatcher) claim(ctx context.Context, id string, n int, claim attempt.Claim) (any, error) {
	first := false
	c, err := d.outbox.Update(ctx, id, func(c *conversion.Conversion) error {
		first = c.Nonce == ""
		if err := c.Claim(n, claim.Nonce, d.o.Policy, d.o.Now()); err != nil {
			return err
		}
		if err := c.Adopt(n, claim.Launch, d.o.Now()); !errors.Is(err, conversion.ErrUnchanged) {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if first {
		d.metrics.claimed(c)
	}
	return d.assignment(ctx, c)
}

// assignment returns the assignment for the process that claimed the current
// attempt.
func (d *Dispatcher) assignment(ctx context.Context, c conversion.Conversion) (attempt.Assignment, error) {
	source, target, err := d.urls(ctx, c)
	if err != nil {
		return attempt.Assignment{}, err
	}
	limits := d.o.Limits
	limits.MaxSourceBytes, limits.MaxMP3Bytes = c.Object.Size, d.mp3Limit(c)
	every := d.o.ReportEvery
	if c.Carrier != nil { // it learns of a stop from the answers to its reports
		every = min(every, carriedReports)
	}
	return attempt.Assignment{
		ConversionID: c.ID, Attempt: c.Attempt, Class: c.Class, Filename: c.Filename, Options: c.Options,
		Source: source, SourceETag: c.Object.ETag, SourceSize: c.Object.Size, Target: target,
		Limits: limits, ReportSeconds: every.Seconds(),
	}, nil
}

// mp3Limit returns how many bytes the MP3 of c may have. A small file can hold days
// of silence: nobody gets more than mp3Growth times what they sent, but for files of
// which that would be little.
func (d *Dispatcher) mp3Limit(c conversion.Conversion) int64 {
	return min(d.o.Limits.MaxMP3Bytes, max(leastMP3Limit, mp3Growth*c.Object.Size))
}

func (d *Dispatcher) progress(ctx context.Context, id string, n int, p attempt.Progress) (any, error) {
	c, err := d.outbox.Update(ctx, id, func(c *conversion.Conversion) error {
		return c.Report(n, p.Nonce, p.Progress, d.o.Policy, d.o.Now())
	})
	if errors.Is(err, conversion.ErrStaleAttempt) || errors.Is(err, conversion.ErrNotFound) {
		return attempt.ProgressReply{Stop: true}, nil
	}
	if err != nil {
		return nil, err
	}
	source, target, err := d.urls(ctx, c)
	return attempt.ProgressReply{Source: source, Target: target}, err
}

// urls signs the URLs for what the current attempt may read and write.
func (d *Dispatcher) urls(ctx context.Context, c conversion.Conversion) (source, target attempt.Request, err error) {
	get, err := d.o.Objects.PresignGet(ctx, c.Object.Key, "", "", d.o.Policy.URLExpiry, blob.Internal)
	if err != nil {
		return source, target, fmt.Errorf("sign source of %s: %w", c.ID, err)
	}
	put, err := d.o.Objects.PresignOverwrite(ctx, c.MP3Key(c.Attempt), d.o.Policy.URLExpiry, blob.Internal)
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

func (d *Dispatcher) result(ctx context.Context, id string, n int, result attempt.Result) (any, error) {
	take := d.takeMP3
	mp3, failed := result.MP3 != nil && result.Source != nil, result.Failure != nil
	switch {
	case failed && result.MP3 == nil && !result.Stopped:
		take = d.takeFailure
	case result.Stopped && result.MP3 == nil && !failed:
		take = d.takeStopped
	case !mp3 || failed || result.Stopped:
		return nil, &badRequest{errors.New("a result must have mp3 and source, or failure, or stopped")}
	}
	c, err := take(ctx, id, n, result)
	if err != nil {
		return nil, err
	}
	next, err := d.next(ctx, c, n, result)
	return attempt.ResultReply{State: c.State, Next: next}, err
}

// takeStopped changes nothing, because whoever stopped the attempt has ended
// it.
func (d *Dispatcher) takeStopped(ctx context.Context, id string, _ int, _ attempt.Result) (conversion.Conversion, error) {
	return d.o.Records.ByID(ctx, id)
}

func (d *Dispatcher) takeFailure(ctx context.Context, id string, n int, result attempt.Result) (conversion.Conversion, error) {
	failure := *result.Failure
	if !failure.Code.Known() || len(failure.Message) > maxMessage { // it will be used in metrics and mails
		failure = conversion.Failure{Code: conversion.CodeInternal, Message: "The converter sent a report that the server does not understand."}
	}
	failure.Message = printable.Clean(failure.Message) // it may quote the file
	outcome := conversion.Counted
	if result.Final {
		outcome = conversion.Final
	}
	c, changed, err := d.update(ctx, id, func(c *conversion.Conversion) error {
		if c.State == conversion.Running && !c.Current(n, result.Nonce) {
			return conversion.ErrStaleAttempt
		}
		if result.Fault != "" && !result.Final {
			return c.HandBack(n, result.Fault, failure, d.o.Policy, d.o.Now())
		}
		return c.FailAttempt(n, failure, outcome, d.o.Policy, d.o.Now())
	})
	if changed && c.Waiting != nil {
		d.metrics.faults.WithLabelValues(string(c.Class), string(c.Waiting.Reason)).Inc()
		d.o.Log.Warn("attempt handed back: its machine is not well", "conversion_id", id, "attempt", n, "fault", c.Waiting.Reason, "not_before", c.NotBefore)
	} else if changed {
		d.o.Log.Info("attempt reported a failure", "conversion_id", id, "attempt", n, "code", failure.Code, "state", c.State)
	}
	return c, err
}

// refuseMP3 removes an MP3 that is larger than it may be, and ends its conversion.
func (d *Dispatcher) refuseMP3(ctx context.Context, c conversion.Conversion, n int, result attempt.Result) (conversion.Conversion, error) {
	if err := d.o.Objects.Delete(ctx, c.MP3Key(n)); err != nil {
		return c, fmt.Errorf("remove the MP3 of attempt %d of %s: %w", n, c.ID, err)
	}
	limit := d.mp3Limit(c)
	return d.takeFailure(ctx, c.ID, n, attempt.Result{Nonce: result.Nonce, Final: true, Failure: &conversion.Failure{
		Code: conversion.CodeLimitExceeded, Message: fmt.Sprintf("The MP3 is larger than the limit of %d bytes (%s).", limit, conversion.Size(limit)),
	}})
}

// takeMP3 records the result once the store confirms it. If the result is
// refused, its object is removed.
func (d *Dispatcher) takeMP3(ctx context.Context, id string, n int, result attempt.Result) (conversion.Conversion, error) {
	c, err := d.o.Records.ByID(ctx, id)
	if err != nil {
		return c, err
	}
	key := c.MP3Key(n)
	object, err := d.o.Objects.Head(ctx, key)
	switch there := err == nil; {
	case !there && !errors.Is(err, blob.ErrNotExist):
		return c, fmt.Errorf("confirm result of attempt %d of %s: %w", n, id, err)
	case !c.Current(n, result.Nonce): // known already, or will be refused below
	case !there:
		return c, &badRequest{errors.New("the MP3 is not in the object store")}
	case object.Size > d.mp3Limit(c): // whoever made it did not keep to the assignment
		return d.refuseMP3(ctx, c, n, result)
	case object.Size != result.MP3.Size:
		return c, &badRequest{fmt.Errorf("the stored MP3 has %d bytes, but the result says %d", object.Size, result.MP3.Size)}
	}
	mp3 := *result.MP3
	mp3.ETag = object.ETag
	mp3.Notes = slices.Clone(mp3.Notes)
	for i := range mp3.Notes {
		mp3.Notes[i].Message = printable.Clean(mp3.Notes[i].Message)
	}
	c, changed, err := d.update(ctx, id, func(c *conversion.Conversion) error {
		return c.Complete(n, result.Nonce, *result.Source, mp3, d.o.Policy, d.o.Now())
	})
	if errors.Is(err, conversion.ErrStaleAttempt) {
		if c.MP3.Key != key && (c.State != conversion.Running || c.Attempt != n) {
			d.o.Log.Info("late result refused", "conversion_id", id, "attempt", n)
			if removed := d.o.Objects.Delete(ctx, key); removed != nil { // CleanAt finds it later
				d.o.Log.Warn("could not remove the object of a refused result", "conversion_id", id, "attempt", n, "error", removed)
			} else if object.Key != "" {
				d.metrics.removed.Inc()
			}
		}
		return c, err
	}
	if changed {
		d.metrics.done(c)
		d.o.Log.Info("conversion done", "conversion_id", id, "attempt", n,
			"audio_seconds", c.MP3.Duration, "mp3_bytes", c.MP3.Size)
	}
	return c, err
}
