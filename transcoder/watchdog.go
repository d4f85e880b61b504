package transcoder

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"tonearm/internal/conversion"
)

// errHung is the cause with which work ends that moves nothing any more.
var errHung = errors.New("nothing was read and nothing encoded for too long")

// hung is the failure of such an attempt.
var hung = conversion.Failure{Code: conversion.CodeInternal, Message: "The converter did not get any further and was stopped."}

// looks is how often a watchdog looks within the time after which work has hung.
const looks = 12

// alive notes signs of life.
type alive struct {
	signs   atomic.Int64
	waiting atomic.Int64 // calls of the store, which have time-outs of their own
}

// sign notes that something moved.
func (a *alive) sign() { a.signs.Add(1) }

// wait notes that the store is being asked, until done is called. If it does not
// answer, that is for Options.Patience to say, and the file is not the reason.
func (a *alive) wait() (done func()) {
	a.waiting.Add(1)
	return func() { a.waiting.Add(-1) }
}

// watch returns errHung once nothing has moved for the time silence: no call of the
// store, no sign, and no change of the files in dir. It returns nil if ctx is done before. It counts
// its own looks, so a process that was stopped and goes on has not hung.
func (a *alive) watch(ctx context.Context, dir string, silence time.Duration) error {
	tick := time.NewTicker(silence / looks)
	defer tick.Stop()
	signs, size, still := a.signs.Load(), sizeOf(dir), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s, b := a.signs.Load(), sizeOf(dir)
		if s != signs || b != size || a.waiting.Load() > 0 {
			signs, size, still = s, b, 0
			continue
		}
		if still++; still >= looks {
			return errHung
		}
	}
}

// sizeOf sums the sizes of the files in dir: steps that report nothing, such as
// joining and copying, write there.
func sizeOf(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what has just been removed counts as nothing
		}
		if info, err := e.Info(); err == nil && !e.IsDir() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
