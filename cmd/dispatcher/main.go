// Command dispatcher turns uploads into attempts and attempts into results.
// dispatcher --help lists its flags; each has an environment twin TONEARM_….
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/config"
	"tonearm/cmd/internal/launcher"
	"tonearm/dispatcher"
	"tonearm/internal/account"
	"tonearm/internal/blob/sqsnotify"
	"tonearm/internal/service"
)

type flags struct {
	listen     config.Listen
	stores     config.Stores
	dispatcher *config.Dispatcher
	quotas     *account.Limits
	launcher   *launcher.Flags
	attemptKey string
	eventToken string
	sqsURL     string
}

const example = `  dispatcher --records mongodb://db:27017 --users 'tonearm:secret@tcp(db:3306)/tonearm' --queue redis://redis:6379/0 \
    --s3-endpoint http://store:9000 --s3-access-key KEY --s3-secret-key SECRET --dispatcher-url http://dispatcher:8081 \
    --attempt-key HEX --event-token TOKEN`

func main() {
	if newCommand().ExecuteContext(context.Background()) != nil {
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var fl flags
	bind := func(f *pflag.FlagSet) {
		fl.listen.Bind(f, ":8081")
		fl.stores.BindRecords(f)
		fl.stores.BindUsers(f)
		fl.stores.BindQueue(f)
		fl.stores.BindS3(f)
		fl.stores.BindPages(f)
		fl.dispatcher = config.BindDispatcher(f, time.Minute)
		fl.quotas = config.Quotas(f)
		fl.launcher = launcher.Bind(f)
		f.StringVar(&fl.attemptKey, "attempt-key", "", "`KEY` that signs attempt tokens: at least 32 bytes in hex, the same for all replicas")
		f.StringVar(&fl.eventToken, "event-token", "", "bearer `TOKEN` that the store's webhook sends; may be empty with --sqs-queue-url")
		f.StringVar(&fl.sqsURL, "sqs-queue-url", "", "`URL` of the SQS queue that gets the bucket's notifications; it is read with the object store's keys, and its region if neither the URL nor the AWS SDK names one")
	}
	return config.Command("dispatcher", "Start an attempt for each uploaded video, and keep its result", example, bind,
		func(cmd *cobra.Command, log *slog.Logger) error { return run(cmd.Context(), log, fl) })
}

func run(parent context.Context, log *slog.Logger, fl flags) error {
	ctx, cancel := service.SignalContext(parent, log)
	defer cancel()
	opened, err := fl.stores.Open(log)
	if err != nil {
		return err
	}
	defer opened.Close()
	key, err := config.AttemptKey(fl.attemptKey)
	if err != nil {
		return err
	}
	registry, err := service.NewRegistry()
	if err != nil {
		return err
	}
	o := fl.dispatcher.Options(fl.stores.S3.Bucket)
	o.Quotas = o.Quotas.Or(*fl.quotas)
	o.Records, o.Users, o.Queue, o.Objects = opened.Records, opened.Users, opened.Queue, opened.Objects
	attempts, leading, err := fl.launcher.Open(ctx, o, log, registry)
	if err != nil {
		return err
	}
	o.Launcher = attempts
	o.AttemptKey, o.EventToken = key, fl.eventToken
	o.Log, o.Registerer = log, registry
	if o.Now, err = opened.Clock(log, registry); err != nil {
		return errors.Join(err, attempts.Close())
	}
	if fl.sqsURL != "" {
		o.EventSource, err = sqsnotify.New(ctx, sqsnotify.Options{
			QueueURL: fl.sqsURL, Region: fl.stores.S3.Region, AccessKey: fl.stores.S3.AccessKey, SecretKey: fl.stores.S3.SecretKey,
		})
		if err != nil {
			return errors.Join(err, attempts.Close())
		}
	}
	d, err := dispatcher.New(o)
	if err != nil {
		return errors.Join(err, attempts.Close())
	}
	p := service.NewProcess(log)
	p.Health.Warn("attempts", d.Well)
	p.Add("admin", service.ListenHTTP("admin-listen", fl.listen.Admin, service.Admin(&p.Health, registry), time.Second, fl.listen.Limits(), log))
	opened.Attach(p)
	p.Health.Warn("notifications", d.Notifications)
	p.Add("dispatcher http", service.ListenHTTP("listen", fl.listen.Addr, d.Handler(), 10*time.Second, fl.listen.Limits(), log))
	p.Await("objects", d.Prepare)
	if o.EventSource != nil {
		p.Add("notifications", d.ConsumeEvents)
	}
	p.Add("use", d.KeepUse)
	p.Add("dispatcher", leading(d.Run))
	return p.Run(ctx)
}
