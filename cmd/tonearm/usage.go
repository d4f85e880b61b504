package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"tonearm/internal/conversion"
)

// presets lists the presets for the help of convert.
func presets() string {
	var out strings.Builder
	fmt.Fprintln(&out, "Presets:")
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, p := range conversion.Presets {
		fmt.Fprintf(t, "  %s\t%s\n", p.Name, p.Description)
	}
	t.Flush()
	return out.String()
}
