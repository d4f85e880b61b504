package main

import (
	"context"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/attemptenv"
	"tonearm/cmd/internal/config"
	"tonearm/internal/version"
)

// transcoderName is the name of the small program that does the same as
// `tonearm transcoder`.
const transcoderName = "transcoder"

// newTranscoderCommand is what `tonearm up` starts for each attempt if there is
// no transcoder program beside it.
func newTranscoderCommand() *cobra.Command {
	cmd := attemptenv.NewCommand()
	cmd.Hidden = true
	return cmd
}

// transcoderFor returns the command line of the transcoders that the program
// self starts: the transcoder program beside it, or else self. The small program
// starts several times as fast. A program of another version is not used: it
// might ignore what it does not know, such as a new option.
func transcoderFor(ctx context.Context, self string, log *slog.Logger) []string {
	own := []string{self, transcoderName}
	program, err := exec.LookPath(filepath.Join(filepath.Dir(self), transcoderName))
	if err != nil { // none that can be run
		return own
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ask := exec.CommandContext(ctx, program, "--version")
	ask.Env = config.TranscoderEnv()
	said, err := ask.Output()
	if want := transcoderName + " version " + version.Details(); err != nil || strings.TrimSpace(string(said)) != want {
		log.Warn("the transcoder program beside this one is of another version, so this program converts by itself", "program", program, "wanted", want)
		return own
	}
	return []string{program}
}
