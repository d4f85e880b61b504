package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tonearm/cmd/tonearm/internal/text"
)

// say prints a line on standard error. What is put into it may come from a server
// or a file: it stays on the line.
func say(cmd *cobra.Command, format string, a ...any) {
	cmd.PrintErrln(text.Printable(fmt.Sprintf(format, a...)))
}

// table prints rows in columns. Whatever is in a cell stays in it.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer) table { return table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)} }

func (t table) row(cells ...any) {
	var row []string
	for _, c := range cells {
		row = append(row, text.Printable(fmt.Sprint(c)))
	}
	fmt.Fprintln(t.w, strings.Join(row, "\t"))
}

// flush prints what row was given, and returns the first error of writing.
func (t table) flush() error { return t.w.Flush() }
