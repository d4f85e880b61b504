package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"tonearm/bench/link"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
)

// transcoder is the program that carries out attempts.
const transcoder = "bin/transcoder"

// source is what an attempt reads.
type source struct {
	url, etag string
	size      int64
	path      string // of the same bytes on this machine
}

// transcode runs one attempt with the real program in a network. It returns the
// seconds from the program's start to its result, with what it and its ffmpegs
// computed, and how the program read the source. If watch is not nil, it is
// called with the program's process id once the program runs, and stop once it
// has ended.
func transcode(ctx context.Context, in *link.Namespace, scratch string, s source, mp3 string, env []string, watch func(ctx context.Context, pid int) (stop func())) (used, conversion.Source, error) {
	listener, err := in.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return used{}, conversion.Source{}, err
	}
	base := "http://" + listener.Addr().String()
	d := newStubDispatcher(attempt.Assignment{
		ConversionID: "bench", Attempt: 1, Class: conversion.CPU, Filename: "bench.mp4",
		Source:     attempt.Request{Method: http.MethodGet, URL: s.url},
		SourceETag: s.etag, SourceSize: s.size,
		Target:        attempt.Request{Method: http.MethodPut, URL: base + "/mp3"},
		Limits:        attempt.Limits{MaxDurationSeconds: 24 * 3600, MaxMP3Bytes: 2 << 30},
		ReportSeconds: 5,
	}, mp3)
	defer serve(listener, d)()

	cmd := exec.CommandContext(ctx, transcoder)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + scratch, "TMPDIR=" + scratch,
		"TONEARM_DISPATCHER_URL=" + base, "TONEARM_CONVERSION_ID=bench", "TONEARM_ATTEMPT_TOKEN=1.bench",
		"TONEARM_WORK_DIR=" + filepath.Join(scratch, "attempt"), ffmpegVariable + "=" + os.Getenv(ffmpegVariable),
	}, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	if err := in.Start(cmd); err != nil {
		return used{}, conversion.Source{}, fmt.Errorf("%s (make build makes it): %w", transcoder, err)
	}
	if watch != nil {
		defer watch(ctx, cmd.Process.Pid)()
	}
	err = cmd.Wait()
	select {
	case r := <-d.reported:
		if r.Failure != nil {
			return used{}, conversion.Source{}, fmt.Errorf("the attempt failed: %s: %s", r.Failure.Code, r.Failure.Message)
		}
		return used{r.at.Sub(began).Seconds(), cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds()}, *r.Source, err
	default:
		return used{}, conversion.Source{}, errors.Join(fmt.Errorf("no result: %w", err), errors.New(stderr.String()))
	}
}

// serve answers requests until stop is called.
func serve(listener net.Listener, h http.Handler) (stop func()) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	return func() {
		_ = server.Close()
		<-served
	}
}
