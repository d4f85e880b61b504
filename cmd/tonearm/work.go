package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// work is one file of the command.
type work struct {
	file    *files.File
	repeats []string // further names of the same file
	known   *journal.Entry
	settled *outcome // nothing is left to do
}

// size is how many bytes the file has.
func (w *work) size() int64 {
	if w.file.Info == nil {
		return 0
	}
	return w.file.Info.Size()
}

// downloads reports whether the MP3 was made before and is only to be downloaded.
func (w *work) downloads() bool { return w.known != nil && w.known.State == journal.Done }

// toSend is how many bytes are sent at the most.
func (w *work) toSend() int64 {
	if w.settled != nil || w.downloads() {
		return 0
	}
	return w.size()
}

func (w *work) targetPath() *string {
	if w.file.Target == nil || w.settled != nil && w.settled.MP3 == nil {
		return nil
	}
	return &w.file.Target.Path
}

// plan looks up each file in the journal, and decides where its MP3 goes. It sends
// nothing and opens no video.
func (c *converter) plan(ctx context.Context, all []*files.File) []*work {
	var works []*work
	of := map[*files.File]*work{}
	for _, f := range all {
		if f.Repeats != nil {
			w := of[f.Repeats]
			w.repeats = append(w.repeats, f.Path)
			continue
		}
		w := &work{file: f}
		of[f] = w
		works = append(works, w)
		if f.Err != nil {
			o := c.outcome(w, conversion.Failed)
			o.Error = failureOf(&client.LocalError{Err: f.Err})
			w.settled = &o
			continue
		}
		if f.Info == nil { // standard input
			continue
		}
		if e, err := c.journal.Find(ctx, c.source(w)); err != nil {
			c.troubled(err)
		} else if e != nil && e.Unchanged(c.source(w)) {
			w.known = e
		}
	}
	if c.output != nil {
		c.output.Assign(all, func(f *files.File) []string {
			if w := of[f]; w.known != nil {
				places, err := c.journal.Places(ctx, *w.known)
				c.troubled(err)
				return places
			}
			return nil
		})
	}
	for _, w := range works {
		if w.settled == nil {
			w.settled = c.settle(w)
		}
		c.alike.add(w)
	}
	return works
}

// settle returns what became of a file if nothing is left to do, else nil.
func (c *converter) settle(w *work) *outcome {
	if t := w.file.Target; t != nil {
		if path, ok := t.Skippable(); c.skipExisting && ok {
			o := c.outcome(w, conversion.Done)
			o.MP3 = &path
			return &o
		}
		if err := t.Check(); err != nil {
			o := c.outcome(w, conversion.Failed)
			o.Error = &conversion.Failure{Code: codeExists, Message: "The file of --out exists already, and is not the MP3 of this video. Remove it, or choose another name."}
			return &o
		}
	}
	if w.known == nil {
		return nil
	}
	if c.force {
		if t := w.file.Target; t != nil && t.Ours && w.known.State == journal.Done {
			t.Replace(w.known.MP3.SHA256)
		}
		return nil
	}
	switch t := w.file.Target; {
	case w.known.State == journal.Refused:
		o := c.outcome(w, conversion.Failed)
		o.ID, o.Error, o.known = pointer(w.known.Conversion), &w.known.Failure, true
		o.was(w.known.Request)
		return &o
	case w.known.State == journal.Done && (t != nil && t.Ours && t.Exists() || c.noWait):
		o := c.outcome(w, conversion.Done)
		o.ID, o.MP3ID = pointer(w.known.Conversion), pointer(w.known.MP3.ID)
		o.was(w.known.Request)
		if t != nil {
			o.MP3 = &t.Path
		}
		return &o
	}
	return nil
}

// source is the identity of a file for the journal.
func (c *converter) source(w *work) journal.Source {
	s := journal.Source{Server: c.client.Server(), Options: journal.Options(c.request(w)), Path: w.file.Abs}
	if w.file.Info != nil {
		s.Size, s.ModTime = w.file.Info.Size(), w.file.Info.ModTime().UnixNano()
	}
	return s
}

func (c *converter) request(w *work) api.NewConversion {
	return c.options.request(title(w.file.Path), w.size(), !c.noWait)
}

// oldRequest is what versions before 0.2.0 asked for: a mail, unless the command
// line said something else.
func (c *converter) oldRequest(w *work) api.NewConversion {
	return c.options.request(title(w.file.Path), w.size(), false)
}

// alike holds a lock for the files that may have the same content: those of the same
// name and size, if there are several. Only one of them is converted at a time, so that
// the others find its MP3.
type alike struct {
	mu     sync.Mutex
	groups map[alikeKey]*alikeFiles
}

type alikeKey struct {
	name string
	size int64
}

type alikeFiles struct {
	mu    sync.Mutex
	files int
}

func keyOf(w *work) alikeKey { return alikeKey{title(w.file.Path), w.size()} }

func (a *alike) add(w *work) {
	if w.settled != nil || w.file.Info == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.groups == nil {
		a.groups = map[alikeKey]*alikeFiles{}
	}
	if a.groups[keyOf(w)] == nil {
		a.groups[keyOf(w)] = &alikeFiles{}
	}
	a.groups[keyOf(w)].files++
}

func (a *alike) lock(w *work) (unlock func()) {
	a.mu.Lock()
	group := a.groups[keyOf(w)]
	several := group != nil && group.files > 1
	a.mu.Unlock()
	if !several {
		return func() {}
	}
	group.mu.Lock()
	return group.mu.Unlock
}

// convert takes one file all the way. It returns the error as well as its
// report in the outcome.
func (c *converter) convert(ctx context.Context, w *work) (outcome, error) {
	o := c.outcome(w, conversion.Failed)
	var t *task
	fail := func(err error) (outcome, error) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		o.Error = failureOf(err)
		if t != nil {
			if t.content == nil {
				t.line.Resize(0)
			}
			t.line.End(o.Error.Code != codeInterrupted && o.Error.Code != codeLogin)
		}
		return o, err
	}
	if ctx.Err() != nil {
		return fail(nil)
	}
	defer c.alike.lock(w)()
	video, err := c.video(ctx, w)
	if err != nil {
		return fail(err)
	}
	defer video.Close()
	t = c.task(w, video, &o)
	if err := t.run(ctx); err != nil {
		return fail(err)
	}
	t.line.End(false)
	return o, nil
}

// task takes up a file that is open.
func (c *converter) task(w *work, video *os.File, o *outcome) *task {
	return &task{
		converter: c, work: w, video: video, can: newSendable(video, w.size(), c.options.Options),
		line: c.screen.Begin(filepath.Base(w.file.Path), w.toSend()), outcome: o,
	}
}

// video opens the file. Standard input is first copied into a file that has no name,
// since its size has to be known.
func (c *converter) video(ctx context.Context, w *work) (*os.File, error) {
	if w.file.Path != files.Stdin {
		f, err := os.Open(w.file.Path)
		if err != nil {
			return nil, &client.LocalError{Err: err}
		}
		if w.file.Info, err = f.Stat(); err != nil { // it may have changed since it was found
			return nil, errors.Join(&client.LocalError{Err: err}, f.Close())
		}
		return f, nil
	}
	f, err := os.CreateTemp("", "tonearm-stdin-*")
	if err != nil {
		return nil, &client.LocalError{Err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = os.Stdin.SetReadDeadline(time.Unix(1, 0)) }) // works for pipes
	defer stop()
	_, err = io.Copy(f, c.cmd.InOrStdin())
	if err == nil {
		w.file.Info, err = f.Stat()
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return nil, errors.Join(&client.LocalError{Err: err}, f.Close())
	}
	return f, nil
}
