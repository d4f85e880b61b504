package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/internal/config"
	"tonearm/internal/account"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/api"
)

// operatorCommands are the commands below `tonearm user` that work on the users'
// database.
func operatorCommands() []*cobra.Command {
	return []*cobra.Command{newUserListCommand(), newUserAdminCommand(), newUserAuditCommand()}
}

// onUsers gives a command the flags of the users' database, and opens it.
func onUsers(cmd *cobra.Command, do func(cmd *cobra.Command, users *sqlaccount.Store, args []string) error) *cobra.Command {
	var users string
	var files config.UsersTLS
	cmd.Flags().StringVar(&users, "users", "", "`DATABASE` of the accounts: the file tonearm.db of \"tonearm up\", or a MySQL DSN such as user:password@tcp(host:3306)/tonearm")
	files.Bind(cmd.Flags())
	cmd.RunE = interruptible(func(cmd *cobra.Command, args []string) error {
		if users == "" {
			return usageError{errors.New("say where the accounts are, with --users")}
		}
		if err := findUsers(users); err != nil {
			return err
		}
		return withUsers(cmd.Context(), users, files, func(store *sqlaccount.Store) error { return do(cmd, store, args) })
	})
	return cmd
}

func newUserListCommand() *cobra.Command {
	var unproven, asJSON bool
	cmd := onUsers(&cobra.Command{
		Use: "list --users DATABASE", Short: "List accounts", Args: command.NoArgs,
		Long: `List accounts. --unproven lists those whose owner never used a link in a mail to
the address: accounts that an operator made or that are older than proofs count
as confirmed, but nobody has shown that mails reach them.`,
		Example: "  tonearm user list --users .tonearm/tonearm.db --unproven",
	}, func(cmd *cobra.Command, users *sqlaccount.Store, _ []string) error {
		if asJSON {
			return eachUser(cmd, users, unproven, func(u account.User) error {
				return printJSON(cmd, listedUser{u.ID, u.Email, u.CreatedAt, u.ConfirmedAt, u.ProvenAt, u.Admin, u.DeletedAt})
			})
		}
		t := newTable(cmd.OutOrStdout())
		t.row("ID", "ADDRESS", "CONFIRMED", "PROVEN BY MAIL", "STATE")
		err := eachUser(cmd, users, unproven, func(u account.User) error {
			state := ""
			switch {
			case u.Deleted():
				state = "being deleted"
			case u.Admin:
				state = "operator"
			}
			t.row(u.ID, u.Email, day(&u.ConfirmedAt, "no"), day(&u.ProvenAt, "no"), state)
			return nil
		})
		return errors.Join(err, t.flush())
	})
	cmd.Flags().BoolVar(&unproven, "unproven", false, "only accounts whose address was never proven by a mail")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each account")
	return cmd
}

// listedUser is an account: a line of --json.
type listedUser struct {
	ID          string    `json:"id"`
	Email       string    `json:"email"`
	CreatedAt   time.Time `json:"created_at"`
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	ProvenAt    time.Time `json:"proven_at,omitzero"`
	Admin       bool      `json:"admin"`
	DeletedAt   time.Time `json:"deleted_at,omitzero"` // when the deletion was asked for
}

// eachUser reads the accounts in pages.
func eachUser(cmd *cobra.Command, users *sqlaccount.Store, unproven bool, do func(account.User) error) error {
	const page = 500
	for after := ""; ; {
		list, err := users.List(cmd.Context(), account.Filter{Unproven: unproven}, after, page)
		if err != nil {
			return err
		}
		for _, u := range list {
			if err := do(u); err != nil {
				return err
			}
			after = u.ID
		}
		if len(list) < page {
			return nil
		}
	}
}

func newUserAdminCommand() *cobra.Command {
	var remove bool
	cmd := onUsers(&cobra.Command{
		Use: "admin EMAIL --users DATABASE", Short: "Make an account an operator's", Args: command.Needs(1, "one e-mail address"),
		Long: `Make an account an operator's. It may read the audit log over HTTP, and make API
keys with the scope admin. Whoever can write into the database makes the first
operator, and every other one.`,
		Example: "  tonearm user admin me@example.org --users .tonearm/tonearm.db",
	}, func(cmd *cobra.Command, users *sqlaccount.Store, args []string) error {
		u, err := users.ByEmail(cmd.Context(), args[0])
		if err != nil {
			return fmt.Errorf("cannot find %s: %w", args[0], err)
		}
		if err := users.SetAdmin(cmd.Context(), u.ID, !remove); errors.Is(err, account.ErrUnproven) {
			return fmt.Errorf("nobody has proven the address %s: anybody may have made the account; its owner has to follow the link in the mail first", u.Email)
		} else if err != nil {
			return err
		}
		if err := auditAdmin(cmd.Context(), users, u, !remove); err != nil {
			return err
		}
		if remove {
			cmd.PrintErrf("%s is no operator any more.\n", u.Email)
			return nil
		}
		cmd.PrintErrf("%s is an operator.\n", u.Email)
		return nil
	})
	cmd.Flags().BoolVar(&remove, "remove", false, "take the rights away")
	return cmd
}

// auditAdmin adds to the audit log that an account is an operator's, or is no
// longer one.
func auditAdmin(ctx context.Context, users *sqlaccount.Store, u account.User, admin bool) error {
	return users.Audit(ctx, account.Event{At: time.Now(), Action: account.ActionAdmin, Subject: u.ID, Outcome: fmt.Sprintf("admin=%t", admin), Network: "database"})
}

func newUserAuditCommand() *cobra.Command {
	var lines int
	var asJSON bool
	cmd := onUsers(&cobra.Command{
		Use: "audit --users DATABASE", Short: "Show the audit log", Args: command.NoArgs,
		Example: "  tonearm user audit --users .tonearm/tonearm.db",
	}, func(cmd *cobra.Command, users *sqlaccount.Store, _ []string) error {
		if lines < 1 {
			return usageError{errors.New("--lines must be 1 or more")}
		}
		events, err := users.Events(cmd.Context(), "", lines)
		if err != nil {
			return err
		}
		if asJSON {
			for _, e := range events {
				if err := printJSON(cmd, api.Event(e)); err != nil {
					return err
				}
			}
			return nil
		}
		t := newTable(cmd.OutOrStdout())
		t.row("TIME", "ACTION", "OUTCOME", "USER", "KEY", "SUBJECT", "NETWORK")
		for _, e := range events {
			t.row(e.At.UTC().Format(time.RFC3339), e.Action, e.Outcome, e.UserID, e.KeyID, e.Subject, e.Network)
		}
		return t.flush()
	})
	cmd.Flags().IntVar(&lines, "lines", 100, "`NUMBER` of lines, the latest first")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each line as JSON")
	return cmd
}
