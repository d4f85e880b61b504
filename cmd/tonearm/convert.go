package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/cmd/tonearm/internal/screen"
	"tonearm/internal/client"
)

type convertFlags struct {
	out          string
	template     string
	recursive    bool
	skipExisting bool
	force        bool
	json         bool
	quiet        bool
	noWait       bool
	dryRun       bool
	watching     bool
	jobs         int
	retryFor     time.Duration
	send         string // sendAuto or sendWhole
	options      options
}

func newConvertCommand() *cobra.Command {
	fl := &convertFlags{send: sendAuto}
	cmd := &cobra.Command{
		Use:   "convert FILE…",
		Short: "Convert videos to MP3",
		Long: `Upload videos, wait until they are converted, and save the MP3s.

An MP3 gets the name of its video. Files that exist are never overwritten. If the
command is interrupted, run it again: it continues where it stopped. A video that
was converted with the same options is not sent again: if its MP3 is missing, only
the MP3 is downloaded. No mail is sent unless you ask for it with --notify email or
do not wait.

Of a video only the sound is uploaded where that gives the same MP3, byte for byte.
--send whole uploads all of it.

With --recursive, a folder means the videos in it and in the folders below, and the
MP3s are saved in the same tree. FILE - is standard input, --out - standard output.
With --watch, the command goes on with the videos that come into the folders; one that
is still being written is waited for.

With --json, standard output has one line for each file, once it is finished:
  {"file","id","state","mp3_id","mp3","error":{"code","message"}}
mp3 is the path of the saved MP3. A file that could not be uploaded at all has the
state failed and no id. Where only the sound is uploaded, size is its bytes, and
"sent":{"what","original_size"} says so. A name that is not UTF-8 comes as file_base64
or mp3_base64, too.`,
		Example: `  tonearm convert talk.mp4 --out mp3s
  tonearm convert --recursive videos --out mp3s --preset podcast --album 'My show'
  tonearm convert concert.mov --start 1:30 --end 1:02:03.5 --cover 12:00 --out concert.mp3
  tonearm convert --watch inbox --out mp3s
  tonearm convert concert.mov --json | jq -r .mp3`,
		Args:        command.Needs(0, "one video or more"),
		Annotations: map[string]string{command.Footer: presets()},
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			if err := fl.check(cmd, args); err != nil {
				return err
			}
			return fl.run(cmd, args)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	bindServer(f)
	f.StringVar(&fl.out, "out", ".", "`FOLDER` for the MP3s, which is made if it is missing; or the one MP3, such as talk.mp3; - for standard output")
	f.StringVar(&fl.template, "output-template", "", "`NAME` of each MP3 below --out, with {dir}, {name}, {ext} and {number} of the video (default: "+files.DefaultTemplate+")")
	f.BoolVar(&fl.recursive, "recursive", false, "convert the videos in folders, and in the folders below")
	f.BoolVar(&fl.skipExisting, "skip-existing", false, "leave out each video whose MP3 has its name in --out already")
	f.BoolVar(&fl.force, "force", false, "convert again what was converted before")
	f.BoolVar(&fl.watching, "watch", false, "go on with the videos that come into the folders, until Ctrl-C")
	f.BoolVar(&fl.json, "json", false, "print a line of JSON for each file, and nothing else, on standard output")
	f.BoolVar(&fl.quiet, "quiet", false, "print only what fails")
	f.BoolVar(&fl.noWait, "no-wait", false, "only upload, and do not wait; the same command without this flag downloads the MP3s later")
	f.BoolVar(&fl.dryRun, "dry-run", false, "only say what would be sent, and how many bytes")
	f.IntVar(&fl.jobs, "jobs", 4, "`NUMBER` of files at a time")
	f.DurationVar(&fl.retryFor, "retry-for", longPatience, "how long to try again while the server cannot be reached")
	words := []string{sendAuto, sendWhole}
	addFlag(cmd, "send", "", "what is uploaded of a video: auto is only its sound where the MP3 is the same, whole is all of it (default: auto)", words, &flagValue{"WHAT", func(s string) error {
		if !slices.Contains(words, s) {
			return errors.New("it takes auto or whole")
		}
		fl.send = s
		return nil
	}})
	fl.options.bind(cmd)
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// check returns what is wrong with the flags.
func (fl *convertFlags) check(cmd *cobra.Command, args []string) error {
	if err := fl.options.check(cmd); err != nil {
		return err
	}
	stdin := 0
	for _, arg := range args {
		if arg == files.Stdin {
			stdin++
		}
	}
	var wrong string
	switch {
	case fl.jobs < 1:
		wrong = "--jobs must be 1 or more"
	case fl.retryFor < 0:
		wrong = "--retry-for must be 0 or more; 0 tries once"
	case stdin > 1:
		wrong = "standard input (-) can be read only once"
	case fl.stdout() && fl.json:
		wrong = "--out - and --json both need standard output"
	case fl.stdout() && fl.template != "":
		wrong = "--output-template needs a folder as --out"
	case fl.watching && (stdin > 0 || fl.stdout() || fl.dryRun):
		wrong = "--watch goes with neither - nor --dry-run"
	case fl.force && fl.skipExisting:
		wrong = "--force and --skip-existing say opposite things; use one of them"
	default:
		return nil
	}
	return usageError{errors.New(wrong)}
}

// stdout reports whether the MP3 goes to standard output.
func (fl *convertFlags) stdout() bool { return fl.out == files.Stdin && !fl.noWait }

// converter converts the files of one command.
type converter struct {
	*convertFlags
	cmd     *cobra.Command
	client  *client.Client
	output  *files.Output // nil where no MP3 is saved
	journal *journal.Journal
	old     journal.Old
	screen  *screen.Screen
	alike   alike
	report  report
	alone   bool        // there is only one file
	earlier atomic.Bool // the server is an earlier version, which takes only whole videos
}

func stateDir() string { return filepath.Join(xdg.StateHome, "tonearm") }

func (fl *convertFlags) run(cmd *cobra.Command, args []string) error {
	c := &converter{convertFlags: fl, cmd: cmd, old: journal.Old(filepath.Join(stateDir(), "conversions"))}
	var err error
	if c.client, err = connect(cmd, fl.retryFor); err != nil {
		return err
	}
	if fl.watching {
		return c.runWatch(args)
	}
	all := files.List(args, fl.recursive)
	if fl.stdout() && len(all) != 1 {
		return usageError{fmt.Errorf("--out - takes one video, and there are %d", len(all))}
	}
	if err := c.open(len(all)); err != nil {
		return err
	}
	defer c.journal.Close()
	works := c.plan(cmd.Context(), all)
	c.alone = len(all) == 1
	if fl.dryRun {
		return c.tell(cmd.Context(), works)
	}
	return c.show(func(ctx context.Context) error { return c.all(ctx, works) })
}

// runWatch is run with --watch.
func (c *converter) runWatch(folders []string) error {
	if err := checkFolders(folders); err != nil {
		return err
	}
	const many = 2
	if err := c.open(many); err != nil {
		return err
	}
	defer c.journal.Close()
	return c.show(func(ctx context.Context) error { return c.watch(ctx, folders) })
}

// show does the work with a screen, and says at the end what remains.
func (c *converter) show(do func(context.Context) error) error {
	c.screen = newScreen(c.cmd, c.quiet)
	stop := context.AfterFunc(c.cmd.Context(), c.screen.Freeze) // at the first Ctrl-C
	err := do(c.cmd.Context())
	stop()
	c.screen.Close()
	c.cmd.SetErr(nil)
	if err != nil && context.Cause(c.cmd.Context()) == nil && !client.IsLogin(err) {
		return err
	}
	return c.conclude(err)
}

// open opens the journal and the output.
func (c *converter) open(n int) error {
	ctx := c.cmd.Context()
	c.old.Sweep()
	var err error
	if c.journal, err = journal.Open(ctx, stateDir()); err != nil {
		say(c.cmd, "Warning: cannot keep what is done, so the same command may do it again: %v", err)
		if c.journal, err = journal.InMemory(ctx); err != nil {
			return err
		}
	}
	if c.noWait || c.stdout() {
		return nil
	}
	if c.output, err = files.NewOutput(c.out, c.template, n); err != nil {
		return usageError{err}
	}
	if c.dryRun {
		return nil
	}
	if err := c.output.Check(); err != nil {
		return fmt.Errorf("cannot write to the folder for the MP3s: %w. Choose another one with --out", err)
	}
	return nil
}

// all converts the files, several at a time, and reports each. It returns why it
// ended early.
func (c *converter) all(ctx context.Context, works []*work) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for _, w := range works {
		if w.settled == nil {
			c.screen.Expect(1, w.toSend())
		}
	}
	var g errgroup.Group
	g.SetLimit(c.jobs)
	for _, w := range works {
		if w.settled != nil {
			c.finish(*w.settled)
			continue
		}
		g.Go(func() error {
			o, err := c.convert(ctx, w)
			if client.IsLogin(err) {
				stop(err) // it would be the same with every other file
			}
			c.finish(o)
			return nil
		})
	}
	_ = g.Wait()
	for _, w := range works {
		for _, path := range w.repeats {
			o := c.report.of(w.file)
			o.File, o.sent, o.of = path, 0, 0
			c.finish(o)
		}
	}
	return context.Cause(ctx)
}

// title returns the name under which the server keeps a video: no control
// characters, which it would refuse.
func title(path string) string {
	if path == files.Stdin {
		return "stdin"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '_'
		}
		return r
	}, filepath.Base(path))
}
