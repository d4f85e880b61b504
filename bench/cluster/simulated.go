package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
)

// simulated carries out an attempt by the transcoder's protocol without
// converting anything. It claims, waits for as long as takes says for the size
// of the source, stores the same few frames for every source, and reports them.
type simulated struct {
	environment map[string]string // of the container
	takes       func(sourceBytes int64) time.Duration
}

// frames is an MP3 of silence: 40 frames of MPEG 1 Layer III, 32 kbit/s, 48 kHz,
// mono, of 96 bytes and 24 ms each.
var frames = bytes.Repeat(append([]byte{0xff, 0xfb, 0x14, 0xc0}, make([]byte, 92)...), 40)

func (s simulated) run(ctx context.Context) error {
	c := attempt.Client{BaseURL: s.environment["TONEARM_DISPATCHER_URL"],
		ConversionID: s.environment["TONEARM_CONVERSION_ID"], Token: s.environment["TONEARM_ATTEMPT_TOKEN"]}
	nonce := rand.Text()
	a, err := c.Claim(ctx, nonce)
	if err != nil {
		return err
	}
	if err := s.wait(ctx, &c, nonce, a); err != nil {
		return err
	}
	if err := store(ctx, a.Target); err != nil {
		return err
	}
	digest := sha256.Sum256(frames)
	_, err = c.Result(ctx, attempt.Result{Nonce: nonce,
		Source: &conversion.Source{Container: "simulated", Codec: "simulated", Duration: .96, SampleRate: 48000, Channels: 1,
			Size: a.SourceSize, AudioTracks: 1},
		MP3: &conversion.MP3{Size: int64(len(frames)), Duration: .96, BitrateKbps: 32, SampleRate: 48000, Channels: 1,
			SHA256: hex.EncodeToString(digest[:]), Encoder: "simulated"},
	})
	return err
}

// wait reports progress as often as the assignment asks for.
func (s simulated) wait(ctx context.Context, c *attempt.Client, nonce string, a attempt.Assignment) error {
	left := s.takes(a.SourceSize)
	end := time.NewTimer(left)
	defer end.Stop()
	report := time.NewTicker(time.Duration(a.ReportSeconds * float64(time.Second)))
	defer report.Stop()
	for {
		select {
		case <-end.C:
			return nil
		case <-report.C:
			answer, err := c.Progress(ctx, attempt.Progress{Nonce: nonce, Progress: conversion.Progress{Phase: conversion.PhaseEncoding}})
			if err != nil {
				return err
			}
			if answer.Stop {
				return fmt.Errorf("stopped")
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func store(ctx context.Context, target attempt.Request) error {
	req, err := http.NewRequestWithContext(ctx, target.Method, target.URL, bytes.NewReader(frames))
	if err != nil {
		return err
	}
	for name, value := range target.Header {
		req.Header.Set(name, value)
	}
	sum := md5.Sum(frames)
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("store the MP3: %s", resp.Status)
	}
	return nil
}

// pod is what a pod of an attempt runs if its image holds this program. A
// source takes one second for every perSecond bytes.
func pod(ctx context.Context, perSecond float64) error {
	s := simulated{environment: map[string]string{}, takes: func(bytes int64) time.Duration {
		return time.Duration(float64(bytes) / perSecond * float64(time.Second))
	}}
	for _, name := range []string{"TONEARM_DISPATCHER_URL", "TONEARM_CONVERSION_ID", "TONEARM_ATTEMPT_TOKEN"} {
		s.environment[name] = os.Getenv(name)
	}
	return s.run(ctx)
}
