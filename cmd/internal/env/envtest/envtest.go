// Package envtest checks the list of known flags against those of a command.
package envtest

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/env"
)

// Known fails the test for each flag of cmd, and of the commands below it, that
// is not on the list.
func Known(t *testing.T, cmd *cobra.Command) {
	t.Helper()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !env.Known(f.Name) {
			t.Errorf("--%s of %s is missing in the list of cmd/internal/env", f.Name, cmd.CommandPath())
		}
	})
	for _, below := range cmd.Commands() {
		Known(t, below)
	}
}
