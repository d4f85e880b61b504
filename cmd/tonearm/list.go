package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

func newListCommand() *cobra.Command {
	var limit int
	var names []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List your conversions, newest first", Args: command.NoArgs,
		Long: `List your conversions, newest first. On a terminal the lines fit its width, with
the ends of ids, and a long list goes through $PAGER (default: less).`,
		Example: "  tonearm list --state failed,canceled --limit 10",
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			var states []conversion.State
			for _, n := range names {
				if !slices.Contains(visible, conversion.State(n)) {
					return usageError{fmt.Errorf("unknown state %q; use %s", n, visibleStates())}
				}
				states = append(states, conversion.State(n))
			}
			if limit < 0 {
				return usageError{errors.New("--limit must be 0 or more; 0 lists all")}
			}
			return list(cmd, states, limit, asJSON)
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 50, "print at most this `NUMBER` of conversions; 0 for all")
	cmd.Flags().StringSliceVar(&names, "state", nil, "only conversions in these `STATES`, separated by commas: "+visibleStates())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each conversion")
	_ = cmd.RegisterFlagCompletionFunc("state", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []cobra.Completion
		for _, s := range visible {
			names = append(names, string(s))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func list(cmd *cobra.Command, states []conversion.State, limit int, asJSON bool) error {
	c, err := connect(cmd, shortPatience)
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		return eachConversion(cmd, c, states, limit, func(cv api.Conversion) error { return printJSON(cmd, cv) })
	case isTerminal(os.Stdout):
		width, height, err := term.GetSize(int(os.Stdout.Fd()))
		if err != nil {
			width, height = 80, 24
		}
		var all []api.Conversion
		err = eachConversion(cmd, c, states, limit, func(cv api.Conversion) error {
			all = append(all, cv)
			return nil
		})
		if err != nil {
			return err
		}
		return page(cmd, listLines(all, width), height)
	}
	t := newTable(cmd.OutOrStdout())
	t.row("ID", "STATE", "CREATED", "LENGTH", "NAME")
	err = eachConversion(cmd, c, states, limit, func(cv api.Conversion) error {
		t.row(cv.ID, cv.State, cv.CreatedAt.Local().Format(time.DateTime), listLength(cv), cv.Filename)
		return nil
	})
	return errors.Join(err, t.flush())
}

func listLength(cv api.Conversion) string {
	if cv.MP3 == nil {
		return "-"
	}
	return conversion.Clock(cv.MP3.Duration)
}

// wideList is how many columns a terminal has for all that a list shows.
const wideList = 72

// listLines returns a list for a terminal: the ends of ids, and names cut to what is
// left of width.
func listLines(all []api.Conversion, width int) []string {
	row := func(id, state, created, length string) string {
		row := fmt.Sprintf("%-*s  %-15s  ", shortLength, id, state)
		if width >= wideList {
			row += fmt.Sprintf("%-16s  %8s  ", created, length)
		}
		return row
	}
	head := row("ID", "STATE", "CREATED", "LENGTH")
	var names []string
	for _, cv := range all {
		names = append(names, text.Printable(cv.Filename))
	}
	lines := []string{text.Cut(head+"NAME", width-1)}
	for i, name := range text.CutApart(names, max(0, width-1-len(head))) {
		cv := all[i]
		left := row(text.Printable(short(cv.ID)), text.Printable(string(cv.State)), cv.CreatedAt.Local().Format("2006-01-02 15:04"), listLength(cv))
		lines = append(lines, strings.TrimRight(text.Cut(left+name, width-1), " "))
	}
	return lines
}

// page prints lines, by the user's pager if they do not fit on the terminal.
func page(cmd *cobra.Command, lines []string, height int) error {
	all := []byte(strings.Join(lines, "\n") + "\n")
	if len(lines) >= height && os.Getenv("TERM") != "dumb" {
		pager := exec.CommandContext(cmd.Context(), "sh", "-c", cmp.Or(os.Getenv("PAGER"), "less")) //nolint:gosec // the user's own program
		pager.Stdin, pager.Stdout, pager.Stderr = bytes.NewReader(all), os.Stdout, os.Stderr
		pager.Env = append([]string{"LESS=FRX"}, os.Environ()...) // the user's own value comes later and wins
		const notFound = 127
		err := pager.Run()
		var exit *exec.ExitError
		if err == nil || errors.As(err, &exit) && exit.ExitCode() != notFound {
			return nil
		}
	}
	_, err := io.Copy(cmd.OutOrStdout(), bytes.NewReader(all))
	return err
}
