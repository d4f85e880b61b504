package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/internal/config"
	"tonearm/cmd/internal/env"
	"tonearm/cmd/internal/launcher"
	"tonearm/dispatcher"
	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/service"
	"tonearm/internal/standalone"
	"tonearm/notifier"
)

// upFlags are the flags of `tonearm up`. A store with an address is used instead
// of an embedded one.
type upFlags struct {
	listen     config.Listen
	stores     config.Stores
	dispatcher *config.Dispatcher
	quotas     *account.Limits
	launcher   *launcher.Flags
	smtp       *smtpmail.Options
	logLevel   slog.Level
	o          standalone.Options
}

func newUpCommand() *cobra.Command {
	fl := &upFlags{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a Tonearm server on this machine",
		Long: `Run a whole Tonearm server in one process: gateway, dispatcher, notifier and
transcoders. It keeps everything below --data.

Each store and the mail server can be a real one instead: name it with --records,
--users, --queue, --s3-endpoint or --smtp-host. Without --smtp-host, mails are
written to the folder outbox below --data.

Once the server is ready it prints where everything is, one name a line. Ctrl-C
stops it.`,
		Example: `  tonearm up
  tonearm up --data /srv/tonearm --listen 0.0.0.0:8080 --open-registration=false`,
		Args: command.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: fl.logLevel}))
			env.Warn(log)
			ctx, cancel := service.SignalContext(cmd.Context(), log)
			defer cancel()
			return fl.run(ctx, log, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&fl.o.Data, "data", ".tonearm", "`FOLDER` for everything that is kept")
	f.StringVar(&fl.o.EventsListen, "events-listen", standalone.DefaultEventsListen, "`ADDRESS` for the object store's notifications and the transcoders")
	f.StringVar(&fl.o.EventToken, "event-token", "", "bearer `TOKEN` of the store's notifications (default: a random one, kept in --data)")
	f.StringVar(&fl.o.S3Listen, "s3-listen", standalone.DefaultS3Listen, "`ADDRESS` of the embedded object store, as host or host:port; without a port, a free one is chosen once and kept")
	f.TextVar(&fl.logLevel, "log-level", slog.LevelInfo, "`LEVEL` of the log: debug, info, warn or error")
	fl.listen.Bind(f, standalone.DefaultListen)
	fl.stores.BindRecords(f)
	fl.stores.BindUsers(f)
	fl.stores.BindQueue(f)
	fl.stores.BindS3(f)
	config.Gateway(f, &fl.o.Gateway)
	fl.dispatcher = config.BindDispatcher(f, 0)
	fl.quotas = config.Quotas(f)
	fl.launcher = launcher.Bind(f)
	fl.smtp = config.SMTP(f)
	bindNotifier(f, &fl.o.Notifier)
	for name, value := range map[string]string{
		"admin-listen": standalone.DefaultAdminListen, "open-registration": "true",
		"max-jobs": strconv.Itoa(runtime.NumCPU()), "max-files-per-job": "20", "public-url": "",
	} {
		setDefault(f.Lookup(name), value)
	}
	for name, usage := range map[string]string{
		"public-url":     "`URL` at which people reach the gateway (default: that of --listen, on this machine)",
		"transcoder":     "transcoder `PROGRAM` (default: the one beside this program if it is of the same version, else this program)",
		"work-dir":       "`FOLDER` for the files of attempts that run as processes (default: attempts below --data)",
		"dispatcher-url": "`URL` at which transcoders reach the dispatcher (default: that of --events-listen)",
	} {
		f.Lookup(name).Usage = usage
	}
	return cmd
}

// setDefault gives a shared flag another default.
func setDefault(f *pflag.Flag, value string) {
	if err := f.Value.Set(value); err != nil {
		panic(err) // the value above does not fit the flag's type
	}
	f.DefValue = value
}

// bindNotifier adds the notifier's flags without the public URL, which the
// gateway has added.
func bindNotifier(f *pflag.FlagSet, o *notifier.Options) {
	own := pflag.NewFlagSet("notifier", pflag.ContinueOnError)
	config.Notifier(own, o)
	own.VisitAll(func(flag *pflag.Flag) {
		if f.Lookup(flag.Name) == nil {
			f.AddFlag(flag)
		}
	})
}

func (fl *upFlags) run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	o := fl.o
	o.Log = log
	fl.listen.Trusted = o.Gateway.TrustedProxies
	o.Listen, o.AdminListen, o.Limits = fl.listen.Addr, fl.listen.Admin, fl.listen.Limits()
	o.S3 = fl.stores.S3
	o.Dispatcher = fl.dispatcher.Options(fl.stores.S3.Bucket)
	o.Gateway.Quotas, o.Dispatcher.Quotas = o.Gateway.Quotas.Or(*fl.quotas), o.Dispatcher.Quotas.Or(*fl.quotas)
	o.Started = func(a standalone.Addresses) { fl.banner(out, isTerminal(out), a) }
	if err := fl.setLauncher(ctx, &o); err != nil {
		return err
	}
	closeStores, err := fl.setStores(&o)
	defer closeStores()
	if err != nil {
		return err
	}
	s, err := standalone.New(o)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// setLauncher says where attempts run: in children of this process, unless the
// flags say otherwise.
func (fl *upFlags) setLauncher(ctx context.Context, o *standalone.Options) error {
	if fl.launcher.Kind != launcher.Process {
		o.Launcher = func(dispatcherURL string, do dispatcher.Options, r prometheus.Registerer) (launch.Launcher, standalone.Leading, error) {
			fl.launcher.URL = cmp.Or(fl.launcher.URL, dispatcherURL)
			return fl.launcher.Open(ctx, do, o.Log, r)
		}
		return nil
	}
	if _, err := (ffmpeg.Program{Path: os.Getenv("TONEARM_FFMPEG")}).Find(); err != nil {
		return errors.New("ffmpeg is not installed. Run: apt-get install ffmpeg, or brew install ffmpeg")
	}
	launcher.Guard(ctx, o.Log)
	o.Transcoder, o.TranscoderEnv = []string{fl.launcher.Transcoder}, config.TranscoderEnv()
	if fl.launcher.Transcoder == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Transcoder = transcoderFor(ctx, self, o.Log)
	}
	o.WorkDir, o.DispatcherURL = fl.launcher.WorkDir, fl.launcher.URL
	return nil
}

// setStores opens the stores that the flags name. closeStores closes them.
func (fl *upFlags) setStores(o *standalone.Options) (closeStores func(), err error) {
	var opened config.Opened
	if fl.stores.Records != "" {
		if opened.Records, err = fl.stores.OpenRecords(o.Log); err != nil {
			return opened.Close, err
		}
		o.Records = opened.Records
	}
	if fl.stores.Users != "" {
		if opened.Users, err = fl.stores.OpenUsers(o.Log); err != nil {
			return opened.Close, err
		}
		o.Users = opened.Users
	}
	if fl.stores.Queue != "" {
		if opened.Queue, err = fl.stores.OpenQueue(); err != nil {
			return opened.Close, err
		}
		o.Queue, o.Gateway.Limits = opened.Queue, fl.stores.Limits(opened.Queue)
	}
	if fl.smtp.Host != "" {
		o.Sender, err = smtpmail.New(*fl.smtp)
	}
	return opened.Close, err
}

// banner prints where everything is, by name, one a line: scripts take the second
// word. The object store's root key is only for a terminal: other output may be
// kept as a log.
func (fl *upFlags) banner(out io.Writer, terminal bool, a standalone.Addresses) {
	fmt.Fprintln(out, "Tonearm is up.")
	line := func(name, value string) { fmt.Fprintf(out, "  %-9s  %s\n", name, value) }
	line("gateway", a.PublicURL)
	line("store", cmp.Or(a.S3.PublicEndpoint, a.S3.Endpoint))
	line("bucket", a.S3.Bucket)
	line("admin", a.Admin)
	line("events", a.Events)
	line("data", fl.o.Data)
	if fl.smtp.Host != "" {
		line("mails", fl.smtp.Host)
	} else {
		line("mails", filepath.Join(fl.o.Data, "outbox"))
	}
	line("accounts", a.Accounts)
	if a.InboxKey == "" { // not the embedded store
		return
	}
	key := filepath.Join(fl.o.Data, filepath.Base(a.InboxKey))
	line("inbox-key", key)
	if terminal {
		line("root-key", a.S3.AccessKey+" "+a.S3.SecretKey)
	}
	fmt.Fprintf(out, "\nTo convert a video with an S3 client, upload it into the inbox of your account:\n  . %s && aws s3 cp video.mp4 s3://%s/%sYOUR@ADDRESS/\n",
		key, a.S3.Bucket, conversion.InboxPrefix)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
