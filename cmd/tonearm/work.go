package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/cmd/tonearm/internal/screen"
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
		return &o
	case w.known.State == journal.Done && (t != nil && t.Ours && t.Exists() || c.noWait):
		o := c.outcome(w, conversion.Done)
		o.ID, o.MP3ID = pointer(w.known.Conversion), pointer(w.known.MP3.ID)
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

// content is what is sent of a file.
type content struct {
	io.ReaderAt
	size int64
	mode string // '' for the whole file
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
			if err != nil && (!errors.Is(err, io.EOF) || off < c.size) {
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

// convert takes one file all the way. It returns the error as well as its
// report in the outcome.
func (c *converter) convert(ctx context.Context, w *work) (outcome, error) {
	o := c.outcome(w, conversion.Failed)
	var line *screen.Line
	fail := func(err error) (outcome, error) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		o.Error = failureOf(err)
		if line != nil {
			line.End(o.Error.Code != codeInterrupted && o.Error.Code != codeLogin)
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
	line = c.screen.Begin(filepath.Base(w.file.Path), w.size())
	t := &task{converter: c, work: w, video: video, content: c.content(video, w), line: line, outcome: &o}
	if err := t.run(ctx); err != nil {
		return fail(err)
	}
	line.End(false)
	return o, nil
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

// content decides what is sent of a file.
func (c *converter) content(video *os.File, w *work) *content {
	return &content{ReaderAt: video, size: w.size()}
}

// task is one file under way.
type task struct {
	*converter
	*work
	video   *os.File
	content *content
	line    *screen.Line
	outcome *outcome
}

// run converts the file, or downloads its MP3 if it was converted before.
func (t *task) run(ctx context.Context) error {
	for again := false; ; again = true {
		e, err := t.entry(ctx, again)
		if err != nil {
			return err
		}
		var cv api.Conversion
		if e.State == journal.Done {
			cv = api.Conversion{ID: e.Conversion, State: conversion.Done, MP3: &e.MP3}
		} else if cv, err = t.server(ctx, &e); err != nil {
			return err
		}
		t.outcome.ID, t.outcome.State = &cv.ID, cv.State
		e.Conversion = cv.ID
		switch {
		case !cv.State.Terminal(): // --no-wait
			t.save(ctx, e, journal.Sent, "")
			return nil
		case cv.State != conversion.Done:
			return t.failed(ctx, e, cv)
		}
		t.outcome.MP3ID, e.MP3 = &cv.MP3.ID, *cv.MP3
		path, err := t.fetch(ctx, *cv.MP3)
		if e.State == journal.Done && isGone(err) && !again { // the server has deleted it meanwhile
			t.outcome.State, t.outcome.ID, t.outcome.MP3ID = conversion.Failed, nil, nil
			continue
		}
		if err != nil {
			return err
		}
		if path != "" && path != files.Stdin {
			t.outcome.MP3 = &path
		}
		t.save(ctx, e, journal.Done, path)
		return nil
	}
}

// entry returns what the journal knows of the file, or begins a new entry. anew says
// that what it knows is of no use.
func (t *task) entry(ctx context.Context, anew bool) (journal.Entry, error) {
	s := t.source(t.work)
	old, err := t.journal.Find(ctx, s)
	t.troubled(err)
	replaced := ""
	if old != nil {
		replaced = old.Key
	}
	if !t.force && !anew {
		if old != nil && old.Unchanged(s) && old.Plan == t.content.plan {
			return *old, nil
		}
		e, err := t.sameContent(ctx, s)
		if err != nil {
			return journal.Entry{}, err
		}
		if e == nil {
			e = t.older(s)
		}
		if e != nil {
			return t.begin(ctx, *e, replaced), nil
		}
	}
	return t.begin(ctx, t.fresh(s), replaced), nil
}

// fresh is an entry with a key of its own.
func (t *task) fresh(s journal.Source) journal.Entry {
	request := t.request(t.work)
	return journal.Entry{Source: s, State: journal.Begun, Key: uuid.NewString(), Request: request, Mode: t.content.mode, Plan: t.content.plan}
}

// sameContent returns the entry of a file with the same content that was converted
// before, for this file.
func (t *task) sameContent(ctx context.Context, s journal.Source) (*journal.Entry, error) {
	worth, err := t.journal.Sized(ctx, s)
	t.troubled(err)
	if !worth {
		return nil, nil
	}
	t.line.Set("comparing")
	sum, err := t.content.sha256(ctx)
	if err != nil {
		return nil, err
	}
	e, err := t.journal.SameContent(ctx, s, t.content.mode, sum)
	t.troubled(err)
	if e != nil {
		e.Source = s
	}
	return e, nil
}

// older returns the entry of an interrupted run of an earlier version.
func (t *task) older(s journal.Source) *journal.Entry {
	request := t.oldRequest(t.work)
	key := t.old.Key(s, request)
	if key == "" {
		return nil
	}
	return &journal.Entry{Source: s, State: journal.Begun, Key: key, Request: request}
}

func (t *task) begin(ctx context.Context, e journal.Entry, replaced string) journal.Entry {
	stands, err := t.journal.Begin(ctx, e, replaced)
	t.troubled(err)
	if err != nil {
		stands = e
	}
	t.old.Keep(stands.Source, stands.Request, stands.Key)
	return stands
}

// server begins the conversion of e or finds it again, sends the video if it is
// awaited, and waits for the end.
func (t *task) server(ctx context.Context, e *journal.Entry) (api.Conversion, error) {
	earlier := e.Request
	cv, err := t.client.Create(ctx, e.Key, e.Request)
	if err == nil && cv.State == conversion.Failed && worthRetrying(cv) { // of an earlier run; the video is there
		if again, retryErr := t.client.Retry(ctx, cv.ID); retryErr == nil {
			cv = again
		}
	}
	if err == nil && gone(cv.State) && !refusedForGood(cv) || isCode(err, "idempotency_mismatch") {
		t.old.Forget(e.Source, earlier)
		*e = t.begin(ctx, t.fresh(e.Source), e.Key)
		cv, err = t.client.Create(ctx, e.Key, e.Request)
	}
	if err != nil {
		if refused(err) {
			t.forget(ctx, *e)
		}
		return cv, err
	}
	t.outcome.ID = &cv.ID
	hashed := make(chan struct{})
	go func() { // while it is sent and converted
		defer close(hashed)
		_, _ = t.content.sha256(ctx) // without it the file is known by its path alone
	}()
	cv, err = t.follow(ctx, cv)
	<-hashed
	if sum, hashErr := t.content.sha256(ctx); hashErr == nil {
		e.SHA256 = sum
	}
	if err == nil && t.changed() {
		// What was sent is neither what the file was nor what it is.
		t.cmd.PrintErrf("%s: Warning: the file changed during the upload, so the MP3 may be wrong. Run the same command again.\n", t.file.Path)
		e.Size, e.SHA256 = -1, "" // so that the file counts as changed
	}
	return cv, err
}

// changed reports whether the file has changed since it was opened.
func (t *task) changed() bool {
	now, err := t.video.Stat()
	return err == nil && (now.Size() != t.file.Info.Size() || !now.ModTime().Equal(t.file.Info.ModTime()))
}

// follow uploads the video where it is awaited, and returns the conversion when
// it is final or, with --no-wait, uploaded. It keeps the outcome's state up to date.
func (t *task) follow(ctx context.Context, cv api.Conversion) (api.Conversion, error) {
	t.outcome.State = cv.State
	if cv.State == conversion.AwaitingUpload {
		var err error
		cv, err = t.client.Send(ctx, cv, t.content, func(done int64) {
			t.line.Sent(done, t.content.size)
			if done >= t.content.size {
				t.line.Set("uploaded")
			}
		})
		if err != nil {
			return cv, err
		}
		t.outcome.State = cv.State
	}
	for !cv.State.Terminal() && !t.noWait {
		show(t.line, cv)
		next, err := t.client.Wait(ctx, cv.ID, cv.Revision)
		if err != nil {
			return cv, err
		}
		cv = next
		t.outcome.State = cv.State
	}
	return cv, nil
}

// failed remembers a conversion that ended without an MP3, and returns why.
func (t *task) failed(ctx context.Context, e journal.Entry, cv api.Conversion) error {
	switch {
	case refusedForGood(cv):
		e.Failure = *cv.Error
		t.save(ctx, e, journal.Refused, "")
	case cv.State != conversion.Failed:
		t.forget(ctx, e)
	}
	if cv.Error == nil {
		cv.Error = &conversion.Failure{Code: conversion.Code(cv.State), Message: "The conversion is " + string(cv.State) + ". To try again, run the same command."}
	}
	return *cv.Error
}

// fetch puts the MP3 where it belongs, and returns its path. If it is there already,
// nothing is downloaded.
func (t *task) fetch(ctx context.Context, m api.MP3) (string, error) {
	progress := func(done int64) { t.line.SetBytes("downloading", done, m.Size) }
	switch target := t.file.Target; {
	case t.stdout():
		return files.Stdin, t.pipe(ctx, m, progress)
	case target == nil:
		return "", nil
	default:
		if path, ok := target.Find(m.Size, m.SHA256); ok {
			return path, nil
		}
		return download(ctx, t.client, m, target, progress)
	}
}

// download saves an MP3 at its target.
func download(ctx context.Context, c *client.Client, m api.MP3, target *files.Target, progress func(int64)) (string, error) {
	f, err := target.Temp()
	if err != nil {
		return "", &client.LocalError{Err: err}
	}
	defer func() { _ = os.Remove(f.Name()) }() // where it was not renamed
	defer f.Close()
	if err := c.Download(ctx, m, f, progress); err != nil {
		return "", err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", &client.LocalError{Err: err}
	}
	path, err := target.Save(f.Name(), m.Size, m.SHA256)
	if err != nil {
		return "", &client.LocalError{Err: err}
	}
	return path, nil
}

// pipe writes the MP3 to standard output, once it is whole.
func (t *task) pipe(ctx context.Context, m api.MP3, progress func(int64)) error {
	f, err := os.CreateTemp("", "tonearm-mp3-*")
	if err != nil {
		return &client.LocalError{Err: err}
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer f.Close()
	if err := t.client.Download(ctx, m, f, progress); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	if err == nil {
		_, err = io.Copy(os.Stdout, f)
	}
	if err != nil {
		return &client.LocalError{Err: err}
	}
	return nil
}

// save writes what became of the file. A failure to do so only means that the same
// command does more than it had to.
func (t *task) save(ctx context.Context, e journal.Entry, state journal.State, path string) {
	e.State = state
	place := ""
	if path != "" && path != files.Stdin {
		place = absolute(path)
	}
	t.troubled(t.journal.Save(context.WithoutCancel(ctx), e, place))
	t.old.Forget(e.Source, e.Request)
}

func (t *task) forget(ctx context.Context, e journal.Entry) {
	t.troubled(t.journal.Forget(context.WithoutCancel(ctx), e.Source))
	t.old.Forget(e.Source, e.Request)
}

// gone reports whether a conversion of an earlier run ended without an MP3.
func gone(s conversion.State) bool { return s.Terminal() && s != conversion.Done }

// forGood are failures that the video or the options are the reason for: the same
// would happen again.
var forGood = []conversion.Code{
	conversion.CodeNoAudio, conversion.CodeNotMedia, conversion.CodeEmpty, conversion.CodeDamaged, conversion.CodeTruncated,
	conversion.CodeUnsupportedCodec, conversion.CodeTrackNotFound, conversion.CodeStartBeyondEnd, conversion.CodeLimitExceeded,
	conversion.CodeInvalidOptions,
}

func refusedForGood(cv api.Conversion) bool {
	return cv.State == conversion.Failed && cv.Error != nil && slices.Contains(forGood, cv.Error.Code)
}

// ofTheSource are failures after which the video has to be sent again.
var ofTheSource = []conversion.Code{conversion.CodeSourceChanged, conversion.CodeSourceMissing, conversion.CodeSizeMismatch}

// worthRetrying reports whether the server can convert what it has.
func worthRetrying(cv api.Conversion) bool {
	return !refusedForGood(cv) && (cv.Error == nil || !slices.Contains(ofTheSource, cv.Error.Code))
}

// refused reports whether the server has answered for good.
func refused(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Status < 500 && !client.IsLogin(err)
}

// isGone reports whether the server has no such MP3 any more.
func isGone(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

func isCode(err error, code string) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Code == code
}
