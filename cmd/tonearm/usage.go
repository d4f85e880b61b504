package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/internal/conversion"
)

const (
	// groupAnnotation of a flag is the heading that the help puts it under.
	groupAnnotation = "tonearm_group"
	groupOther      = "Flags"
	usageWidth      = 100 // columns
)

// groupedUsage prints the usage of convert with its flags under headings, and
// the presets.
func groupedUsage(cmd *cobra.Command) error {
	out := cmd.OutOrStderr()
	fmt.Fprintf(out, "Usage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), cmd.Example)
	for _, group := range append([]string{groupOther}, conversion.FieldGroups...) {
		fmt.Fprintf(out, "\n%s:\n%s", group, flagsOf(cmd, group).FlagUsagesWrapped(usageWidth))
	}
	fmt.Fprintln(out, "\nPresets:")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range conversion.Presets {
		fmt.Fprintf(t, "  %s\t%s\n", p.Name, p.Description)
	}
	return t.Flush()
}

// flagsOf returns the flags under a heading.
func flagsOf(cmd *cobra.Command, group string) *pflag.FlagSet {
	set := pflag.NewFlagSet(group, pflag.ContinueOnError)
	set.SortFlags = false
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if got := append(f.Annotations[groupAnnotation], groupOther)[0]; got == group {
			set.AddFlag(f)
		}
	})
	return set
}
