package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tonearm/cmd/internal/command"
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
		Use:   "login [--server URL] [--user EMAIL]",
		Short: "Log in to a server",
		Long: `Log in to a server, and keep the token in your config directory, in a file that
only you can read. The password is asked for, or read from standard input.

A login lasts 12 hours. While you use it, it is renewed, for up to 30 days. Later
logins remember the server and the address. Instead of a login you can set
TONEARM_SERVER and TONEARM_TOKEN; the token may be an API key.`,
		Example: `  tonearm login --server http://localhost:8080 --user me@example.org
  tonearm login --server http://localhost:8080 --user me@example.org --password-stdin < password.txt
  tonearm login`,
		Args: command.NoArgs,
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			server, _ := cmd.Flags().GetString("server")
			s, _ := loadSession() // a damaged one is about to be replaced
			var err error
			if server = cmp.Or(server, s.Server); server == "" {
				if server, err = ask(cmd, "Server, such as https://tonearm.example.org: "); err != nil {
					return err
				}
			}
			c, err := newClient(cmd, server, "", shortPatience)
			if err != nil {
				return err
			}
			if c.Server() == s.Server {
				email = cmp.Or(email, s.Email)
			}
			if email == "" {
				if email, err = ask(cmd, "E-mail address: "); err != nil {
					return err
				}
			}
			if u, err := url.Parse(c.Server()); err == nil && u.Scheme == "http" && !client.Loopback(u) {
				cmd.PrintErrf("Warning: your password is sent to %s without encryption. Use https if you can.\n", u.Host)
			}
			password, err := readPassword(cmd, fromStdin, false)
			if err != nil {
				return err
			}
			token, err := c.Login(cmd.Context(), email, password)
			if client.IsLogin(err) {
				return loginError{"The e-mail address or the password is wrong. Try again, or make an account: tonearm user add EMAIL --server " + c.Server()}
			}
			if err != nil {
				return err
			}
			if err := (session{Server: c.Server(), Email: email}).with(token).save(); err != nil {
				return err
			}
			cmd.PrintErrf("Logged in at %s as %s.\n", c.Server(), email)
			return nil
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().StringVar(&email, "user", "", "e-mail `ADDRESS` of your account (default: that of your last login there)")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// ask asks for a line on the terminal.
func ask(cmd *cobra.Command, prompt string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", usageError{errors.New("--server and --user are needed: tonearm login --server URL --user EMAIL")}
	}
	stop := context.AfterFunc(cmd.Context(), func() { os.Exit(exitInterrupted) })
	defer stop()
	fmt.Fprint(os.Stderr, prompt)
	var line []byte
	for b := make([]byte, 1); ; { // no more than the line: the password comes next
		n, err := os.Stdin.Read(b)
		if n == 1 && b[0] == '\n' {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read the answer: %w", err)
		}
		line = append(line, b[:n]...)
	}
	answer := strings.TrimSpace(string(line))
	if answer == "" {
		return "", usageError{errors.New("nothing was entered")}
	}
	return answer, nil
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
	return askPassword(cmd, "Password", isNew)
}

// askPassword asks on the terminal for a password under this name; twice for a
// new one.
func askPassword(cmd *cobra.Command, name string, isNew bool) (string, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", usageError{errors.New("there is no terminal to ask for the password; give it on standard input, with --password-stdin")}
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
	password, err := ask(name + ": ")
	if err != nil || !isNew {
		return password, err
	}
	if again, err := ask(name + " again: "); err != nil || again != password {
		return "", errors.Join(err, errors.New("the two passwords are not the same; try again"))
	}
	return password, nil
}

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Manage accounts", Args: command.NoArgs,
		Example: "  tonearm user add me@example.org --server http://localhost:8080",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("say what to do: tonearm user add EMAIL, or list, limits, admin or audit, which operators use")}
		}}
	cmd.AddCommand(newUserAddCommand())
	cmd.AddCommand(operatorCommands()...)
	return cmd
}

func newUserAddCommand() *cobra.Command {
	var users string
	var files config.UsersTLS
	var maxUpload int64
	var fromStdin, admin bool
	cmd := &cobra.Command{
		Use:   "add EMAIL",
		Short: "Make an account",
		Long: `Make an account on the server of --server, if it lets anybody make one. An
operator makes accounts in the server's database instead, with --users; their
addresses count as confirmed.`,
		Example: `  tonearm user add me@example.org --server http://localhost:8080
  tonearm user add me@example.org --users .tonearm/tonearm.db
  tonearm user add me@example.org --users 'tonearm:secret@tcp(mysql:3306)/tonearm'`,
		Args: command.Needs(1, "one e-mail address"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			email, err := account.NormalizeEmail(args[0])
			if err != nil {
				return usageError{err}
			}
			server, _ := cmd.Flags().GetString("server")
			switch {
			case maxUpload < 0:
				return usageError{errors.New("--max-upload must be 0 or more; 0 is the server's own limit")}
			case users == "" && server == "":
				return usageError{errors.New("say where: --server URL, or --users with the server's database")}
			case users == "" && maxUpload != 0:
				return usageError{errors.New("--max-upload needs --users: only the operator sets limits")}
			case users == "" && admin:
				return usageError{errors.New("--admin needs --users: operators are made in the database")}
			}
			if err := findUsers(users); err != nil {
				return err
			}
			password, err := readPassword(cmd, fromStdin, true)
			if err != nil {
				return err
			}
			if err := account.CheckPassword(password); err != nil {
				return err
			}
			var made api.User
			if users != "" {
				err = withUsers(cmd.Context(), users, files, func(store *sqlaccount.Store) error {
					return addUser(cmd.Context(), store, account.NewUser{Email: email, Password: password, MaxUploadBytes: maxUpload, Admin: admin})
				})
				made.Confirmed = true
			} else {
				var c *client.Client
				if c, err = newClient(cmd, server, "", shortPatience); err == nil {
					made, err = c.CreateUser(cmd.Context(), api.NewUser{Email: email, Password: password})
				}
			}
			if errors.Is(err, account.ErrExists) {
				err = errors.New("it has an account already. To log in: tonearm login")
			}
			if err != nil {
				return fmt.Errorf("cannot add %s: %w", email, err)
			}
			if made.Confirmed || made.ID != "" { // a server before 0.2 confirms nothing
				cmd.PrintErrf("Added %s.\n", email)
				return nil
			}
			cmd.PrintErrf("A mail is on its way to %s. Follow its link to confirm the address. You can log in before: tonearm login\n", email)
			return nil
		}),
	}
	cmd.Flags().String("server", "", "`URL` of the gateway")
	cmd.Flags().StringVar(&users, "users", "", "`DATABASE` of the accounts: the file tonearm.db of \"tonearm up\", or a MySQL DSN such as user:password@tcp(host:3306)/tonearm")
	files.Bind(cmd.Flags())
	cmd.Flags().Int64Var(&maxUpload, "max-upload", 0, "largest video of the account in `BYTES`; 0 for the server's own limit")
	cmd.Flags().BoolVar(&admin, "admin", false, "the account is an operator's, as with \"tonearm user admin\"; needs --users")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// isDSN reports whether users is a MySQL DSN; otherwise it is a file.
func isDSN(users string) bool { return strings.Contains(users, ")/") || strings.Contains(users, "@/") }

// findUsers returns an error if users is a file that does not exist. Opening it
// would make a database, and an account in a new one is of no use to any server.
func findUsers(users string) error {
	if users == "" || isDSN(users) {
		return nil
	}
	name := users
	if strings.Contains(users, "@") { // perhaps a DSN with a mistake, and with its password
		name = "the path of --users"
	}
	st, err := os.Stat(users)
	switch {
	case err != nil:
		return fmt.Errorf("there is no database at %s: %w. \"tonearm up\" makes one, the file tonearm.db in the folder of its --data; "+
			"a MySQL DSN looks like user:password@tcp(host:3306)/tonearm", name, errors.Unwrap(err))
	case st.IsDir():
		return fmt.Errorf("%s is a folder; name the database in it: --users %s", users, filepath.Join(users, "tonearm.db"))
	}
	return nil
}

func openUsers(users string, files config.UsersTLS) (*sqlaccount.Store, error) {
	if !isDSN(users) {
		return sqlaccount.OpenSQLite(users)
	}
	tlsConfig, err := files.Config()
	if err != nil {
		return nil, err
	}
	return sqlaccount.OpenMySQL(users, tlsConfig, slog.New(slog.DiscardHandler)) // the error says it
}

// withUsers opens the users' database for do, and brings its tables up to date.
func withUsers(ctx context.Context, users string, files config.UsersTLS, do func(*sqlaccount.Store) error) (err error) {
	store, err := openUsers(users, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	err = store.Prepare(ctx)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot reach the database of --users: is it running? (%w)", err)
	}
	if err != nil {
		return err
	}
	return do(store)
}

func addUser(ctx context.Context, store *sqlaccount.Store, n account.NewUser) error {
	u, err := store.Add(ctx, n)
	if err == nil && n.Admin {
		err = auditAdmin(ctx, store, u, true)
	}
	return err
}
