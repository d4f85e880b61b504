package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync"

	"tonearm/internal/client"
	"tonearm/internal/conversion"
	"tonearm/internal/media/remux"
)

// Values of --send.
const (
	sendAuto  = "auto"
	sendWhole = "whole"
)

// errTruncated is how a file is refused before anything is sent, with the server's
// code.
var errTruncated = conversion.Failure{
	Code:    conversion.CodeTruncated,
	Message: "The file ends too early: it was cut off when it was recorded or copied. Nothing was sent. Copy or download it again.",
}

var errShorter = errors.New("the file became shorter while it was read; run the same command again")

// content is what is sent of a file.
type content struct {
	io.ReaderAt
	size int64
	mode string // a conversion.SentPart; '' for the whole file
	plan string // fingerprint of how it was made; '' for the whole file

	once sync.Once
	sum  string
	err  error
}

// sha256 returns the SHA-256 of the content. It is read once.
func (c *content) sha256(ctx context.Context) (string, error) {
	c.once.Do(func() {
		h := sha256.New()
		buf := make([]byte, 1<<20)
		for off := int64(0); off < c.size && c.err == nil; {
			n, err := c.ReadAt(buf[:min(int64(len(buf)), c.size-off)], off)
			h.Write(buf[:n])
			off += int64(n)
			switch {
			case off < c.size && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
				c.err = &client.LocalError{Err: errShorter}
			case err != nil && !errors.Is(err, io.EOF):
				c.err = &client.LocalError{Err: err}
			}
			if ctx.Err() != nil {
				c.err = context.Cause(ctx)
			}
		}
		c.sum = hex.EncodeToString(h.Sum(nil))
	})
	return c.sum, c.err
}

// sendable is what can be sent of a file: all of it, or only its sound.
type sendable struct {
	all     *content
	options conversion.Options

	looked bool
	sound  *content
	err    error
}

func newSendable(video io.ReaderAt, size int64, o conversion.Options) *sendable {
	return &sendable{all: &content{ReaderAt: video, size: size}, options: o}
}

// onlySound returns the file with its sound alone, or nil where all of it has to be
// sent. The first call looks through the file. The error is errTruncated, a
// client.LocalError, or ctx's.
func (s *sendable) onlySound(ctx context.Context) (*content, error) {
	if s.looked {
		return s.sound, s.err
	}
	s.looked = true
	plan, err := remux.New(ctx, s.all.ReaderAt, s.all.size, remux.Options{
		Track: s.options.Track, Pictures: s.options.Cover.Decodes(),
		Start: s.options.Start, End: s.options.End, Kbps: s.options.Resolved().BitrateKbps,
	})
	switch {
	case errors.Is(err, remux.ErrTruncated):
		s.err = errTruncated
	case ctx.Err() != nil:
		s.err = context.Cause(ctx)
	case err != nil:
		s.err = &client.LocalError{Err: err}
	case !plan.Whole:
		s.sound = &content{ReaderAt: plan, size: plan.Size, mode: string(conversion.SentSound), plan: plan.Fingerprint}
	}
	return s.sound, s.err
}

// of returns what is sent in a mode; nil if that cannot be had of the file.
func (s *sendable) of(ctx context.Context, mode string) (*content, error) {
	switch conversion.SentPart(mode) {
	case "":
		return s.all, nil
	case conversion.SentSound:
		c, err := s.onlySound(ctx)
		if errors.Is(err, errTruncated) {
			return nil, nil
		}
		return c, err
	}
	return nil, nil // of a later version
}
