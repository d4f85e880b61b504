package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sync/errgroup"

	"tonearm/cmd/tonearm/internal/files"
	"tonearm/internal/client"
)

const (
	watchTick = time.Second
	// settled is how long a file has to keep its size and time before it counts as
	// whole, if nobody has it open for writing.
	settled = 3 * time.Second
	// rescan finds what the system did not tell of: on network file systems, and after
	// too many changes at once.
	rescan = time.Minute
	// againAfter is when a file is tried again that could not be sent.
	againAfter = time.Minute
)

// watcher converts what comes into folders.
type watcher struct {
	*converter
	roots   []string
	changes *fsnotify.Watcher

	mu    sync.Mutex
	files map[string]*watched // by absolute path
}

// watched is a file in a folder that is watched.
type watched struct {
	size    int64
	modTime time.Time
	since   time.Time // when it was first seen like this
	after   time.Time // not to be tried before
	taken   bool      // converted, or about to be
}

// watch converts the videos in the folders, and then those that come, until ctx
// ends.
func (c *converter) watch(ctx context.Context, roots []string) error {
	changes, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer changes.Close()
	w := &watcher{converter: c, roots: roots, changes: changes, files: map[string]*watched{}}
	if err := w.add(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var g errgroup.Group
	g.SetLimit(c.jobs)
	defer g.Wait() //nolint:errcheck // what goes on there is reported there
	tick, all := time.NewTicker(watchTick), time.NewTicker(rescan)
	defer tick.Stop()
	defer all.Stop()
	for look := true; ; {
		select {
		case <-changes.Events:
			look = true
			continue // until the tick: changes come in crowds
		case err := <-changes.Errors:
			say(c.cmd, "Warning: %v. All folders are looked through again.", err)
			look = true
			continue
		case <-all.C:
			look = true
			continue
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if look || w.waits() {
			look = false
			w.start(ctx, stop, &g, w.ready())
		}
	}
}

// add watches the folders, with --recursive also those below.
func (w *watcher) add() error {
	for _, root := range w.roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && path == root:
				return err
			case err != nil:
				return nil //nolint:nilerr // a folder that cannot be read has no videos, and is told of when files are listed
			case !d.IsDir():
				return nil
			case path != root && (!w.recursive || d.Name()[0] == '.'):
				return fs.SkipDir
			}
			return w.changes.Add(path)
		})
		if err != nil {
			return fmt.Errorf("watch %s: %w", root, err)
		}
	}
	return nil
}

// waits reports whether some file is still being written, or is to be tried again.
func (w *watcher) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.files {
		if !f.taken {
			return true
		}
	}
	return false
}

// ready returns the videos that are whole and were not converted yet.
func (w *watcher) ready() []*files.File {
	w.add() //nolint:errcheck // a folder that is gone has no videos
	now := time.Now()
	var ready []*files.File
	there := map[string]bool{}
	all := w.list()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range all {
		if f.Err != nil {
			continue // it is gone, or comes later
		}
		there[f.Abs] = true
		seen := w.files[f.Abs]
		if seen == nil || seen.size != f.Info.Size() || !seen.modTime.Equal(f.Info.ModTime()) {
			seen = &watched{size: f.Info.Size(), modTime: f.Info.ModTime(), since: now}
			w.files[f.Abs] = seen
		}
		whole := now.Sub(seen.since) >= settled || now.Sub(seen.modTime) > rescan
		if !seen.taken && whole && seen.size > 0 && now.After(seen.after) && !beingWritten(f.Path) {
			seen.taken = true
			ready = append(ready, f)
		}
	}
	for path := range w.files {
		if !there[path] {
			delete(w.files, path)
		}
	}
	return ready
}

// later makes a file wait for another try.
func (w *watcher) later(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.files[path]; f != nil {
		f.taken, f.after = false, time.Now().Add(againAfter)
	}
}

// list returns the videos in the folders.
func (w *watcher) list() []*files.File {
	all := files.List(w.roots, true)
	if w.recursive {
		return all
	}
	var here []*files.File
	for _, f := range all {
		if f.Folder == "" {
			here = append(here, f)
		}
	}
	return here
}

// start converts files beside those under way. It waits while there are as many as
// --jobs allows.
func (w *watcher) start(ctx context.Context, stop context.CancelCauseFunc, g *errgroup.Group, ready []*files.File) {
	works := w.plan(ctx, ready)
	for _, one := range works {
		if one.settled == nil {
			w.screen.Expect(1, one.toSend())
		}
	}
	for _, one := range works {
		if one.settled != nil {
			w.ended(one, *one.settled)
			continue
		}
		g.Go(func() error {
			o, err := w.convert(ctx, one)
			if client.IsLogin(err) {
				stop(err)
			}
			if o.Error != nil && (o.Error.Code == codeUnreachable || o.Error.Code == codeLocal) {
				w.later(one.file.Abs)
			}
			w.ended(one, o)
			return nil
		})
	}
}

// ended reports a file. If it has no MP3 it may come again, and is no reason for a
// number in that name.
func (w *watcher) ended(one *work, o outcome) {
	if o.Error != nil && w.output != nil {
		w.output.Release(one.file)
	}
	w.finish(o)
}

// errNoFolder says that something that is to be watched is no folder.
var errNoFolder = errors.New("--watch needs folders")

// checkFolders returns what cannot be watched.
func checkFolders(paths []string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return usageError{fmt.Errorf("%w, and %s is none", errNoFolder, path)}
		}
	}
	return nil
}
