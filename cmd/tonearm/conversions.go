package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/screen"
	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
	"tonearm/internal/printable"
)

// pageSize is how many conversions are asked for at a time.
const pageSize = 100

// visible are the states that a conversion in a list can have: all but Deleted,
// the last one.
var visible = conversion.States[:len(conversion.States)-1]

// visibleStates names them, such as "a, b or c".
func visibleStates() string {
	var names []string
	for _, s := range visible {
		names = append(names, string(s))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// eachConversion calls do for up to limit conversions, for all if limit is 0.
func eachConversion(cmd *cobra.Command, c *client.Client, states []conversion.State, limit int, do func(api.Conversion) error) error {
	cursor := ""
	for left := limit; ; {
		size := pageSize
		if limit > 0 {
			size = min(size, left)
		}
		page, err := c.List(cmd.Context(), states, cursor, size)
		if err != nil {
			return err
		}
		for _, cv := range page.Conversions {
			if err := do(cv); err != nil {
				return err
			}
		}
		left -= len(page.Conversions)
		if cursor = page.Next; cursor == "" || limit > 0 && left <= 0 {
			return nil
		}
	}
}

func newGetCommand() *cobra.Command {
	var out string
	var asJSON, wait bool
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a conversion, and download its MP3 with --out", Args: command.Needs(1, "one conversion"), ValidArgsFunction: completeID,
		Example: `  tonearm get 0192f3a8-5f3c-7d21-9c1e-2b7a4f6d8e90 --out mp3s
  tonearm get 4f6d8e90 --wait --out talk.mp3`,
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			patience := shortPatience
			if wait {
				patience = longPatience
			}
			c, err := connect(cmd, patience)
			if err != nil {
				return err
			}
			id, err := resolve(cmd, c, args[0])
			if err != nil {
				return err
			}
			cv, err := c.Conversion(cmd.Context(), id)
			if err != nil {
				return explain(err, id)
			}
			if wait {
				if cv, err = await(cmd, c, cv); err != nil {
					return err
				}
			}
			if asJSON {
				err = printJSON(cmd, cv)
			} else {
				err = printConversion(cmd, cv)
			}
			if err == nil && wait && cv.MP3 == nil {
				return errors.New(noMP3(cv))
			}
			if err != nil || out == "" {
				return err
			}
			if cv.MP3 == nil {
				return errors.New(noMP3(cv))
			}
			path, err := saveMP3(cmd.Context(), c, cv, out)
			if err == nil {
				say(cmd, "Saved as %s", path)
			}
			return err
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", "", "save the MP3 in this `FOLDER`, which is made if it is missing, or under this name, such as talk.mp3")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the conversion has ended")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

// await shows how far a conversion is until it has ended.
func await(cmd *cobra.Command, c *client.Client, cv api.Conversion) (api.Conversion, error) {
	if cv.State == conversion.AwaitingUpload {
		return cv, errors.New(noMP3(cv))
	}
	s := newScreen(cmd, false)
	stop := context.AfterFunc(cmd.Context(), s.Freeze)
	line := s.Begin(cv.Filename, 0)
	var err error
	for err == nil && !cv.State.Terminal() {
		show(line, cv)
		var next api.Conversion
		if next, err = c.Wait(cmd.Context(), cv.ID, cv.Revision); err == nil {
			cv = next
		}
	}
	stop()
	s.Close()
	cmd.SetErr(nil)
	return cv, err
}

// show shows what the server does with a video.
func show(line *screen.Line, cv api.Conversion) {
	if p := cv.Progress; p != nil && p.Phase != conversion.PhaseNone {
		line.SetClock(string(p.Phase), p.DoneSeconds, p.TotalSeconds)
	} else {
		line.Set(string(cv.State))
	}
}

// saveMP3 downloads the MP3 of a conversion into a folder, or as the file that out
// names.
func saveMP3(ctx context.Context, c *client.Client, cv api.Conversion, out string) (string, error) {
	output, err := files.NewOutput(out, "", 1)
	if err != nil {
		return "", usageError{err}
	}
	f := &files.File{Path: printable.Clean(cv.Filename)} // of an earlier or another server, too
	output.Assign([]*files.File{f}, func(*files.File) []string { return nil })
	return download(ctx, c, *cv.MP3, f.Target, func(int64) {})
}

// noMP3 says why a conversion has no MP3, and what to do.
func noMP3(cv api.Conversion) string {
	switch cv.State {
	case conversion.Failed, conversion.Canceled, conversion.Expired:
		verb := map[conversion.State]string{conversion.Failed: "failed", conversion.Canceled: "was canceled", conversion.Expired: "has expired"}[cv.State]
		return fmt.Sprintf("This conversion %s, so there is no MP3. To try again: tonearm retry %s", verb, text.Printable(cv.ID))
	case conversion.AwaitingUpload:
		return "There is no MP3 yet: the video is not uploaded. To upload it: tonearm convert FILE"
	}
	return fmt.Sprintf("There is no MP3 yet: this conversion is %s. Try again in a while.", text.Printable(string(cv.State)))
}

// unknownID is an id that no conversion in the user's account has.
type unknownID string

func (id unknownID) Error() string {
	return fmt.Sprintf("No conversion %s in your account. \"tonearm list\" shows yours.", string(id))
}

// explain returns an error about the conversion id in words that help the user.
func explain(err error, id string) error {
	if isCode(err, "not_found") {
		return unknownID(id)
	}
	return err
}

func printConversion(cmd *cobra.Command, cv api.Conversion) error {
	t := newTable(cmd.OutOrStdout())
	row := func(name, format string, a ...any) { t.row(name, fmt.Sprintf(format, a...)) }
	row("id", "%s", cv.ID)
	if cv.Sent == nil {
		row("file", "%s (%s)", cv.Filename, text.Bytes(cv.Size))
	} else {
		row("file", "%s (%s)", cv.Filename, text.Bytes(cv.Sent.OriginalSize))
		row("sent", "%s", onlySound(cv.Size, cv.Sent.OriginalSize))
	}
	row("state", "%s", cv.State)
	row("created", "%s", cv.CreatedAt.Local().Format(time.DateTime))
	if b, err := json.Marshal(cv.Options); err == nil && string(b) != "{}" {
		row("options", "%s", b)
	}
	if cv.Notify == conversion.NotifyNone {
		row("mail", "none")
	}
	if f := cv.Fallback; f != nil {
		row("runs on", "%s instead of %s: %s", cv.Class, f.From, fallbackReason(f.Reason))
	}
	if w := cv.Waiting; w != nil {
		row("waits for", "%s, since %s", waitReason(w.Reason), w.Since.Local().Format(time.DateTime))
	}
	if cv.Attempt > 0 {
		row("attempt", "%d", cv.Attempt)
	}
	if p := cv.Progress; p != nil {
		row("progress", "%s, %s of %s", p.Phase, conversion.Clock(p.DoneSeconds), conversion.Clock(p.TotalSeconds))
	}
	if m := cv.MP3; m != nil {
		row("mp3", "%s", m.ID)
		row("mp3 name", "%s (%s, %s)", m.Name, conversion.Clock(m.Duration), text.Bytes(m.Size))
		printAudio(row, *m)
	}
	if f := cv.Error; f != nil {
		row("error", "%s (%s)", f.Message, f.Code)
	}
	return t.flush()
}

// printAudio prints what is in an MP3.
func printAudio(row func(name, format string, a ...any), m api.MP3) {
	rate := "variable bit rate"
	switch {
	case m.Encoder == conversion.CopyEncoder:
		rate = "copied, not encoded"
	case m.BitrateKbps != 0:
		rate = fmt.Sprintf("%d kbit/s", m.BitrateKbps)
	case m.VBRQuality != nil:
		rate += fmt.Sprintf(", quality %d", *m.VBRQuality)
	}
	channels := "mono"
	if m.Channels != 1 {
		channels = "stereo"
	}
	row("sound", "%s, %d Hz, %s", rate, m.SampleRateHz, channels)
	if l := m.Loudness; l != nil {
		text := fmt.Sprintf("%.1f LUFS, range %.1f LU, peak %.1f dBFS", l.IntegratedLUFS, l.RangeLU, l.PeakDB)
		if l.TruePeakDB != 0 {
			text += fmt.Sprintf(", true peak %.1f dBTP", l.TruePeakDB)
		}
		if m.GainDB != 0 {
			text += fmt.Sprintf(", gain %+.1f dB", m.GainDB)
		}
		row("loudness", "%s", text)
	}
	if at, ok := m.Cover.Seconds(); ok {
		row("cover", "the frame at %g s", at)
	} else if m.Cover != "" {
		row("cover", "%s", m.Cover)
	}
	if m.Chapters > 0 {
		row("chapters", "%d", m.Chapters)
	}
	if !m.LengthChecked {
		row("note", "The video does not say how long it is, so the MP3's length was not checked.")
	}
	for _, n := range m.Notes {
		row("note", "%s", n)
	}
}

// waitReason says in words what a conversion waits for.
func waitReason(reason conversion.WaitReason) string {
	switch reason {
	case conversion.WaitNode:
		return "a machine with room for it"
	case conversion.WaitPod:
		return "room in the cluster's quota"
	case conversion.WaitSuspended:
		return "the cluster's permission to start"
	case conversion.WaitStart:
		return "its machine to be ready"
	case conversion.FaultDisk:
		return "a converter with room on its disk"
	case conversion.FaultMemory:
		return "a converter with free memory"
	case conversion.FaultFFmpeg:
		return "a converter with an ffmpeg that works"
	case conversion.FaultStore:
		return "the object store"
	case conversion.FaultOther:
		return "a converter that is well"
	}
	return string(reason)
}

// fallbackReason says in words why a conversion left its class.
func fallbackReason(reason string) string {
	switch reason {
	case conversion.FallbackWaited:
		return "no GPU was free in time"
	case conversion.FallbackOff:
		return "there is no GPU"
	}
	return reason
}

func newCancelCommand() *cobra.Command {
	return newEachCommand("cancel", "Cancel conversions", "Canceled", func(cmd *cobra.Command, c *client.Client, id string) error {
		_, err := c.Cancel(cmd.Context(), id)
		return err
	}, nil)
}

func newRetryCommand() *cobra.Command {
	var wait bool
	var begun []api.Conversion
	cmd := newEachCommand("retry", "Start failed, canceled or expired conversions again", "Started again:", func(cmd *cobra.Command, c *client.Client, id string) error {
		cv, err := c.Retry(cmd.Context(), id)
		if err == nil {
			begun = append(begun, cv)
		}
		return err
	}, func(cmd *cobra.Command) error {
		if !wait {
			return nil
		}
		return awaitAll(cmd, begun)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the conversions have ended")
	return cmd
}

// awaitAll waits for the ends of conversions, and tells of each.
func awaitAll(cmd *cobra.Command, all []api.Conversion) error {
	c, err := connect(cmd, longPatience)
	if err != nil {
		return err
	}
	for _, cv := range all {
		ended, waitErr := await(cmd, c, cv)
		switch {
		case cmd.Context().Err() != nil || client.IsLogin(waitErr):
			return waitErr
		case waitErr != nil:
			say(cmd, "%s: %v", cv.ID, waitErr)
			err = errReported
		case ended.MP3 == nil:
			say(cmd, "%s: %s", cv.ID, noMP3(ended))
			err = errReported
		default:
			say(cmd, "Done: %s. To download its MP3: tonearm get %s --out .", cv.ID, short(cv.ID))
		}
	}
	return err
}

func newRemoveCommand() *cobra.Command {
	return newEachCommand("rm", "Delete conversions, with their videos and MP3s", "Deleted", func(cmd *cobra.Command, c *client.Client, id string) error {
		return c.Delete(cmd.Context(), id)
	}, nil)
}

// newEachCommand makes a command that does the same with each of its ids, and then
// something with all; after is nil for nothing.
func newEachCommand(verb, short, done string, do func(*cobra.Command, *client.Client, string) error, after func(*cobra.Command) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " ID…", Short: short, Args: command.Needs(0, "one conversion or more"), ValidArgsFunction: completeID,
		Example: "  tonearm " + verb + " 0192f3a8-5f3c-7d21-9c1e-2b7a4f6d8e90",
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			failed := false
			for _, given := range args {
				id, err := resolve(cmd, c, given)
				if err == nil {
					err = explain(do(cmd, c, id), id)
				}
				if err == nil {
					say(cmd, "%s %s.", done, id)
					continue
				}
				if len(args) == 1 || client.IsLogin(err) || cmd.Context().Err() != nil {
					return err
				}
				say(cmd, "%s: %v", given, err)
				failed = true
			}
			if after != nil {
				if err := after(cmd); err != nil {
					return err
				}
			}
			if failed {
				return errReported
			}
			return nil
		}),
	}
	bindServer(cmd.Flags())
	return cmd
}

// completeID offers the ids of the newest conversions to the shell.
func completeID(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if cmd.Root().PersistentPreRunE(cmd, nil) != nil {
		return nil, none
	}
	c, err := connect(cmd, 0)
	if err != nil {
		return nil, none
	}
	var ids []cobra.Completion
	_ = eachConversion(cmd, c, nil, pageSize, func(cv api.Conversion) error { // what came before an error is offered
		if !slices.Contains(args, cv.ID) {
			ids = append(ids, cobra.CompletionWithDesc(cv.ID, string(cv.State)+" "+cv.Filename))
		}
		return nil
	})
	return ids, none | cobra.ShellCompDirectiveKeepOrder
}

// printJSON writes a line to standard output. What a terminal would obey is escaped
// as JSON does it, so that the line means the same.
func printJSON(cmd *cobra.Command, v any) error {
	out := cmd.OutOrStdout()
	if w, ok := out.(text.Writer); ok {
		out = w.W
	}
	var line strings.Builder
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(out, printable.EscapeJSON(line.String()))
	return err
}
