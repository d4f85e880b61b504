// Command notifier mails the outcome of conversions to their owners. notifier
// --help lists its flags; each has an environment twin TONEARM_….
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/config"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/service"
	"tonearm/notifier"
)

const example = `  notifier --records mongodb://db:27017 --queue redis://redis:6379/0 --signing-keys keys.pem \
    --smtp-host mail.example.org --mail-from 'Tonearm <tonearm@example.org>' --public-url https://tonearm.example.org`

func main() {
	if newCommand().ExecuteContext(context.Background()) != nil {
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var listen config.Listen
	var stores config.Stores
	var tokens config.Tokens
	var smtp *smtpmail.Options
	o := notifier.Options{}
	bind := func(f *pflag.FlagSet) {
		listen.BindAdmin(f)
		stores.BindRecords(f)
		stores.BindMails(f)
		stores.BindQueue(f)
		tokens.Bind(f)
		smtp = config.SMTP(f)
		config.Notifier(f, &o)
	}
	return config.Command("notifier", "Send a mail to the owner when a conversion is done or has failed", example, bind,
		func(cmd *cobra.Command, log *slog.Logger) error {
			return run(cmd.Context(), log, listen, stores, tokens, *smtp, o)
		})
}

func run(parent context.Context, log *slog.Logger, listen config.Listen, stores config.Stores, tokens config.Tokens, smtp smtpmail.Options, o notifier.Options) error {
	ctx, cancel := service.SignalContext(parent, log)
	defer cancel()
	opened, err := stores.Open(log)
	if err != nil {
		return err
	}
	defer opened.Close()
	signer, err := tokens.OpenDownloads()
	if err != nil {
		return err
	}
	sender, err := smtpmail.New(smtp)
	if err != nil {
		return err
	}
	registry, err := service.NewRegistry()
	if err != nil {
		return err
	}
	o.Records, o.Queue, o.Tokens, o.Sender = opened.Records, opened.Queue, signer, sender
	if opened.Mails != nil {
		o.Mails = opened.Mails
	}
	o.Log, o.Registerer = log, registry
	if o.Now, err = opened.Clock(log, registry); err != nil {
		return err
	}
	n, err := notifier.New(o)
	if err != nil {
		return err
	}
	p := service.NewProcess(log)
	p.Add("admin", service.ListenHTTP("admin-listen", listen.Admin, service.Admin(&p.Health, registry), time.Second, listen.Limits(), log))
	opened.Attach(p)
	p.Add("notifier", n.Run)
	return p.Run(ctx)
}
