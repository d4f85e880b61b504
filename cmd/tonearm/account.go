package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// accountCommands are the commands about the user's own account.
func accountCommands() []*cobra.Command {
	return []*cobra.Command{newLogoutCommand(), newAccountCommand(), newPasswdCommand(), newKeyCommand()}
}

func newLogoutCommand() *cobra.Command {
	var everywhere bool
	cmd := &cobra.Command{
		Use: "logout [--everywhere]", Short: "Forget the login, or end it everywhere",
		Long: `Forget the login on this machine. With --everywhere, end all sessions of your
account, on every machine. API keys stay: see "tonearm key".`,
		Example: "  tonearm logout\n  tonearm logout --everywhere",
		Args:    command.NoArgs,
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			if everywhere {
				c, err := connect(cmd, shortPatience)
				if err != nil {
					return err
				}
				if err := c.LogOutEverywhere(cmd.Context()); err != nil {
					return err
				}
			}
			s, err := loadSession()
			if err != nil {
				return err
			}
			server, _ := cmd.Flags().GetString("server")
			if server = cmp.Or(server, s.Server); server != "" {
				c, err := newClient(cmd, server, "", shortPatience)
				if err != nil {
					return err
				}
				if err := forget(c.Server()); err != nil {
					return err
				}
			}
			if tokenGiven() && !everywhere {
				cmd.PrintErrln("Logged out. The token in TONEARM_TOKEN is still good: unset it, too.")
				return nil
			}
			cmd.PrintErrln("Logged out.")
			return nil
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().BoolVar(&everywhere, "everywhere", false, "end all sessions of the account")
	return cmd
}

func newAccountCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "account", Short: "Show or change your account", Args: command.NoArgs,
		Example: "  tonearm account\n  tonearm account mails failures\n  tonearm account email new@example.org",
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			me, err := c.Me(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, me)
			}
			showMe(cmd, me)
			return nil
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	cmd.AddCommand(
		settingCommand("mails", []string{string(account.MailEach), string(account.MailFailures), string(account.MailNone)}, "Say about which outcomes you want mails",
			func(value string) api.MeChange { return api.MeChange{Mails: account.MailSetting(value)} }),
		settingCommand("language", []string{string(account.English), string(account.German)}, "Choose the language of your mails",
			func(value string) api.MeChange { return api.MeChange{Language: account.Language(value)} }),
		newConfirmCommand(), newEmailCommand(), newDeleteCommand(),
	)
	return cmd
}

func showMe(cmd *cobra.Command, me api.Me) {
	t := newTable(cmd.OutOrStdout())
	line := func(name, value string) { t.row(name, value) }
	line("address", me.Email)
	confirmed := "yes"
	if !me.Confirmed {
		confirmed = fmt.Sprintf("no: follow the link in the mail, or get another one with: tonearm account confirm. Until then you can make %d conversions", me.MaxConversions)
	}
	line("confirmed", confirmed)
	line("id", me.ID)
	line("mails", fmt.Sprintf("%s, in %s", me.Mails, me.Language))
	line("largest video", conversion.Size(me.MaxUploadBytes))
	line("under way", fmt.Sprint(me.Active))
	for _, u := range me.Usage {
		line(strings.ReplaceAll(string(u.Name), "_", " "), used(u))
	}
	if me.Admin {
		line("operator", "yes")
	}
	if me.Key != nil {
		line("key", fmt.Sprintf("%s (%s)", me.Key.Name, scopesOf(*me.Key)))
	}
	_ = t.flush() // a reader that went away is no reason to fail
}

// used says how much of a quota is used.
func used(u api.Usage) string {
	words := func(n int64) string {
		switch u.Name {
		case account.QuotaStored, account.QuotaDailyBytes:
			return conversion.Size(n)
		case account.QuotaDailySound:
			return soundOf(float64(n))
		}
		return fmt.Sprint(n)
	}
	if u.Limit == 0 {
		return words(u.Used) + ", without a limit"
	}
	return words(u.Used) + " of " + words(u.Limit)
}

// settingCommand changes one setting of the account to one of some values.
func settingCommand(name string, values []string, short string, change func(value string) api.MeChange) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " " + strings.Join(values, "|"), Short: short, Example: "  tonearm account " + name + " " + values[1], ValidArgs: values,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := command.Needs(1, "one of "+strings.Join(values, ", "))(cmd, args); err != nil {
				return err
			}
			if !slices.Contains(values, args[0]) {
				return fmt.Errorf("it takes one of %s, not %q", strings.Join(values, ", "), args[0])
			}
			return nil
		},
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			me, err := c.ChangeMe(cmd.Context(), change(args[0]))
			if err != nil {
				return err
			}
			showMe(cmd, me)
			return nil
		}),
	}
	bindServer(cmd.Flags())
	return cmd
}

func newConfirmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "confirm [TOKEN]", Short: "Prove your address, or get the mail for it again",
		Long: `Without TOKEN, a mail with a link is sent to your address. Open the link, or give
the token in it to this command.`,
		Example: "  tonearm account confirm",
		Args:    cobra.MaximumNArgs(1),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			var a api.Accepted
			if len(args) == 0 {
				a, err = c.RequestConfirmation(cmd.Context())
			} else {
				a, err = c.Confirm(cmd.Context(), api.Link{Token: args[0]})
			}
			return said(cmd, a, err)
		}),
	}
	bindServer(cmd.Flags())
	return cmd
}

func newEmailCommand() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "email ADDRESS", Short: "Change your address", Example: "  tonearm account email new@example.org",
		Long: `Send a mail to the new address. Once you follow its link, the address is your
account's. Until then nothing changes.`,
		Args: command.Needs(1, "the new address"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			password, err := readPassword(cmd, fromStdin, false)
			if err != nil {
				return err
			}
			a, err := c.ChangeEmail(cmd.Context(), api.EmailChange{Password: password, Email: args[0]})
			return said(cmd, a, err)
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func newDeleteCommand() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "delete", Short: "Delete your account and all that belongs to it", Example: "  tonearm account delete",
		Long: `Delete your account. Nobody can log in from that moment, and your conversions,
videos and MP3s are removed. The answer says what goes, and until when.`,
		Args: command.NoArgs,
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			password, err := readPassword(cmd, fromStdin, false)
			if err != nil {
				return err
			}
			d, err := c.DeleteMe(cmd.Context(), password)
			if err != nil {
				return err
			}
			cmd.PrintErrf("Your account is being deleted. What goes, and when (until is %s):\n", d.Until.UTC().Format("2 January 2006"))
			for _, what := range d.What {
				say(cmd, "- %s", what)
			}
			if tokenGiven() {
				return nil
			}
			return forget(c.Server())
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func said(cmd *cobra.Command, a api.Accepted, err error) error {
	if err == nil {
		say(cmd, "%s", a.Detail)
	}
	return err
}

func newPasswdCommand() *cobra.Command {
	var fromStdin, reset bool
	var email string
	cmd := &cobra.Command{
		Use: "passwd [--reset]", Short: "Change your password, or set it anew by a mail",
		Long: `Change your password. All sessions end, and this one begins anew. With --reset,
for a password that you do not know, a mail with a link is sent.

With --password-stdin, the first line is the present password and the second
line is the new one.`,
		Example: "  tonearm passwd\n  tonearm passwd --reset --server http://localhost:8080 --user me@example.org",
		Args:    command.NoArgs,
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			s, err := loadSession()
			if err != nil {
				return err
			}
			if reset {
				server, _ := cmd.Flags().GetString("server")
				server, email = cmp.Or(server, s.Server), cmp.Or(email, s.Email)
				if server == "" || email == "" {
					return usageError{errors.New("--server and --user are needed: tonearm passwd --reset --server URL --user EMAIL")}
				}
				c, err := newClient(cmd, server, "", shortPatience)
				if err != nil {
					return err
				}
				a, err := c.RequestReset(cmd.Context(), email)
				return said(cmd, a, err)
			}
			c, err := connect(cmd, shortPatience)
			if err != nil {
				return err
			}
			return changePassword(cmd, c, s, fromStdin)
		}),
	}
	bindServer(cmd.Flags())
	cmd.Flags().BoolVar(&reset, "reset", false, "get a mail with a link that sets the password anew")
	cmd.Flags().StringVar(&email, "user", "", "e-mail `ADDRESS` of your account, with --reset (default: that of your last login)")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read both passwords from standard input")
	return cmd
}

func changePassword(cmd *cobra.Command, c *client.Client, s session, fromStdin bool) (err error) {
	var change api.PasswordChange
	if fromStdin {
		lines := bufio.NewScanner(cmd.InOrStdin())
		for _, to := range []*string{&change.Password, &change.NewPassword} {
			if !lines.Scan() {
				return usageError{errors.New("standard input must have two lines: the present password and the new one")}
			}
			*to = strings.TrimSuffix(lines.Text(), "\r")
		}
	} else {
		if change.Password, err = askPassword(cmd, "Present password", false); err != nil {
			return err
		}
		if change.NewPassword, err = askPassword(cmd, "New password", true); err != nil {
			return err
		}
	}
	if err := account.CheckPassword(change.NewPassword); err != nil {
		return err
	}
	token, err := c.ChangePassword(cmd.Context(), change)
	if err != nil {
		return err
	}
	if tokenGiven() { // the login may be that of another account
		cmd.PrintErrln("Your password is changed. All sessions have ended, also that of the token in TONEARM_TOKEN.")
		return nil
	}
	if err := s.with(token).save(); err != nil {
		return err
	}
	cmd.PrintErrln("Your password is changed. All other sessions have ended.")
	return nil
}
