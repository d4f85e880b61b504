package execlaunch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// What an attempt's directory holds.
const (
	lockName  = "lock"  // locked as long as a process of the attempt lives
	groupName = "group" // number of the process group
	idName    = "id"    // of the launch
	workName  = "work"  // the child's own files
)

// makeDir makes the directory of an attempt's launch and locks it.
func makeDir(dir, id string) (lock *os.File, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o600) // ffmpeg inherits it and cannot write there
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, idName), []byte(id), 0o600)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, workName), 0o700)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func recordGroup(dir string, pgid int) error {
	return os.WriteFile(filepath.Join(dir, groupName), []byte(strconv.Itoa(pgid)), 0o600)
}

// killRecorded kills the group that was recorded in dir, if any.
func killRecorded(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, groupName))
	if err != nil {
		return
	}
	if pgid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pgid > 1 {
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
	}
}

// remove ends the processes that still hold the lock of an attempt's directory,
// waits until nobody holds it, and removes the directory. A missing directory
// is no error.
func remove(ctx context.Context, dir string) error {
	lock, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(dir)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			// The lock goes last: while it exists, the next life of the
			// launcher can go on with the removal.
			if err := os.RemoveAll(filepath.Join(dir, workName)); err != nil {
				return err
			}
			return os.RemoveAll(dir)
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		// The lock is held, so a process of the group lives, and its number
		// cannot belong to another group by now.
		killRecorded(dir)
		select {
		case <-ctx.Done():
			return fmt.Errorf("a process still holds %s: %w", lock.Name(), ctx.Err())
		case <-tick.C:
		}
	}
}

var attemptDir = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]*)-([1-9][0-9]*)$`)

// lockRoot makes root where it is missing, and locks it for this process.
func lockRoot(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.Open(root) // a directory can be locked like a file
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return lock, nil
}

// recoverDir clears every attempt's directory below root, and returns the ends
// of the attempts that were there. Anything else below root is left alone.
func recoverDir(root string) (ends []launch.End, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), reapTime)
	defer cancel()
	for _, e := range entries {
		name := attemptDir.FindStringSubmatch(e.Name())
		if !e.IsDir() || name == nil {
			continue
		}
		dir := filepath.Join(root, e.Name())
		if _, err := os.Stat(filepath.Join(dir, lockName)); errors.Is(err, fs.ErrNotExist) {
			// The launcher was killed while it made or removed this directory.
			// Or the directory is not ours; then it is not empty and stays.
			_ = os.Remove(filepath.Join(dir, groupName))
			_ = os.Remove(filepath.Join(dir, idName))
			_ = os.Remove(dir)
			continue
		}
		id, _ := os.ReadFile(filepath.Join(dir, idName)) // without one, it may be any launch
		if err := remove(ctx, dir); err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(name[2])
		if err != nil {
			continue // no attempt has such a number
		}
		ends = append(ends, launch.End{
			AttemptRef: conversion.AttemptRef{ConversionID: name[1], Attempt: n}, Launch: string(id),
			Reason: launch.Disrupted, Detail: "the launcher ended, and its next life ended this attempt",
		})
	}
	return ends, nil
}
