package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/google/uuid"

	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/cmd/tonearm/internal/screen"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

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
		if old != nil && old.Unchanged(s) && t.goesOn(*old) {
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

// goesOn reports whether what is sent of the file is still what e was begun with. A
// file that was begun whole is sent whole to its end.
func (t *task) goesOn(e journal.Entry) bool {
	if e.Mode == "" {
		t.content = &content{ReaderAt: t.video, size: t.size()}
	}
	return e.Plan == t.content.plan || e.State == journal.Done || e.State == journal.Refused
}

// fresh is an entry with a key of its own.
func (t *task) fresh(s journal.Source) journal.Entry {
	request := t.request(t.work)
	if c := t.content; c.mode != "" {
		request.Size, request.Parts = c.size, c.size > multipartAbove
		request.Sent = &conversion.Sent{What: conversion.SentPart(c.mode), OriginalSize: t.size()}
	}
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
	t.content = &content{ReaderAt: t.video, size: t.size()} // that version sent all of it
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
	if e.Request.Sent != nil && unknownField(err, "sent") { // an earlier version, to which the whole file is sent
		t.content = &content{ReaderAt: t.video, size: t.size()}
		t.line.Resize(t.size())
		*e = t.begin(ctx, t.fresh(e.Source), e.Key)
		cv, err = t.client.Create(ctx, e.Key, e.Request)
	}
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

// unknownField reports whether the server does not know a field of the request.
func unknownField(err error, name string) bool {
	var e *client.Error
	return errors.As(err, &e) && slices.ContainsFunc(e.Errors, func(f api.Field) bool { return f.Location == "body."+name })
}

func isCode(err error, code string) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Code == code
}
