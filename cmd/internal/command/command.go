// Package command is what the commands of all programs share: the help, the
// version, and errors for a wrong command line.
package command

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/env"
	"tonearm/internal/version"
)

const (
	// Footer annotates a command with text that its help ends with.
	Footer = "tonearm_footer"

	headingAnnotation = "tonearm_heading" // of a flag that env.Groups gives no heading
	headingRest       = "Other"           // of --help and --version
	width             = 100               // of the help, in columns
)

// Setup gives a program's command, and the commands below it, Tonearm's help and
// errors, and the program --version.
func Setup(root *cobra.Command) {
	root.Version = version.Details()
	root.SetErrPrefix(root.Name() + ":")
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { write(cmd.OutOrStdout(), cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error { write(cmd.OutOrStderr(), cmd); return nil })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return env.FlagError(cmd.Flags(), err) })
}

// SetHeading puts a flag under a heading of the help.
func SetHeading(f *pflag.FlagSet, flag, heading string) {
	_ = f.SetAnnotation(flag, headingAnnotation, []string{heading}) // fails only if there is no such flag
}

// write prints the help of a command.
func write(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", cmp.Or(cmd.Long, cmd.Short), usageLine(cmd))
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintln(w, "\nCommands:")
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(t, "  %s\t%s\n", c.Name(), c.Short)
			}
		}
		t.Flush()
	}
	example, durations := "", false
	for _, g := range grouped(cmd) {
		fmt.Fprintf(w, "\n%s:\n%s", g.heading, g.flags.FlagUsagesWrapped(width))
		if g.heading == headingRest {
			continue
		}
		g.flags.VisitAll(func(f *pflag.Flag) {
			example = cmp.Or(example, f.Name)
			durations = durations || f.Value.Type() == "duration"
		})
	}
	if footer := cmd.Annotations[Footer]; footer != "" {
		fmt.Fprintf(w, "\n%s", footer)
	}
	if durations {
		fmt.Fprintln(w, "\nA duration is a number with its unit, such as 30s, 10m or 24h.")
	}
	if example != "" {
		fmt.Fprintf(w, "\nEnvironment variables set flags, too: %s is --%s. The command line comes first.\n", env.Name(example), example)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nMore about a command: %s COMMAND --help\n", cmd.CommandPath())
	}
}

func usageLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

type group struct {
	heading string
	flags   *pflag.FlagSet
}

// grouped returns the flags of a command under their headings: those of
// env.Groups in that order, then those with a heading of their own.
func grouped(cmd *cobra.Command) (groups []group) {
	add := func(heading string, f *pflag.Flag) {
		i := slices.IndexFunc(groups, func(g group) bool { return g.heading == heading })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{heading, pflag.NewFlagSet(heading, pflag.ContinueOnError)})
			groups[i].flags.SortFlags = false
		}
		groups[i].flags.AddFlag(shown(f))
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	for _, g := range env.Groups {
		for _, name := range g.Flags {
			if f := cmd.Flags().Lookup(name); f != nil && g.Heading != "" {
				add(g.Heading, f)
			}
		}
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if heading := f.Annotations[headingAnnotation]; len(heading) > 0 {
			add(heading[0], f)
		}
	})
	for _, name := range []string{"help", "version"} {
		if f := cmd.Flags().Lookup(name); f != nil {
			add(headingRest, f)
		}
	}
	return groups
}

// shown returns a flag as the help prints it: 1h, not 1h0m0s, and large numbers
// of bytes in GiB, too.
func shown(f *pflag.Flag) *pflag.Flag {
	c := *f
	var n int64
	switch {
	case c.Value.Type() == "duration":
		if s, ok := strings.CutSuffix(c.DefValue, "m0s"); ok {
			c.DefValue = s + "m"
		}
		if s, ok := strings.CutSuffix(c.DefValue, "h0m"); ok {
			c.DefValue = s + "h"
		}
	case strings.HasSuffix(c.Name, "-bytes"):
		if _, err := fmt.Sscan(c.DefValue, &n); err == nil && n > 0 && n%(1<<30) == 0 {
			c.DefValue += fmt.Sprintf(": %d GiB", n>>30)
		}
	}
	return &c
}

// NoArgs refuses what is not a flag.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, but there is %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// Needs wants n arguments, or any number from one on if n is 0. what is what
// they name, such as "a conversion".
func Needs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("name %s: %s", what, cmd.UseLine())
		case n > 0 && len(args) > n:
			return fmt.Errorf("name %s only, without %q: %s", what, args[n], cmd.UseLine())
		}
		return nil
	}
}
