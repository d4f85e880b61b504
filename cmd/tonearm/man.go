package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"tonearm/cmd/internal/command"
	"tonearm/internal/version"
)

// newManCommand writes the manual pages, for `make install`.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write the manual pages into a folder", Example: "  tonearm man /usr/local/share/man/man1",
		Args: command.Needs(1, "a folder"), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are for everybody
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Tonearm " + version.String(), Manual: "Tonearm"}, args[0])
		},
	}
}
