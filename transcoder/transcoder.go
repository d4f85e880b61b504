package transcoder

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/ffmpeg"
)

// Names in the working directory. The source has no extension, so that ffmpeg
// recognizes it only by its content.
const (
	sourceName = "source"
	targetName = "out.mp3"
)

const (
	defaultReportEvery = 5 * time.Second
	diskSlack          = 256 << 20 // bytes that must be free besides the source
)

// worker is one attempt that is being carried out.
type worker struct {
	attempt.Assignment
	client   *attempt.Client
	nonce    string // the attempt was claimed with it
	carried  bool   // the attempt is not the first one of this process
	dir      string
	ffmpeg   ffmpeg.Program
	http     *http.Client
	reports  *reporter
	alive    *alive
	patience time.Duration
	silence  time.Duration
	log      *slog.Logger
}

// Run carries out the attempt, and then the further attempts that the
// dispatcher gives it. It returns the exit code of the process for the last of
// them, one of those in package attempt. Canceling ctx ends it promptly.
func Run(ctx context.Context, o Options) int {
	log := o.Log.With("conversion_id", o.ConversionID)
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		log.Error("cannot start", "error", err)
		return attempt.ExitUsage
	}
	defer func() {
		if err := emptyDir(o.Dir); err != nil {
			log.Warn("could not empty the working directory", "error", err)
		}
	}()
	nonce := rand.Text()
	client := o.client(o.ConversionID, o.Token)
	client.Launch = o.LaunchID
	a, err := client.Claim(ctx, nonce)
	if err != nil {
		log.Error("could not get the work from the dispatcher", "error", err)
		return unreported(err)
	}
	w := o.worker(a, o.Token, nonce)
	for {
		nextNonce := rand.Text()
		code, next := w.run(ctx, nextNonce)
		if next == nil {
			return code
		}
		w = o.worker(next.Assignment, next.Token, nextNonce)
		w.carried = true
	}
}

// client makes the calls of one attempt.
func (o Options) client(conversionID, token string) *attempt.Client {
	return &attempt.Client{
		BaseURL: o.DispatcherURL, ConversionID: conversionID, Token: token, HTTP: o.HTTP,
		Retrying: func(err error) {
			o.Log.Warn("cannot reach the dispatcher, trying again", "conversion_id", conversionID, "error", err)
		},
	}
}

// worker returns the worker for an attempt that was claimed with nonce.
func (o Options) worker(a attempt.Assignment, token, nonce string) *worker {
	client := o.client(a.ConversionID, token)
	asked := time.Duration(a.ReportSeconds * float64(time.Second))
	every := cmp.Or(o.ReportEvery, max(0, asked), defaultReportEvery)
	return &worker{
		Assignment: a, client: client, nonce: nonce, dir: o.Dir, http: o.HTTP, patience: o.Patience, silence: o.Silence,
		alive:   &alive{},
		log:     o.Log.With("conversion_id", a.ConversionID, "attempt", a.Attempt),
		ffmpeg:  ffmpeg.Program{Path: o.FFmpeg, GPUPath: o.GPUFFmpeg, MemoryLimit: o.MemoryLimit, ExtraFiles: o.ExtraFiles},
		reports: newReporter(client, nonce, every, a),
	}
}

// run carries out the attempt and reports its outcome. It returns the next
// assignment, which nextNonce claimed. If there is none, the process ends with
// the exit code that run returns.
func (w *worker) run(ctx context.Context, nextNonce string) (int, *attempt.Next) {
	w.log.Info("attempt claimed", "source_bytes", w.SourceSize, "carried", w.carried)
	encoded, err := w.work(ctx)
	stopped := errors.Is(err, errStopped)
	if stopped {
		w.log.Info("attempt stopped by the dispatcher")
	}
	switch {
	case stopped && !w.carried: // the process must end
		return attempt.ExitStopped, nil
	case ctx.Err() != nil:
		w.log.Info("attempt interrupted")
		return attempt.ExitNoReport, nil
	}
	result, code := w.outcome(encoded, err)
	if code != attempt.ExitFailed && code != attempt.ExitFault { // otherwise this machine may be the reason
		result.NextNonce = nextNonce
	}
	taken, err := w.client.Result(ctx, result)
	if err != nil {
		w.log.Error("could not report the result", "error", err)
		return unreported(err), nil
	}
	w.log.Info("attempt reported", "state", taken.State, "audio_seconds", encoded.MP3.Duration, "mp3_bytes", encoded.MP3.Size)
	if code == attempt.ExitDone && taken.State != conversion.Done { // the attempt was no longer wanted
		code = attempt.ExitStopped
	}
	return code, taken.Next
}

// work runs the steps. At the same time it reports, and ends them if they hang.
func (w *worker) work(ctx context.Context) (media.Encoded, error) {
	if err := emptyDir(w.dir); err != nil {
		return media.Encoded{}, diskError(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	for _, run := range []func(context.Context) error{
		w.reports.run,
		func(ctx context.Context) error { return w.alive.watch(ctx, w.dir, w.silence) },
	} {
		beside.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	encoded, err := w.convert(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	beside.Wait()
	return encoded, err
}

// convert reads, encodes and stores.
func (w *worker) convert(ctx context.Context) (media.Encoded, error) {
	phase := func(p conversion.Phase) {
		w.alive.sign()
		w.reports.update(func(r *conversion.Progress) { r.Phase = p })
	}
	phase(conversion.PhaseReading)
	target := filepath.Join(w.dir, targetName)
	if err := w.mayRead(); err != nil {
		return media.Encoded{}, err
	}
	f, err := w.fetch(ctx, filepath.Join(w.dir, sourceName))
	if err != nil {
		return media.Encoded{}, err
	}
	defer f.close()
	in, err := media.Follow(w.ffmpeg, f)
	if err != nil {
		return media.Encoded{}, err
	}
	spec := media.Spec{
		Target: target, Options: w.Options, Filename: w.Filename, Class: w.Class,
		MaxSeconds: w.Limits.MaxDurationSeconds, MaxBytes: w.Limits.MaxMP3Bytes,
		Found: func(seconds float64) {
			w.reports.update(func(p *conversion.Progress) { p.TotalSeconds = seconds })
			phase(conversion.PhaseEncoding)
		},
		Progress: func(seconds float64) {
			w.reports.update(func(p *conversion.Progress) {
				if p.DoneSeconds != seconds { // ffmpeg also says so if it gets no further
					w.alive.sign()
				}
				p.DoneSeconds = seconds
			})
		},
	}
	if f.pictures != nil {
		spec.Pictures = f.pictures
	}
	encoded, err := media.Convert(ctx, in, spec)
	if err != nil {
		return media.Encoded{}, err
	}
	encoded.Source.Size = w.SourceSize
	f.addStats(&encoded.Source)
	phase(conversion.PhaseStoring)
	if err := w.upload(ctx, target, encoded.MP3.Size, encoded.MD5); err != nil {
		return media.Encoded{}, err
	}
	phase(conversion.PhaseReporting)
	return encoded, nil
}

// mayRead checks the source's size against the limits.
func (w *worker) mayRead() error {
	switch limit := w.Limits.MaxSourceBytes; {
	case w.SourceSize <= 0:
		return &failure{Failure: conversion.EmptySource, final: true}
	case limit > 0 && w.SourceSize > limit:
		return &failure{Failure: conversion.TooLarge(w.SourceSize, limit), final: true}
	}
	return nil
}

// outcome returns the result of work for the dispatcher, and its exit code.
func (w *worker) outcome(encoded media.Encoded, err error) (attempt.Result, int) {
	switch {
	case errors.Is(err, errStopped):
		return attempt.Result{Nonce: w.nonce, Stopped: true}, attempt.ExitStopped
	case err == nil:
		return attempt.Result{Nonce: w.nonce, MP3: &encoded.MP3, Source: &encoded.Source}, attempt.ExitDone
	}
	f, fault := failureOf(err), w.faultOf(err)
	w.log.Warn("attempt failed", "code", f.Code, "final", f.final, "fault", fault, "error", err)
	if unfit := (*media.Error)(nil); errors.As(err, &unfit) && unfit.Detail != "" {
		w.log.Debug("ffmpeg said", "detail", unfit.Detail) // the text may hold tags of the source
	}
	code := attempt.ExitFailed
	switch {
	case f.final:
		code = attempt.ExitBadInput
	case fault != "":
		code = attempt.ExitFault
	}
	return attempt.Result{Nonce: w.nonce, Failure: &f.Failure, Final: f.final, Fault: fault}, code
}

// failureOf returns what the dispatcher and the owner learn about err.
func failureOf(err error) *failure {
	var f *failure
	var unfit *media.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &unfit):
		return &failure{Failure: conversion.Failure{Code: unfit.Code, Message: unfit.Message}, final: true}
	case errors.Is(err, errHung):
		return &failure{Failure: hung, err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{Failure: conversion.TookTooLong, err: err}
	}
	return retryable(conversion.CodeInternal, err, "The converter failed. The file is not the reason.")
}

// unreported returns the exit code after a call that failed.
func unreported(err error) int {
	if errors.Is(err, attempt.ErrStale) || errors.Is(err, attempt.ErrToken) {
		return attempt.ExitStopped
	}
	return attempt.ExitNoReport
}

// emptyDir makes the directory if it is missing, for this user only, and
// removes its content.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory that may have existed
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
