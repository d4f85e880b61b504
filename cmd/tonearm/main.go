// Command tonearm is the command line of Tonearm: it uploads videos and fetches
// their MP3s, and `tonearm up` runs the whole service in one process.
//
// Every flag can be set in the environment: --vbr-quality is TONEARM_VBR_QUALITY.
// Results go to standard output, everything else to standard error.
//
// Exit codes:
//
//	0    all done
//	1    something failed; standard error says what and why
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

	"tonearm/cmd/internal/command"
	"tonearm/cmd/internal/env"
	"tonearm/cmd/tonearm/internal/text"
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
	// errReported: something failed, and the user has read what.
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
	stderr := text.Writer{W: os.Stderr}
	var usage usageError
	var login loginError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return exitFailed
	case errors.Is(err, errInterrupted), errors.Is(context.Cause(cmd.Context()), errInterrupted):
		fmt.Fprintln(stderr, "tonearm: interrupted")
		return exitInterrupted
	case !begun, errors.As(err, &usage):
		fmt.Fprintf(stderr, "tonearm: %v\nSee: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	case errors.As(err, &login):
		fmt.Fprintf(stderr, "tonearm: %v\n", err)
		return exitLogin
	case client.IsLogin(err):
		fmt.Fprintf(stderr, "tonearm: %v\n", expired())
		return exitLogin
	}
	fmt.Fprintf(stderr, "tonearm: %v\n", err)
	return exitFailed
}

func newRootCommand(begin func()) *cobra.Command {
	root := &cobra.Command{
		Use:   "tonearm",
		Short: "Turn videos into MP3s",
		Long: `Tonearm turns videos into MP3s. This program uploads videos to a Tonearm server
and downloads their MP3s; "tonearm up" runs such a server on this machine.`,
		Example: `  tonearm up
  tonearm login --server http://localhost:8080 --user me@example.org
  tonearm convert talk.mp4 --out mp3s`,
		Annotations: map[string]string{command.Footer: `Exit codes: 0 all done, 1 something failed, 2 wrong usage, 4 login needed,
130 interrupted. Results go to standard output, everything else to standard
error. Every flag can be set in the environment: --out is TONEARM_OUT.
`},
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := env.Set(cmd.Flags()); err != nil {
				return err
			}
			if name := cmd.Name(); name != "up" && name != "transcoder" {
				// Names of files and messages of servers may hold anything.
				cmd.Root().SetOut(text.Writer{W: os.Stdout})
				cmd.Root().SetErr(text.Writer{W: os.Stderr})
				if err := setFromConfig(cmd.Flags()); err != nil {
					return err
				}
				for _, variable := range env.Unknown(os.Environ()) {
					fmt.Fprintf(cmd.ErrOrStderr(), "tonearm: ignoring the environment variable %s: no Tonearm program knows it\n", variable)
				}
			}
			begin()
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.Setup(root)
	root.AddCommand(
		newLoginCommand(), newConvertCommand(), newListCommand(), newGetCommand(),
		newCancelCommand(), newRetryCommand(), newRemoveCommand(), newUserCommand(),
		newDoctorCommand(), newUpCommand(), newTranscoderCommand(), newManCommand(), newVersionCommand(),
	)
	root.AddCommand(accountCommands()...)
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
