package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/account"
	"tonearm/internal/api"
)

func newKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make, list and revoke API keys", Args: command.NoArgs,
		Long: `API keys are for programs: TONEARM_TOKEN takes one, and so does every request in
place of a token. A key is good for its scopes alone, and cannot make keys.
Making one asks for your password.`,
		Example: "  tonearm key create backup --scope convert\n  tonearm key list\n  tonearm key revoke ID",
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("say what to do: tonearm key create NAME, tonearm key list or tonearm key revoke ID")}
		}}
	cmd.AddCommand(newKeyCreateCommand(), newKeyListCommand(), newKeyRevokeCommand())
	return cmd
}

func newKeyCreateCommand() *cobra.Command {
	var scopes []string
	var days int
	var asJSON, fromStdin bool
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an API key", Args: command.Needs(1, "the key"),
		Long: `Make an API key and print its secret, which is shown this once. Scopes: read sees
conversions and downloads MP3s, convert also makes and changes conversions,
admin does what an operator may.

The password of your account is asked for, or read from standard input: a key
outlives the login that made it.`,
		Example: `  tonearm key create backup --scope convert --expires-days 90
  tonearm key create backup --password-stdin < password.txt`,
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			k := api.NewKey{Name: args[0], ExpiresInDays: days}
			for _, s := range scopes {
				if !slices.Contains(account.Scopes, account.Scope(s)) {
					return usageError{fmt.Errorf("--scope: it takes read, convert and admin, not %q", s)}
				}
				k.Scopes = append(k.Scopes, account.Scope(s))
			}
			if days == 0 || days < -1 {
				return usageError{errors.New("--expires-days must be 1 or more, or -1 for a key that does not end")}
			}
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			if k.Password, err = readPassword(cmd, fromStdin, false); err != nil {
				return err
			}
			made, err := c.CreateKey(cmd.Context(), k)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, made)
			}
			say(cmd, "Made key %s. Its secret is shown this once:", made.ID)
			fmt.Fprintln(cmd.OutOrStdout(), text.Printable(made.Secret))
			return nil
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().StringSliceVar(&scopes, "scope", []string{string(account.ScopeConvert)}, "`SCOPES` of the key: read, convert, admin")
	cmd.Flags().IntVar(&days, "expires-days", int(account.DefaultKeyAge/(24*time.Hour)), "`NUMBER` of days after which the key ends; -1 for never")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON, with the secret")
	_ = cmd.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions([]cobra.Completion{
		string(account.ScopeRead), string(account.ScopeConvert), string(account.ScopeAdmin)}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder))
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func newKeyListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List your API keys", Example: "  tonearm key list", Args: command.NoArgs,
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			keys, err := c.Keys(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				for _, k := range keys {
					if err := printJSON(cmd, k); err != nil {
						return err
					}
				}
				return nil
			}
			t := newTable(cmd.OutOrStdout())
			t.row("ID", "NAME", "SCOPES", "EXPIRES", "LAST USED")
			for _, k := range keys {
				t.row(k.ID, k.Name, scopesOf(k), day(k.ExpiresAt, "never"), day(k.LastUsedAt, "never"))
			}
			return t.flush()
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each key")
	return cmd
}

// scopesOf lists the scopes of a key: "read,convert".
func scopesOf(k api.Key) string {
	var words []string
	for _, s := range k.Scopes {
		words = append(words, string(s))
	}
	return strings.Join(words, ",")
}

// day is the date of t in UTC, or otherwise if there is none.
func day(t *time.Time, otherwise string) string {
	if t == nil || t.IsZero() {
		return otherwise
	}
	return t.UTC().Format(time.DateOnly)
}

func newKeyRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API key", Example: "  tonearm key revoke 0193a4f2-0000-7000-8000-000000000000",
		Args: command.Needs(1, "the ID of a key"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			if err := c.RevokeKey(cmd.Context(), args[0]); err != nil {
				return err
			}
			cmd.PrintErrln("Revoked.")
			return nil
		}),
	}
	bindServer(cmd.Flags())
	return cmd
}
