package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tonearm/cmd/internal/command"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// multipartAbove is the size in bytes above which a video is uploaded in parts.
// The size decides a part of the request. With another value, interrupted uploads
// of the sizes between start again from their beginning.
const multipartAbove = 64 << 20

type convertFlags struct {
	out      string
	json     bool
	noWait   bool
	jobs     int
	retryFor time.Duration
	options  options
}

func newConvertCommand() *cobra.Command {
	fl := &convertFlags{}
	cmd := &cobra.Command{
		Use:   "convert FILE…",
		Short: "Convert videos to MP3",
		Long: `Upload videos, wait until they are converted, and save the MP3s.

An MP3 gets the name of its video. Files that exist are never overwritten. If the
command is interrupted, run it again: it continues where it stopped, and does not
upload again what was uploaded.

With --json, standard output has one line for each file, once it is finished:
  {"file","id","state","mp3_id","mp3","error":{"code","message"}}
mp3 is the path of the saved MP3. A file that could not be uploaded at all has the
state failed and no id.`,
		Example: `  tonearm convert talk.mp4 --out mp3s
  tonearm convert *.mkv --out mp3s --preset podcast --album 'My show' --notify none
  tonearm convert concert.mov --start 1:30 --end 1:02:03.5 --cover 12:00
  tonearm convert concert.mov --json | jq -r .mp3`,
		Args:        command.Needs(0, "one video or more"),
		Annotations: map[string]string{command.Footer: presets()},
		RunE: interruptible(func(cmd *cobra.Command, files []string) error {
			if err := fl.options.check(cmd); err != nil {
				return err
			}
			if fl.jobs < 1 {
				return usageError{errors.New("--jobs must be 1 or more")}
			}
			if fl.retryFor < 0 {
				return usageError{errors.New("--retry-for must be 0 or more; 0 tries once")}
			}
			return fl.run(cmd, files)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	bindServer(f)
	f.StringVar(&fl.out, "out", ".", "`FOLDER` for the MP3s, which is made if it is missing")
	f.BoolVar(&fl.json, "json", false, "print a line of JSON for each file, and nothing else, on standard output")
	f.BoolVar(&fl.noWait, "no-wait", false, "only upload, and do not wait; \"tonearm get ID --out FOLDER\" downloads the MP3 later")
	f.IntVar(&fl.jobs, "jobs", 4, "`NUMBER` of files at a time")
	f.DurationVar(&fl.retryFor, "retry-for", 2*time.Minute, "how long to try again while the server cannot be reached")
	fl.options.bind(cmd)
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// outcome is what became of one file: a line of --json.
type outcome struct {
	File  string              `json:"file"`
	ID    *string             `json:"id"`
	State conversion.State    `json:"state"`
	MP3ID *string             `json:"mp3_id"`
	MP3   *string             `json:"mp3"` // path
	Error *conversion.Failure `json:"error"`
}

// Codes of failures on this side; others are the server's.
const (
	codeNotFound    conversion.Code = "file_not_found"
	codeDirectory   conversion.Code = "is_directory"
	codeNotAFile    conversion.Code = "not_a_file"
	codeLocal       conversion.Code = "local_file" // cannot be read or written
	codeUnreachable conversion.Code = "unreachable"
	codeLogin       conversion.Code = "login_required"
	codeInterrupted conversion.Code = "interrupted"
)

// converter converts the files of one command.
type converter struct {
	*convertFlags
	cmd       *cobra.Command
	client    *client.Client
	outputDir *outputDir // nil where nothing is waited for
	journal   journal
	display   display

	mu       sync.Mutex
	outcomes []outcome
}

func (fl *convertFlags) run(cmd *cobra.Command, files []string) error {
	c := &converter{convertFlags: fl, cmd: cmd, journal: openJournal()}
	var err error
	if c.client, err = connect(cmd, fl.retryFor); err != nil {
		return err
	}
	if !fl.noWait {
		if c.outputDir, err = openOutputDir(fl.out); err != nil {
			return err
		}
	}
	c.display = newDisplay(cmd)
	ctx, stop := context.WithCancelCause(cmd.Context())
	defer stop(nil)
	copies := map[string]int{}
	var g errgroup.Group
	g.SetLimit(fl.jobs)
	for _, file := range files {
		n := copies[filepath.Clean(file)]
		copies[filepath.Clean(file)]++
		g.Go(func() error {
			o, err := c.convert(ctx, file, n)
			if client.IsLogin(err) {
				stop(err) // it would be the same with every other file
			}
			c.finish(o)
			return nil
		})
	}
	_ = g.Wait()
	c.display.close()
	return c.conclude(context.Cause(ctx))
}

// conclude says what remains, and returns what the command ends with.
func (c *converter) conclude(cause error) error {
	var failed, open []outcome
	for _, o := range c.outcomes {
		switch {
		case o.Error == nil:
		case o.Error.Code == codeInterrupted || o.Error.Code == codeLogin:
			open = append(open, o)
		default:
			failed = append(failed, o)
		}
	}
	if len(c.outcomes) > 1 {
		c.cmd.PrintErrf("%d of %d files are done.\n", len(c.outcomes)-len(failed)-len(open), len(c.outcomes))
		for _, o := range failed {
			c.cmd.PrintErrf("  failed: %s: %s (%s)\n", o.File, o.Error.Message, o.Error.Code)
		}
	}
	if len(open) > 0 {
		c.cmd.PrintErrln("Not finished. To continue, run the same command again.")
		for _, o := range open {
			if o.ID == nil {
				c.cmd.PrintErrf("  %s: not started\n", o.File)
			} else {
				c.cmd.PrintErrf("  %s: %s; to cancel it: tonearm cancel %s\n", o.File, o.State, *o.ID)
			}
		}
	}
	switch {
	case errors.Is(cause, errInterrupted):
		return errInterrupted
	case client.IsLogin(cause):
		return expired()
	case len(failed) > 0:
		return errReported
	}
	return nil
}

// finish reports what became of a file.
func (c *converter) finish(o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes = append(c.outcomes, o)
	if c.json {
		_ = printJSON(c.cmd, o) // a reader that went away is no reason to stop
	}
	switch {
	case o.Error != nil && o.Error.Code != codeInterrupted && o.Error.Code != codeLogin:
		c.cmd.PrintErrf("%s: %s (%s)\n", o.File, o.Error.Message, o.Error.Code)
	case o.Error != nil || c.json:
	case o.MP3 != nil:
		c.display.result(fmt.Sprintf("%s → %s", o.File, *o.MP3))
	default:
		c.display.result(fmt.Sprintf("%s: %s, id %s", o.File, o.State, *o.ID))
	}
}

// convert takes one file all the way. It returns the error as well as its
// report in the outcome.
func (c *converter) convert(ctx context.Context, file string, repeat int) (outcome, error) {
	o := outcome{File: file, State: conversion.Failed}
	fail := func(err error) (outcome, error) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		o.Error = failureOf(err)
		return o, err
	}
	if ctx.Err() != nil {
		return fail(nil)
	}
	f, err := openVideo(file)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fail(&client.LocalError{Err: err})
	}
	status := &status{name: file}
	defer c.display.add(status)()
	status.set("starting", 0, 0)

	request := c.options.request(file, st.Size())
	key := c.journal.entry(c.client.Server(), file, st, request, repeat)
	cv, err := c.client.Create(ctx, key.key, request)
	if key.old && (err == nil && gone(cv.State) || isCode(err, "idempotency_mismatch")) {
		key = key.renew()
		cv, err = c.client.Create(ctx, key.key, request)
	}
	if err != nil {
		if refused(err) {
			key.forget()
		}
		return fail(err)
	}
	o.ID = &cv.ID
	if cv, err = c.follow(ctx, cv, f, status, &o); err != nil {
		return fail(err)
	}
	if !cv.State.Terminal() { // --no-wait
		key.forget()
		return o, nil
	}
	if cv.State != conversion.Done {
		key.forget()
		if cv.Error == nil {
			cv.Error = &conversion.Failure{Code: conversion.Code(cv.State), Message: "The conversion is " + string(cv.State) + ". To try again, run the same command."}
		}
		return fail(*cv.Error)
	}
	o.MP3ID = &cv.MP3.ID
	if c.outputDir != nil {
		path, err := c.outputDir.fetch(ctx, c.client, *cv.MP3, file, func(done int64) { status.set("downloading", done, cv.MP3.Size) })
		if err != nil {
			return fail(err)
		}
		o.MP3 = &path
	}
	key.forget()
	return o, nil
}

// follow uploads the video where it is awaited, and returns the conversion when
// it is final or, with --no-wait, uploaded. It keeps o's state up to date.
func (c *converter) follow(ctx context.Context, cv api.Conversion, video *os.File, status *status, o *outcome) (api.Conversion, error) {
	o.State = cv.State
	if cv.State == conversion.AwaitingUpload {
		sent, err := video.Stat()
		if err != nil {
			return cv, &client.LocalError{Err: err}
		}
		cv, err = c.client.Send(ctx, cv, video, func(done int64) {
			if done < sent.Size() {
				status.set("uploading", done, sent.Size())
			} else {
				status.set("uploaded", 0, 0)
			}
		})
		if err != nil {
			return cv, err
		}
		o.State = cv.State
		if st, err := video.Stat(); err == nil && (st.Size() != sent.Size() || !st.ModTime().Equal(sent.ModTime())) {
			c.cmd.PrintErrf("%s: Warning: the file changed during the upload, so the MP3 may be wrong. Run the same command again.\n", o.File)
		}
	}
	for !cv.State.Terminal() && !c.noWait {
		if p := cv.Progress; p != nil && p.Phase != conversion.PhaseNone {
			status.setClock(string(p.Phase), p.DoneSeconds, p.TotalSeconds)
		} else {
			status.set(string(cv.State), 0, 0)
		}
		next, err := c.client.Wait(ctx, cv.ID, cv.Revision)
		if err != nil {
			return cv, err
		}
		cv = next
		o.State = cv.State
	}
	return cv, nil
}

// openVideo opens what can be converted: a file.
func openVideo(path string) (*os.File, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, conversion.Failure{Code: codeNotFound, Message: "There is no such file. Check its name and its folder."}
	case err != nil:
		return nil, &client.LocalError{Err: err}
	case st.IsDir():
		return nil, conversion.Failure{Code: codeDirectory, Message: "This is a folder. Name the videos in it, as in folder/*.mp4."}
	case !st.Mode().IsRegular():
		return nil, conversion.Failure{Code: codeNotAFile, Message: "This is not a regular file. Copy it into one first."}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &client.LocalError{Err: err}
	}
	return f, nil
}

// gone reports whether a conversion of an earlier run ended without an MP3.
func gone(s conversion.State) bool { return s.Terminal() && s != conversion.Done }

// refused reports whether the server has answered for good.
func refused(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Status < 500 && !client.IsLogin(err)
}

func isCode(err error, code string) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Code == code
}

// failureOf returns the report of an error.
func failureOf(err error) *conversion.Failure {
	var (
		failure conversion.Failure
		answer  *client.Error
		local   *client.LocalError
	)
	switch {
	case errors.As(err, &failure):
		return &failure
	case errors.Is(err, errInterrupted):
		return &conversion.Failure{Code: codeInterrupted, Message: "Interrupted."}
	case client.IsLogin(err):
		return &conversion.Failure{Code: codeLogin, Message: expired().Error()}
	case errors.As(err, &answer):
		return &conversion.Failure{Code: conversion.Code(answer.Code), Message: err.Error()}
	case errors.As(err, &local):
		return &conversion.Failure{Code: codeLocal, Message: err.Error()}
	}
	return &conversion.Failure{Code: codeUnreachable, Message: err.Error()}
}
