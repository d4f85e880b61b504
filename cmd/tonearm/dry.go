package main

import (
	"context"
	"fmt"

	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/cmd/tonearm/internal/screen"
	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/conversion"
)

// dry is what would be done with a file: a line of --dry-run --json.
type dry struct {
	File  string           `json:"file"`
	Bytes int64            `json:"bytes"`
	Sent  *conversion.Sent `json:"sent,omitempty"` // nil for the whole video, or nothing
	MP3   *string          `json:"mp3"`

	what string // in words
}

// tell says what would be done, for --dry-run. It opens the videos, but asks no server.
func (c *converter) tell(ctx context.Context, works []*work) error {
	c.screen = screen.New(screen.Options{Err: c.cmd.ErrOrStderr(), Out: c.cmd.OutOrStdout(), Quiet: true})
	defer c.screen.Close()
	var bytes int64
	count := 0
	for _, w := range works {
		d := c.dry(ctx, w)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if bytes += d.Bytes; d.Bytes > 0 {
			count++
		}
		if c.json {
			if err := printJSON(c.cmd, d); err != nil {
				return err
			}
			continue
		}
		line := w.file.Path
		if d.MP3 != nil && w.settled == nil {
			line += " → " + *d.MP3
		}
		fmt.Fprintln(c.cmd.OutOrStdout(), text.Printable(line+": "+d.what))
	}
	if !c.json {
		fmt.Fprintf(c.cmd.OutOrStdout(), "Would send %s of %s files, %s.\n", text.Count(count), text.Count(len(works)), text.Bytes(bytes))
	}
	return nil
}

// dry decides about a file as convert does, but does nothing.
func (c *converter) dry(ctx context.Context, w *work) dry {
	d := dry{File: w.file.Path, MP3: w.targetPath()}
	switch {
	case w.settled != nil && w.settled.Error != nil:
		d.what = "fails: " + w.settled.Error.Message
	case w.settled != nil && w.settled.MP3 != nil:
		d.what = "nothing: its MP3 is " + *w.settled.MP3
	case w.settled != nil:
		d.what = "nothing: it was converted before"
	default:
		if err := c.dryOpen(ctx, w, &d); err != nil {
			d.what = "fails: " + failureOf(err).Message
		}
	}
	return d
}

// dryOpen is dry for a file that has to be looked at.
func (c *converter) dryOpen(ctx context.Context, w *work, d *dry) error {
	video, err := c.video(ctx, w)
	if err != nil {
		return err
	}
	defer video.Close()
	t := c.task(w, video, &outcome{})
	defer t.line.End(false)
	e, err := t.decide(ctx, false)
	if err != nil {
		return err
	}
	switch e.State {
	case journal.Done:
		d.what = "nothing: only its MP3 is downloaded"
	case journal.Sent:
		d.what = "nothing: it was sent before"
	case journal.Refused:
		return e.Failure
	case journal.Begun:
		d.Bytes, d.Sent, d.what = t.content.size, e.Request.Sent, text.Bytes(t.content.size)
		if d.Sent != nil {
			d.what = onlySound(d.Bytes, d.Sent.OriginalSize)
		}
		if !e.begins {
			d.what += ", less what an earlier run has sent of it"
		}
	}
	return nil
}
