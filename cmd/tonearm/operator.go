package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/internal/config"
	"tonearm/internal/account"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// operatorCommands are the commands below `tonearm user` that work on the users'
// database.
func operatorCommands() []*cobra.Command {
	return []*cobra.Command{newUserListCommand(), newUserAdminCommand(), newUserLimitsCommand(), newUserAuditCommand()}
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
as confirmed, but nobody has shown that mails reach them.

What an account takes is as the dispatchers counted it last, some seconds ago: what
is stored, and what was uploaded and converted today (UTC).`,
		Example: "  tonearm user list --users .tonearm/tonearm.db --unproven",
	}, func(cmd *cobra.Command, users *sqlaccount.Store, _ []string) error {
		if asJSON {
			return eachUser(cmd, users, unproven, func(u account.User, used account.Used) error {
				return printJSON(cmd, listedUser{u.ID, u.Email, u.CreatedAt, u.ConfirmedAt, u.ProvenAt, u.Admin, u.DeletedAt,
					used.Stored, used.Today.Conversions, used.Today.Bytes, used.Today.Sound, u.Limits})
			})
		}
		t := newTable(cmd.OutOrStdout())
		t.row("ID", "ADDRESS", "CONFIRMED", "PROVEN BY MAIL", "STORED", "TODAY", "SOUND TODAY", "STATE")
		err := eachUser(cmd, users, unproven, func(u account.User, used account.Used) error {
			state := ""
			switch {
			case u.Deleted():
				state = "being deleted"
			case u.Admin:
				state = "operator"
			}
			t.row(u.ID, u.Email, day(&u.ConfirmedAt, "no"), day(&u.ProvenAt, "no"),
				conversion.Size(used.Stored), conversion.Size(used.Today.Bytes), soundOf(used.Today.Sound), state)
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

	StoredBytes      int64          `json:"stored_bytes"`
	DailyConversions int64          `json:"daily_conversions"`
	DailyBytes       int64          `json:"daily_bytes"`
	DailySound       float64        `json:"daily_sound_seconds"`
	Limits           account.Limits `json:"limits,omitzero"` // its own
}

// soundOf is a length of sound in words.
func soundOf(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}

// eachUser reads the accounts in pages.
func eachUser(cmd *cobra.Command, users *sqlaccount.Store, unproven bool, do func(account.User, account.Used) error) error {
	const page = 500
	for after := ""; ; {
		list, err := users.List(cmd.Context(), account.Filter{Unproven: unproven}, after, page)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return nil
		}
		used, err := users.Used(cmd.Context(), list[0].ID, list[len(list)-1].ID, conversion.Day(time.Now()))
		if err != nil {
			return err
		}
		for _, u := range list {
			if err := do(u, used[u.ID]); err != nil {
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

func newUserLimitsCommand() *cobra.Command {
	return onUsers(&cobra.Command{
		Use: "limits EMAIL [NAME=VALUE...] --users DATABASE", Short: "Show or set an account's own limits", Args: command.Needs(0, "an e-mail address"),
		Long: `Show or set the limits of one account. They count in place of the server's, within
a minute. A value is a number, "none" for no limit, or "default" for the server's.

The names are ` + strings.Join(quotaNames(), ", ") + `.`,
		Example: `  tonearm user limits me@example.org --users .tonearm/tonearm.db
  tonearm user limits me@example.org stored_bytes=1099511627776 open_uploads=none --users .tonearm/tonearm.db`,
	}, func(cmd *cobra.Command, users *sqlaccount.Store, args []string) error {
		u, err := users.ByEmail(cmd.Context(), args[0])
		if err != nil {
			return fmt.Errorf("cannot find %s: %w", args[0], err)
		}
		before := u.Limits
		for _, arg := range args[1:] {
			if err := setLimit(&u.Limits, arg); err != nil {
				return usageError{err}
			}
		}
		if u.Limits != before {
			if err := users.SetLimits(cmd.Context(), u.ID, u.Limits); err != nil {
				return err
			}
			if err := auditLimits(cmd.Context(), users, u, before); err != nil {
				return err
			}
		}
		t := newTable(cmd.OutOrStdout())
		for _, q := range account.Quotas {
			switch n := u.Limits.Of(q); n {
			case 0:
				t.row(q, "default")
			case account.Unlimited:
				t.row(q, "none")
			default:
				t.row(q, n)
			}
		}
		return t.flush()
	})
}

func quotaNames() (names []string) {
	for _, q := range account.Quotas {
		names = append(names, string(q))
	}
	return names
}

// setLimit reads NAME=VALUE.
func setLimit(l *account.Limits, arg string) error {
	name, value, found := strings.Cut(arg, "=")
	if !found {
		return fmt.Errorf("%q is no limit; write it like open_uploads=100", arg)
	}
	n, err := strconv.ParseInt(value, 10, 64)
	switch value {
	case "none":
		n, err = account.Unlimited, nil
	case "default":
		n, err = 0, nil
	}
	if err != nil {
		return fmt.Errorf("%s takes a number, none or default, not %q", name, value)
	}
	return l.Set(account.Quota(name), n)
}

// auditLimits adds to the audit log which limits of an account are others than before.
func auditLimits(ctx context.Context, users *sqlaccount.Store, u account.User, before account.Limits) error {
	for _, q := range account.Quotas {
		if n := u.Limits.Of(q); n != before.Of(q) {
			e := account.Event{At: time.Now(), Action: account.ActionLimits, Subject: u.ID, Outcome: fmt.Sprintf("%s=%d", q, n), Network: "database"}
			if err := users.Audit(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
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
