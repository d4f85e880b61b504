package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tonearm/cmd/internal/config"
	"tonearm/internal/account"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/api"
	"tonearm/internal/client"
)

func newLoginCommand() *cobra.Command {
	var email string
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "login --server URL --user EMAIL",
		Short: "Log in and keep the token",
		Long: `Log in and keep the token, readable by you alone, in your config directory.

TONEARM_TOKEN and TONEARM_SERVER take the place of a login.`,
		Example: "  tonearm login --server http://localhost:8080 --user me@example.org --password-stdin < password.txt",
		Args:    cobra.NoArgs,
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			server, _ := cmd.Flags().GetString("server")
			if server == "" {
				s, _ := loadSession() // a damaged one is about to be replaced
				server = s.Server
			}
			if server == "" || email == "" {
				return usageError{errors.New("--server and --user are needed")}
			}
			c, err := newClient(cmd, server, "", shortPatience)
			if err != nil {
				return err
			}
			if u, err := url.Parse(c.Server()); err == nil && u.Scheme == "http" && !client.Loopback(u) {
				cmd.PrintErrln("Warning: the password goes over an unencrypted connection.")
			}
			password, err := readPassword(cmd, fromStdin, false)
			if err != nil {
				return err
			}
			token, err := c.Login(cmd.Context(), email, password)
			if err != nil {
				return fmt.Errorf("log in at %s: %w", c.Server(), err)
			}
			if err := (session{Server: c.Server(), Email: email, Token: token.AccessToken}).save(); err != nil {
				return err
			}
			cmd.PrintErrf("Logged in at %s as %s.\n", c.Server(), email)
			return nil
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().StringVar(&email, "user", "", "e-mail address of the account")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// readPassword reads from standard input, or asks on a terminal; twice for a
// new password.
func readPassword(cmd *cobra.Command, fromStdin, isNew bool) (string, error) {
	if fromStdin {
		b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 64<<10))
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		b = bytes.TrimSuffix(b, []byte("\n"))
		return string(bytes.TrimSuffix(b, []byte("\r"))), nil
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", usageError{errors.New("there is no terminal to ask for the password: use --password-stdin")}
	}
	// Ctrl-C has to give the terminal its echo back.
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(cmd.Context(), func() {
		_ = term.Restore(fd, state)
		fmt.Fprintln(os.Stderr)
		os.Exit(exitInterrupted)
	})
	defer stop()
	ask := func(prompt string) (string, error) {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	password, err := ask("Password: ")
	if err != nil || !isNew {
		return password, err
	}
	if again, err := ask("Again: "); err != nil || again != password {
		return "", errors.Join(err, errors.New("the two passwords differ"))
	}
	return password, nil
}

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Manage accounts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("which? tonearm user add EMAIL")}
		}}
	cmd.AddCommand(newUserAddCommand())
	return cmd
}

func newUserAddCommand() *cobra.Command {
	var users string
	var files config.UsersTLS
	var maxUpload int64
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "add EMAIL",
		Short: "Make an account",
		Long: `Make an account: in the users' database that --users names, or, without
--users, through the gateway of --server, where that lets anybody make one.`,
		Example: `  tonearm user add me@example.org --users .tonearm/tonearm.db
  tonearm user add me@example.org --users 'tonearm:secret@tcp(mysql:3306)/tonearm'
  tonearm user add me@example.org --server http://localhost:8080`,
		Args: cobra.ExactArgs(1),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			email, err := account.NormalizeEmail(args[0])
			if err != nil {
				return usageError{err}
			}
			server, _ := cmd.Flags().GetString("server")
			switch {
			case maxUpload < 0:
				return usageError{errors.New("--max-upload must not be negative")}
			case users == "" && server == "":
				return usageError{errors.New("--users or --server is needed")}
			case users == "" && maxUpload != 0:
				return usageError{errors.New("--max-upload needs --users")}
			}
			password, err := readPassword(cmd, fromStdin, true)
			if err != nil {
				return err
			}
			if err := account.CheckPassword(password); err != nil {
				return err
			}
			if users != "" {
				err = addUser(cmd.Context(), users, files, email, password, maxUpload)
			} else {
				var c *client.Client
				if c, err = newClient(cmd, server, "", shortPatience); err == nil {
					_, err = c.CreateUser(cmd.Context(), api.NewUser{Email: email, Password: password})
				}
			}
			if errors.Is(err, account.ErrExists) {
				err = errors.New("this address has an account already")
			}
			if err != nil {
				return fmt.Errorf("add %s: %w", email, err)
			}
			cmd.PrintErrf("Added %s.\n", email)
			return nil
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().StringVar(&users, "users", "", "users' database: a SQLite file, or a MySQL DSN such as user:password@tcp(host:3306)/tonearm")
	files.Bind(cmd.Flags())
	cmd.Flags().Int64Var(&maxUpload, "max-upload", 0, "largest video of the account in bytes; 0 for the service's default")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// openUsers opens a MySQL server where users looks like a DSN, else a file.
func openUsers(users string, files config.UsersTLS) (*sqlaccount.Store, error) {
	if !strings.Contains(users, ")/") && !strings.Contains(users, "@/") {
		return sqlaccount.OpenSQLite(users)
	}
	tlsConfig, err := files.Config()
	if err != nil {
		return nil, err
	}
	return sqlaccount.OpenMySQL(users, tlsConfig, slog.New(slog.DiscardHandler)) // the error says it
}

func addUser(ctx context.Context, users string, files config.UsersTLS, email, password string, maxUpload int64) (err error) {
	store, err := openUsers(users, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.Prepare(ctx); err != nil {
		return err
	}
	_, err = store.Create(ctx, email, password, maxUpload)
	return err
}
