package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/command"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/version"
)

// session is what login leaves in the user's config directory.
type session struct {
	Server string `json:"server"`
	Email  string `json:"email"`
	Token  string `json:"token"`
	// RefreshAt is when the next command renews the session; zero for never.
	RefreshAt time.Time `json:"refresh_at,omitzero"`
}

// with is the session with a new token.
func (s session) with(t api.Token) session {
	s.Token, s.RefreshAt = t.AccessToken, client.RefreshAfter(t, time.Now().UTC())
	return s
}

// keep returns what keeps the tokens of a session whenever it is renewed, unless
// another command has logged in or out meanwhile. If one cannot be kept, the one
// before goes on.
func (s session) keep() func(api.Token) {
	token := s.Token
	return func(t api.Token) {
		if now, err := loadSession(); err == nil && now.Token == token && now.with(t).save() == nil {
			token = t.AccessToken
		}
	}
}

// forget removes the token of a server from this machine.
func forget(server string) error {
	s, err := loadSession()
	if err != nil || s.Token == "" || s.Server != server {
		return err
	}
	s.Token, s.RefreshAt = "", time.Time{}
	return s.save()
}

func sessionPath() string { return filepath.Join(xdg.ConfigHome, "tonearm", "login.json") }

// loadSession returns the zero session before the first login.
func loadSession() (session, error) {
	b, err := os.ReadFile(sessionPath())
	if errors.Is(err, fs.ErrNotExist) {
		return session{}, nil
	}
	var s session
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return session{}, fmt.Errorf("cannot read your login in %s: %w. Run: tonearm login --server URL --user EMAIL", sessionPath(), err)
	}
	return s, nil
}

func (s session) save() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := writePrivate(sessionPath(), append(b, '\n')); err != nil {
		return fmt.Errorf("cannot save your login in %s: %w", sessionPath(), err)
	}
	return nil
}

// writePrivate writes a file that only its owner can read, into a directory
// that only its owner can read.
func writePrivate(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil { //nolint:gosec // a directory needs the x
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

const serverUsage = "`URL` of the gateway (default: that of your last login)"

// bindServer adds the flag that all commands share that talk to a gateway.
func bindServer(f *pflag.FlagSet) { f.String("server", "", serverUsage) }

// shortPatience is how long commands that do one small thing try.
const shortPatience = 5 * time.Second

// longPatience is how long commands that wait for something try.
const longPatience = 2 * time.Minute

// connect returns a client that is logged in at the server of the flags.
func connect(cmd *cobra.Command, patience time.Duration) (*client.Client, error) {
	s, err := loadSession()
	if err != nil {
		return nil, err
	}
	server, _ := cmd.Flags().GetString("server")
	server = cmp.Or(server, s.Server)
	if server == "" {
		return nil, notLoggedIn("URL")
	}
	c, err := newClient(cmd, server, os.Getenv("TONEARM_TOKEN"), patience)
	if err != nil || tokenGiven() {
		return c, err
	}
	if s.Token == "" || s.Server != c.Server() { // a token goes only to the server that gave it
		return nil, notLoggedIn(c.Server())
	}
	return newClient(cmd, server, s.Token, patience, func(o *client.Options) { o.RefreshAt, o.Refreshed = s.RefreshAt, s.keep() })
}

// tokenGiven reports whether the environment holds a token, which comes before
// the login.
func tokenGiven() bool { return os.Getenv("TONEARM_TOKEN") != "" }

func notLoggedIn(server string) error {
	return loginError{"You are not logged in. Run: tonearm login --server " + server + " --user EMAIL"}
}

// expired is what a refused token means.
func expired() error {
	if tokenGiven() {
		return loginError{"The server refuses the token in TONEARM_TOKEN. Set a new one, or unset it and run: tonearm login --server URL --user EMAIL"}
	}
	return loginError{"Your login has expired. Run: tonearm login"}
}

func newClient(cmd *cobra.Command, server, token string, patience time.Duration, change ...func(*client.Options)) (*client.Client, error) {
	notes := &waitingNotes{print: func(s string) { cmd.PrintErrln(s) }}
	o := client.Options{
		Server: server, Token: token, Patience: patience, UserAgent: "tonearm/" + version.String(), Waiting: notes.add, Again: notes.again,
	}
	for _, c := range change {
		c(&o)
	}
	c, err := client.New(o)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// noteEvery is how often the user reads that the server still cannot be reached.
const noteEvery = 30 * time.Second

// waitingNotes tells the user that a call is tried again, however many files wait,
// and when it works again.
type waitingNotes struct {
	mu    sync.Mutex
	last  time.Time // zero while everything works
	print func(string)
}

func (w *waitingNotes) add(err error, pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.last) < noteEvery {
		return
	}
	w.last = time.Now()
	w.print(fmt.Sprintf("trying again in %.1f s: %v", pause.Seconds(), err))
}

func (w *waitingNotes) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.last.IsZero() {
		w.last = time.Time{}
		w.print("It works again.")
	}
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  tonearm version", Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "tonearm version %s\n", version.Details()) // as --version does
			return err
		},
	}
}
