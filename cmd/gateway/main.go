// Command gateway serves Tonearm's HTTP interface. gateway --help lists its
// flags; each has an environment twin TONEARM_….
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/config"
	"tonearm/gateway"
	"tonearm/internal/account"
	"tonearm/internal/service"
)

const example = `  gateway --records mongodb://db:27017 --users 'tonearm:secret@tcp(db:3306)/tonearm' --queue redis://redis:6379/0 \
    --s3-endpoint http://store:9000 --s3-access-key KEY --s3-secret-key SECRET --signing-keys keys.pem --public-url https://tonearm.example.org`

func main() {
	if newCommand().ExecuteContext(context.Background()) != nil {
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var listen config.Listen
	var stores config.Stores
	var tokens config.Tokens
	o := gateway.Options{}
	var quotas *account.Limits
	bind := func(f *pflag.FlagSet) {
		listen.Bind(f, ":8080")
		stores.BindRecords(f)
		stores.BindUsers(f)
		stores.BindQueue(f)
		stores.BindS3(f)
		tokens.Bind(f)
		config.Gateway(f, &o)
		quotas = config.Quotas(f)
		config.RecordRetention(f, &o.RecordRetention)
	}
	return config.Command("gateway", "Serve Tonearm's HTTP interface: accounts, uploads, conversions and downloads", example, bind,
		func(cmd *cobra.Command, log *slog.Logger) error {
			o.Quotas = o.Quotas.Or(*quotas)
			return run(cmd.Context(), log, listen, stores, tokens, o)
		})
}

func run(parent context.Context, log *slog.Logger, listen config.Listen, stores config.Stores, tokens config.Tokens, o gateway.Options) error {
	ctx, cancel := service.SignalContext(parent, log)
	defer cancel()
	opened, err := stores.Open(log)
	if err != nil {
		return err
	}
	defer opened.Close()
	signer, err := tokens.Open()
	if err != nil {
		return err
	}
	registry, err := service.NewRegistry()
	if err != nil {
		return err
	}
	o.Records, o.Users, o.Queue, o.Objects, o.Tokens = opened.Records, opened.Users, opened.Queue, opened.Objects, signer
	o.Limits = stores.Limits(opened.Queue)
	o.Log, o.Registerer = log, registry
	if o.Now, err = opened.Clock(log, registry); err != nil {
		return err
	}
	g, err := gateway.New(o)
	if err != nil {
		return err
	}
	listen.Trusted = o.TrustedProxies
	p := service.NewProcess(log)
	p.Add("admin", service.ListenHTTP("admin-listen", listen.Admin, service.Admin(&p.Health, registry), time.Second, listen.Limits(), log))
	opened.QueueOptional = true
	opened.Attach(p)
	p.Add("gateway", service.ListenHTTP("listen", listen.Addr, g.Handler(), 30*time.Second, listen.Limits(), log))
	return p.Run(ctx)
}
