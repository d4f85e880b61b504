package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/screen"
	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// outcome is what became of one file: a line of --json.
type outcome struct {
	File       string              `json:"file"`
	ID         *string             `json:"id"`
	State      conversion.State    `json:"state"`
	MP3ID      *string             `json:"mp3_id"`
	MP3        *string             `json:"mp3"` // path
	Error      *conversion.Failure `json:"error"`
	Size       int64               `json:"size,omitempty"`        // bytes that are uploaded, if Sent is not nil
	Sent       *conversion.Sent    `json:"sent,omitempty"`        // nil for the whole video
	FileBase64 string              `json:"file_base64,omitempty"` // if it is not UTF-8
	MP3Base64  string              `json:"mp3_base64,omitempty"`

	known    bool  // an earlier run has told the failure
	sent, of int64 // bytes that this run has uploaded, and those of the whole video; 0 for none
}

// was tells with what request the file was sent, now or in an earlier run.
func (o *outcome) was(request api.NewConversion) {
	o.Size, o.Sent = 0, request.Sent
	if o.Sent != nil {
		o.Size = request.Size
	}
}

// onlySound says how much of a video is enough.
func onlySound(sent, of int64) string { return text.Share(sent, of) + ": only the sound" }

// Codes of failures on this side; others are the server's.
const (
	codeNotFound    conversion.Code = "file_not_found"
	codeDirectory   conversion.Code = "is_directory"
	codeNotAFile    conversion.Code = "not_a_file"
	codeLocal       conversion.Code = "local_file"  // cannot be read or written
	codeExists      conversion.Code = "file_exists" // where the MP3 was to go
	codeUnreachable conversion.Code = "unreachable"
	codeLogin       conversion.Code = "login_required"
	codeInterrupted conversion.Code = "interrupted"
)

// report collects what became of the files.
type report struct {
	mu       sync.Mutex
	outcomes []outcome
	trouble  sync.Once // with the journal
}

// of returns what became of a file.
func (r *report) of(f *files.File) outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.outcomes {
		if o.File == f.Path {
			return o
		}
	}
	return outcome{}
}

func (c *converter) outcome(w *work, state conversion.State) outcome {
	return outcome{File: w.file.Path, State: state}
}

func pointer(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// troubled tells once that the journal cannot be used.
func (c *converter) troubled(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		c.report.trouble.Do(func() {
			say(c.cmd, "Warning: cannot keep what is done, so the same command may do it again: %v", err)
		})
	}
}

// ended reports whether the file has come to its end, good or bad.
func (o outcome) ended() bool {
	return o.Error == nil || o.Error.Code != codeInterrupted && o.Error.Code != codeLogin
}

// finish reports what became of a file.
func (c *converter) finish(o outcome) {
	c.report.mu.Lock()
	defer c.report.mu.Unlock()
	if !c.watching || o.Error != nil { // it may go on for months
		c.report.outcomes = append(c.report.outcomes, o)
	}
	if c.json {
		o.FileBase64, o.MP3Base64 = inBase64(&o.File), inBase64(o.MP3)
		_ = printJSON(c.cmd, o) // a reader that went away is no reason to stop
	}
	switch {
	case o.Error != nil && o.ended():
		say(c.cmd, "failed: %s: %s (%s)", o.File, o.Error.Message, o.Error.Code)
		if way := wayOn(o); way != "" {
			say(c.cmd, "%s", way)
		}
	case o.Error != nil || c.json || c.stdout():
	case o.MP3 != nil:
		c.screen.Result(fmt.Sprintf("%s → %s%s", o.File, *o.MP3, c.sound(o)))
	case o.ID != nil:
		c.screen.Result(fmt.Sprintf("%s: %s, id %s%s", o.File, o.State, *o.ID, c.sound(o)))
	}
}

// sound says that this run has uploaded only the file's sound. Of several files the end
// says so for all together.
func (c *converter) sound(o outcome) string {
	if o.Sent == nil || o.sent == 0 || !c.alone && !c.watching {
		return ""
	}
	return " (sent " + onlySound(o.sent, o.of) + ")"
}

// wayOn says what can be done about a failed file that has an id.
func wayOn(o outcome) string {
	switch {
	case o.ID == nil:
		return ""
	case o.known:
		return fmt.Sprintf("  This is known from an earlier run, with the id %s. To send it again: --force", short(*o.ID))
	}
	return fmt.Sprintf("  Its id is %s. To look at it: tonearm get %[1]s", short(*o.ID))
}

// inBase64 returns the bytes of a name that JSON cannot hold, else empty.
func inBase64(name *string) string {
	if name == nil || utf8.ValidString(*name) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(*name))
}

// mostListed is how many unfinished files are named one by one.
const mostListed = 5

// conclude says what remains, and returns what the command ends with.
func (c *converter) conclude(cause error) error {
	outcomes := c.report.outcomes
	done, failed, begun, sounds := 0, 0, 0, 0
	var sent, of int64
	for _, o := range outcomes {
		sent, of = sent+o.sent, of+o.of
		if o.Sent != nil && o.sent > 0 {
			sounds++
		}
		switch {
		case o.Error == nil:
			done++
		case o.ended():
			failed++
		case o.ID != nil:
			begun++
		}
	}
	open := len(outcomes) - done - failed
	if len(outcomes) > 1 && !c.watching && (!c.quiet || failed+open > 0) {
		also := ""
		if failed > 0 {
			also = fmt.Sprintf(", %s failed", text.Count(failed))
		}
		c.cmd.PrintErrf("%s of %s files are done%s.\n", text.Count(done), text.Count(len(outcomes)), also)
		if sounds > 0 && !c.quiet {
			c.cmd.PrintErrf("Sent %s of %s.\n", onlySound(sent, of), counted(sounds, "file"))
		}
	}
	if open > 0 {
		c.cmd.PrintErrln("Not finished. To continue, run the same command again.")
		listed := 0
		for _, o := range outcomes {
			if !o.ended() && o.ID != nil && listed < mostListed {
				listed++
				say(c.cmd, "  %s: %s; to cancel it: tonearm cancel %s", o.File, o.State, short(*o.ID))
			}
		}
		if begun > listed {
			c.cmd.PrintErrf("  and %s more; \"tonearm list\" shows them\n", text.Count(begun-listed))
		}
		if open > begun {
			c.cmd.PrintErrf("  %s not started\n", counted(open-begun, "file"))
		}
	}
	switch {
	case errors.Is(cause, errInterrupted):
		return errInterrupted
	case client.IsLogin(cause):
		return expired()
	case failed > 0:
		return errReported
	}
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return text.Count(n) + " " + what + "s"
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
	case errors.Is(err, files.ErrFolder):
		return &conversion.Failure{Code: codeDirectory, Message: "This is a folder. To convert the videos in it, add --recursive."}
	case errors.Is(err, files.ErrNotRegular):
		return &conversion.Failure{Code: codeNotAFile, Message: "This is not a regular file. Copy it into one first, or pipe it in: tonearm convert -"}
	case errors.Is(err, os.ErrNotExist):
		return &conversion.Failure{Code: codeNotFound, Message: "There is no such file. Check its name and its folder."}
	case client.IsLogin(err):
		return &conversion.Failure{Code: codeLogin, Message: expired().Error()}
	case errors.As(err, &answer):
		return &conversion.Failure{Code: conversion.Code(answer.Code), Message: err.Error()}
	case errors.As(err, &local), errors.Is(err, os.ErrPermission):
		return &conversion.Failure{Code: codeLocal, Message: err.Error()}
	}
	return &conversion.Failure{Code: codeUnreachable, Message: err.Error()}
}

func stderrIsTerminal() bool { return isTerminal(os.Stderr) && os.Getenv("TERM") != "dumb" }

// newScreen shows the files of a command on standard error, and takes over what the
// command prints there.
func newScreen(cmd *cobra.Command, quiet bool) *screen.Screen {
	o := screen.Options{Err: os.Stderr, Out: cmd.OutOrStdout(), Shared: isTerminal(os.Stdout), Quiet: quiet}
	if stderrIsTerminal() {
		o.Size = func() (int, int) {
			width, height, err := term.GetSize(int(os.Stderr.Fd()))
			if err != nil || width < 1 || height < 1 {
				return 80, 24
			}
			return width, height
		}
	}
	s := screen.New(o)
	cmd.SetErr(s)
	return s
}
