// Command transcoder carries out one attempt. A dispatcher's launcher starts
// it, with everything it needs in its environment; its exit codes are in
// package attempt.
package main

import (
	"context"
	"os"

	"tonearm/cmd/internal/attemptenv"
	"tonearm/cmd/internal/command"
	"tonearm/internal/attempt"
)

func main() {
	cmd := attemptenv.NewCommand()
	command.Setup(cmd)
	if cmd.ExecuteContext(context.Background()) != nil {
		os.Exit(attempt.ExitUsage)
	}
}
