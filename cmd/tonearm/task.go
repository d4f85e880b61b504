package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/google/uuid"

	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/cmd/tonearm/internal/screen"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// task is one file under way.
type task struct {
	*converter
	*work
	video   *os.File
	can     *sendable
	content *content // what is sent; nil as long as nobody needs it
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
		t.outcome.was(e.Request)
		var cv api.Conversion
		if e.State == journal.Done {
			cv = api.Conversion{ID: e.Conversion, State: conversion.Done, MP3: &e.MP3}
		} else if cv, err = t.server(ctx, &e); err != nil {
			return err
		}
		t.outcome.ID, t.outcome.State = &cv.ID, cv.State
		t.outcome.was(e.Request)
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
	d, err := t.decide(ctx, anew)
	if err != nil || !d.begins {
		return d.Entry, err
	}
	return t.begin(ctx, d.Entry, d.replaced)
}

// decision is what to do with a file.
type decision struct {
	journal.Entry
	begins   bool   // the entry is not in the journal yet
	replaced string // key of the entry that it takes the place of; '' for none
}

// decide looks up what is known of the file. It writes nothing.
func (t *task) decide(ctx context.Context, anew bool) (decision, error) {
	s := t.source(t.work)
	old, err := t.journal.Find(ctx, s)
	t.troubled(err)
	d := decision{begins: true}
	if old != nil {
		d.replaced = old.Key
	}
	if !t.force && !anew {
		if old != nil && old.Unchanged(s) {
			if goes, err := t.goesOn(ctx, *old); err != nil || goes {
				return decision{Entry: *old}, err
			}
		}
		e, err := t.sameContent(ctx, s)
		if err != nil {
			return decision{}, err
		}
		if e == nil {
			e = t.older(s)
		}
		if e != nil {
			d.Entry = *e
			return d, nil
		}
	}
	if err := t.choose(ctx); err != nil {
		return decision{}, err
	}
	d.Entry = t.fresh(s)
	return d, nil
}

// choose decides what is sent of a file that begins.
func (t *task) choose(ctx context.Context) error {
	c := t.can.all
	if t.send != sendWhole && !t.earlier.Load() {
		t.line.Set("looking")
		sound, err := t.can.onlySound(ctx)
		if err != nil {
			return err
		}
		if sound != nil {
			c = sound
		}
	}
	t.use(c)
	return nil
}

func (t *task) use(c *content) {
	t.content = c
	t.line.Resize(c.size)
}

// goesOn reports whether e is still right for the file. What an entry was begun with
// is sent to its end, whatever --send says.
func (t *task) goesOn(ctx context.Context, e journal.Entry) (bool, error) {
	if e.State != journal.Begun { // nothing is left to send
		return true, nil
	}
	return t.resume(ctx, e)
}

// resume makes what e was begun with the content. It reports whether that can still
// be had: another version of the splitter may make another file.
func (t *task) resume(ctx context.Context, e journal.Entry) (bool, error) {
	if e.Mode != "" {
		t.line.Set("looking")
	}
	c, err := t.can.of(ctx, e.Mode)
	if err != nil || c == nil || c.plan != e.Plan {
		return false, err
	}
	t.use(c)
	return true, nil
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
// before, for this file. One that was sent whole is found by all of its content, one
// that was sent as its sound by that.
func (t *task) sameContent(ctx context.Context, s journal.Source) (*journal.Entry, error) {
	modes, err := t.journal.Modes(ctx, s)
	t.troubled(err)
	for _, mode := range modes {
		t.line.Set("comparing")
		c, err := t.can.of(ctx, mode)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		sum, err := c.sha256(ctx)
		if err != nil {
			return nil, err
		}
		e, err := t.journal.SameContent(ctx, s, mode, sum)
		t.troubled(err)
		if e != nil {
			e.Source = s
			return e, nil
		}
	}
	return nil, nil
}

// older returns the entry of an interrupted run of an earlier version.
func (t *task) older(s journal.Source) *journal.Entry {
	request := t.oldRequest(t.work)
	key := t.old.Key(s, request)
	if key == "" {
		return nil
	}
	t.use(t.can.all) // that version sent all of it
	return &journal.Entry{Source: s, State: journal.Begun, Key: key, Request: request}
}

func (t *task) begin(ctx context.Context, e journal.Entry, replaced string) (journal.Entry, error) {
	stands, err := t.journal.Begin(ctx, e, replaced)
	t.troubled(err)
	if err != nil {
		stands = e
	}
	if stands.Key != e.Key { // another process has begun the file meanwhile
		goes, err := t.goesOn(ctx, stands)
		if err != nil {
			return e, err
		}
		if !goes { // and sends something else of it: both send theirs
			stands = e
		}
	}
	if stands.Request.Sent == nil {
		t.old.Keep(stands.Source, stands.Request, stands.Key)
	}
	return stands, nil
}

// anew begins the file of e again, under another key.
func (t *task) anew(ctx context.Context, e *journal.Entry) (api.Conversion, error) {
	if err := t.choose(ctx); err != nil {
		return api.Conversion{}, err
	}
	next, err := t.begin(ctx, t.fresh(e.Source), e.Key)
	if err != nil {
		return api.Conversion{}, err
	}
	*e = next
	return t.create(ctx, e)
}

// create begins the conversion of e or finds it again.
func (t *task) create(ctx context.Context, e *journal.Entry) (api.Conversion, error) {
	cv, err := t.client.Create(ctx, e.Key, e.Request)
	if e.Request.Sent != nil && unknownField(err, "sent") {
		t.earlier.Store(true)
		return t.anew(ctx, e)
	}
	return cv, err
}

// server begins the conversion of e or finds it again, sends the video if it is
// awaited, and waits for the end.
func (t *task) server(ctx context.Context, e *journal.Entry) (api.Conversion, error) {
	earlier := e.Request
	cv, err := t.create(ctx, e)
	if err == nil && cv.State == conversion.Failed && worthRetrying(cv) { // of an earlier run; the video is there
		if again, retryErr := t.client.Retry(ctx, cv.ID); retryErr == nil {
			cv = again
		}
	}
	if err == nil && gone(cv.State) && !refusedForGood(cv) || isCode(err, "idempotency_mismatch") {
		t.old.Forget(e.Source, earlier)
		cv, err = t.anew(ctx, e)
	}
	if err == nil && cv.State == conversion.AwaitingUpload && t.content == nil { // the server has lost what was sent
		var goes bool
		if goes, err = t.resume(ctx, *e); err == nil && !goes {
			cv, err = t.anew(ctx, e)
		}
	}
	if err != nil {
		if refused(err) {
			t.forget(ctx, *e)
		}
		return cv, err
	}
	t.outcome.ID = &cv.ID
	content, hashed := t.content, make(chan struct{})
	go func() { // while it is sent and converted
		defer close(hashed)
		if content != nil {
			_, _ = content.sha256(ctx) // without it the file is known by its path alone
		}
	}()
	cv, err = t.follow(ctx, cv)
	<-hashed
	if content != nil {
		if sum, hashErr := content.sha256(ctx); hashErr == nil {
			e.SHA256 = sum
		}
	}
	if err == nil && t.changed() {
		// What was sent is neither what the file was nor what it is.
		say(t.cmd, "%s: Warning: the file changed during the upload, so the MP3 may be wrong. Run the same command again.", t.file.Path)
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
		t.outcome.State, t.outcome.sent, t.outcome.of = cv.State, t.content.size, t.size()
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
	return errors.As(err, &e) && e.Status < 500 && e.Status != http.StatusTooManyRequests && !client.IsLogin(err)
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
