// Command tonearm is the command line of Tonearm: it uploads videos and fetches
// their MP3s, and `tonearm up` runs the whole service in one process.
//
// Every flag has an environment twin: --vbr-quality is TONEARM_VBR_QUALITY.
// Results go to standard output, everything else to standard error.
//
// Exit codes:
//
//	0    all done
//	1    something failed; which and why was said
//	2    the command line is wrong
//	4    a login is needed
//	130  interrupted
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/env"
	"tonearm/internal/client"
	"tonearm/internal/embedded"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitLogin       = 4
	exitInterrupted = 130
)

var (
	// errReported: something failed, and that was said already.
	errReported    = errors.New("some of it failed")
	errInterrupted = errors.New("interrupted")
)

// loginError: there is no token for the server, or the server refused it.
type loginError struct{ message string }

func (e loginError) Error() string { return e.message }

// usageError: the command line is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	embedded.Main()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	begun := false // what fails before is a mistake in the command line
	root := newRootCommand(func() { begun = true })
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	var usage usageError
	var login loginError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return exitFailed
	case errors.Is(err, errInterrupted), errors.Is(context.Cause(cmd.Context()), errInterrupted):
		fmt.Fprintln(os.Stderr, "tonearm: interrupted")
		return exitInterrupted
	case !begun, errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "tonearm: %v\nSee: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	case client.IsLogin(err), errors.As(err, &login):
		fmt.Fprintf(os.Stderr, "tonearm: %v\n", err)
		return exitLogin
	}
	fmt.Fprintf(os.Stderr, "tonearm: %v\n", err)
	return exitFailed
}

func newRootCommand(begin func()) *cobra.Command {
	root := &cobra.Command{
		Use:   "tonearm",
		Short: "Tonearm lifts the sound out of video",
		Long: `Tonearm lifts the sound out of video: it uploads videos and fetches their MP3s.

Every flag has an environment twin: --vbr-quality is TONEARM_VBR_QUALITY.
Exit codes: 0 all done, 1 something failed, 2 wrong usage, 4 login needed,
130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := env.Set(cmd.Flags()); err != nil {
				return err
			}
			if name := cmd.Name(); name != "up" && name != "transcoder" { // these say it in their logs
				for _, variable := range env.Unknown(os.Environ()) {
					fmt.Fprintf(cmd.ErrOrStderr(), "tonearm: no Tonearm program knows the environment variable %s\n", variable)
				}
			}
			begin()
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return env.FlagError(cmd.Flags(), err) })
	root.AddCommand(
		newLoginCommand(), newConvertCommand(), newListCommand(), newGetCommand(),
		newCancelCommand(), newRetryCommand(), newRemoveCommand(), newUserCommand(),
		newUpCommand(), newTranscoderCommand(), newVersionCommand(),
	)
	return root
}

// interruptible gives a command's context an end at the first Ctrl-C or
// SIGTERM, with errInterrupted as its cause; the second ends the process.
func interruptible(do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithCancelCause(cmd.Context())
		defer cancel(nil)
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(signals)
		go func() {
			select {
			case <-signals:
				cancel(errInterrupted)
			case <-ctx.Done():
				return
			}
			<-signals
			os.Exit(exitInterrupted)
		}()
		cmd.SetContext(ctx)
		return do(cmd, args)
	}
}
