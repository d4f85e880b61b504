package transcoder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media"
)

// Names in the working directory. The source has no extension, so that nothing
// but its content tells ffmpeg what it is.
const (
	sourceName = "source"
	targetName = "out.mp3"
)

const (
	defaultReportEvery = 5 * time.Second
	defaultPatience    = 5 * time.Minute
	diskSlack          = 64 << 20 // bytes to be free beside the source
)

// worker is one attempt under way.
type worker struct {
	attempt.Assignment
	dir      string
	tool     media.Tool
	http     *http.Client
	reports  *reporter
	patience time.Duration
	log      *slog.Logger
}

// Run carries out the attempt and returns the exit code of the process, one of
// those in package attempt. Canceling ctx ends it promptly.
func Run(ctx context.Context, o Options) int {
	log := o.Log.With("conversion_id", o.ConversionID)
	if err := o.validate(); err != nil {
		log.Error("cannot start", "error", err)
		return attempt.ExitUsage
	}
	if err := emptyDir(o.Dir); err != nil {
		log.Error("cannot use the working directory", "error", err)
		return attempt.ExitUsage
	}
	defer func() {
		if err := emptyDir(o.Dir); err != nil {
			log.Warn("working directory not emptied", "error", err)
		}
	}()
	hc := o.HTTP
	if hc == nil {
		hc = newHTTP()
	}
	client := &attempt.Client{
		BaseURL: o.DispatcherURL, ConversionID: o.ConversionID, Token: o.Token, HTTP: hc,
		Retrying: func(err error) { log.Warn("dispatcher not reached, trying again", "error", err) },
	}
	nonce := rand.Text()
	a, err := client.Claim(ctx, nonce)
	if err != nil {
		log.Error("no assignment", "error", err)
		return unreported(err)
	}
	log = log.With("attempt", a.Attempt)
	log.Info("attempt claimed", "source_bytes", a.SourceSize)

	every := o.ReportEvery
	if every <= 0 {
		every = time.Duration(a.ReportSeconds * float64(time.Second))
	}
	if every <= 0 {
		every = defaultReportEvery
	}
	w := &worker{
		Assignment: a, dir: o.Dir, http: hc, log: log, patience: o.Patience,
		tool:    media.Tool{FFmpeg: o.FFmpeg, MemoryLimit: o.MemoryLimit, ExtraFiles: o.ExtraFiles},
		reports: newReporter(client, nonce, every, a),
	}
	if w.patience <= 0 {
		w.patience = defaultPatience
	}
	encoded, err := w.work(ctx)
	if errors.Is(err, errStopped) {
		log.Info("attempt stopped by the dispatcher")
		return attempt.ExitStopped
	}
	if ctx.Err() != nil {
		log.Info("attempt interrupted")
		return attempt.ExitNoReport
	}
	return w.conclude(ctx, client, nonce, encoded, err)
}

// work runs the steps, reporting beside them.
func (w *worker) work(ctx context.Context) (media.Encoded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		if err := w.reports.run(ctx); err != nil {
			cancel(err)
		}
	}()
	encoded, err := w.convert(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	<-reported
	return encoded, err
}

// convert reads, encodes and stores.
func (w *worker) convert(ctx context.Context) (media.Encoded, error) {
	phase := func(p conversion.Phase) {
		w.reports.update(func(r *conversion.Progress) { r.Phase = p })
	}
	phase(conversion.PhaseReading)
	source, target := filepath.Join(w.dir, sourceName), filepath.Join(w.dir, targetName)
	if err := w.mayRead(); err != nil {
		return media.Encoded{}, err
	}
	if err := w.download(ctx, source); err != nil {
		return media.Encoded{}, err
	}
	info, err := w.tool.Probe(ctx, source)
	if err != nil {
		return media.Encoded{}, err
	}
	if seconds, err := info.Length(w.Options); err == nil {
		w.reports.update(func(p *conversion.Progress) { p.TotalSeconds = seconds })
	}
	phase(conversion.PhaseEncoding)
	encoded, err := w.tool.Encode(ctx, media.EncodeSpec{
		Source: info, Target: target, Options: w.Options, Filename: w.Filename, Class: w.Class,
		MaxSeconds: w.Limits.MaxDurationSeconds, MaxBytes: w.Limits.MaxMP3Bytes,
	}, func(seconds float64) {
		w.reports.update(func(p *conversion.Progress) { p.DoneSeconds = seconds })
	})
	if err != nil {
		return media.Encoded{}, err
	}
	phase(conversion.PhaseStoring)
	if err := w.upload(ctx, target, encoded.MP3.Size, encoded.MD5); err != nil {
		return media.Encoded{}, err
	}
	phase(conversion.PhaseReporting)
	return encoded, nil
}

// mayRead checks the source's size against the limits and the disk.
func (w *worker) mayRead() error {
	switch limit := w.Limits.MaxSourceBytes; {
	case w.SourceSize <= 0:
		return final(conversion.CodeEmpty, "The file is empty.")
	case limit > 0 && w.SourceSize > limit:
		return final(conversion.CodeLimitExceeded, "The video has %d bytes; at most %d are converted.", w.SourceSize, limit)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(w.dir, &st); err != nil {
		return mayHeal(conversion.CodeInternal, err, "The converter's disk cannot be used.")
	}
	if free := st.Bavail * uint64(st.Bsize); free < uint64(w.SourceSize)+diskSlack {
		return mayHeal(conversion.CodeInternal, fmt.Errorf("%d bytes free in the working directory", free),
			"The converter's disk has no room for a video of %d bytes.", w.SourceSize)
	}
	return nil
}

// conclude reports the outcome of work.
func (w *worker) conclude(ctx context.Context, client *attempt.Client, nonce string, encoded media.Encoded, err error) int {
	result, code := attempt.Result{Nonce: nonce, MP3: &encoded.MP3, Source: &encoded.Source}, attempt.ExitDone
	if err != nil {
		f := failureOf(err)
		w.log.Warn("attempt failed", "code", f.Code, "final", f.final, "error", err)
		if unfit := (*media.Error)(nil); errors.As(err, &unfit) && unfit.Detail != "" {
			w.log.Debug("ffmpeg said", "detail", unfit.Detail) // may hold tags of the source
		}
		result, code = attempt.Result{Nonce: nonce, Failure: &f.Failure, Final: f.final}, attempt.ExitFailed
		if f.final {
			code = attempt.ExitBadInput
		}
	}
	taken, err := client.Result(ctx, result)
	if err != nil {
		w.log.Error("result not reported", "error", err)
		return unreported(err)
	}
	if code == attempt.ExitDone && taken.State != conversion.Done {
		w.log.Info("result not wanted any more", "state", taken.State)
		return attempt.ExitStopped
	}
	w.log.Info("attempt reported", "state", taken.State, "audio_seconds", encoded.MP3.Duration, "mp3_bytes", encoded.MP3.Size)
	return code
}

// failureOf says what the dispatcher and the owner are told.
func failureOf(err error) *failure {
	var f *failure
	var unfit *media.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &unfit):
		return &failure{Failure: conversion.Failure{Code: unfit.Code, Message: unfit.Message}, final: true}
	case errors.Is(err, context.DeadlineExceeded):
		return mayHeal(conversion.CodeDeadlineExceeded, err, "The conversion took longer than it is allowed.")
	}
	return mayHeal(conversion.CodeInternal, err, "The conversion failed for a reason that is not in the file.")
}

// unreported is the exit code after a call that did not come through.
func unreported(err error) int {
	if errors.Is(err, attempt.ErrStale) || errors.Is(err, attempt.ErrToken) {
		return attempt.ExitStopped
	}
	return attempt.ExitNoReport
}

// emptyDir makes the directory if need be, for us alone, and removes what is
// in it.
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

// newHTTP returns a client that follows no redirects, which would carry the
// token along, and takes bodies as they are.
func newHTTP() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	t.ResponseHeaderTimeout = stall
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
