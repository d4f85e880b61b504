package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/attemptenv"
	"tonearm/cmd/internal/config"
	"tonearm/cmd/internal/env"
	"tonearm/cmd/internal/launcher"
	"tonearm/dispatcher"
	"tonearm/internal/launch"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/service"
	"tonearm/internal/standalone"
	"tonearm/notifier"
)

// upFlags are the flags of `tonearm up`. A store whose address is given is
// used as it is; nothing is embedded in its place.
type upFlags struct {
	listen     config.Listen
	stores     config.Stores
	dispatcher *config.Dispatcher
	launcher   *launcher.Flags
	smtp       *smtpmail.Options
	logLevel   slog.Level
	o          standalone.Options
}

func newUpCommand() *cobra.Command {
	fl := &upFlags{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process, on stores of its own",
		Long: `Run gateway, dispatcher, notifier and transcoders in one process, on stores
that it keeps below --data. Any store can be switched to a real one by its
flag; nothing is embedded in its place then.`,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: fl.logLevel}))
			env.Warn(log)
			ctx, cancel := service.SignalContext(cmd.Context(), log)
			defer cancel()
			return fl.run(ctx, log, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&fl.o.Data, "data", ".tonearm", "directory of everything that is kept")
	f.StringVar(&fl.o.EventsListen, "events-listen", standalone.DefaultEventsListen, "address for the store's notifications and the transcoders")
	f.StringVar(&fl.o.EventToken, "event-token", "", "bearer token of the store's notifications (default: drawn once and kept)")
	f.StringVar(&fl.o.S3Listen, "s3-listen", standalone.DefaultS3Listen, "host or host:port of the embedded object store; without a port, one is chosen once and kept")
	f.TextVar(&fl.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fl.listen.Bind(f, standalone.DefaultListen)
	fl.stores.BindRecords(f)
	fl.stores.BindUsers(f)
	fl.stores.BindQueue(f)
	fl.stores.BindS3(f)
	config.Gateway(f, &fl.o.Gateway)
	fl.dispatcher = config.BindDispatcher(f, 0)
	fl.launcher = launcher.Bind(f)
	fl.smtp = config.SMTP(f)
	bindNotifier(f, &fl.o.Notifier)
	for name, value := range map[string]string{
		"admin-listen": standalone.DefaultAdminListen, "open-registration": "true",
		"max-jobs": strconv.Itoa(runtime.NumCPU()), "public-url": "",
	} {
		setDefault(f.Lookup(name), value)
	}
	return cmd
}

// newTranscoderCommand is what `tonearm up` starts for each attempt.
func newTranscoderCommand() *cobra.Command {
	return &cobra.Command{
		Use: "transcoder", Hidden: true, Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) { os.Exit(attemptenv.Run()) },
	}
}

// setDefault gives a shared flag another default.
func setDefault(f *pflag.Flag, value string) {
	if err := f.Value.Set(value); err != nil {
		panic(err) // the value above does not fit the flag's type
	}
	f.DefValue = value
}

// bindNotifier adds the notifier's flags but for the public URL, which it
// shares with the gateway.
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
	o.Listen, o.AdminListen = fl.listen.Addr, fl.listen.Admin
	o.S3 = fl.stores.S3
	o.Dispatcher = fl.dispatcher.Options(fl.stores.S3.Bucket)
	o.Started = func(a standalone.Addresses) { fl.banner(out, a) }
	if err := fl.setLauncher(&o); err != nil {
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
func (fl *upFlags) setLauncher(o *standalone.Options) error {
	if fl.launcher.Kind != launcher.Process {
		o.Launcher = func(dispatcherURL string, do dispatcher.Options, r prometheus.Registerer) (launch.Launcher, standalone.Leading, error) {
			fl.launcher.URL = cmp.Or(fl.launcher.URL, dispatcherURL)
			return fl.launcher.Open(do, o.Log, r)
		}
		return nil
	}
	if _, err := exec.LookPath(cmp.Or(os.Getenv("TONEARM_FFMPEG"), "ffmpeg")); err != nil {
		return errors.New("ffmpeg is not installed: apt-get install ffmpeg, or brew install ffmpeg")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Transcoder, o.TranscoderEnv = []string{self, "transcoder"}, config.TranscoderEnv()
	if fl.launcher.Transcoder != "" {
		o.Transcoder = []string{fl.launcher.Transcoder}
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
		o.Queue = opened.Queue
	}
	if fl.smtp.Host != "" {
		o.Sender, err = smtpmail.New(*fl.smtp)
	}
	return opened.Close, err
}

// banner says how to reach everything. Keys are printed only of a store that
// nobody but this machine reaches: elsewhere the output may be kept as a log.
func (fl *upFlags) banner(out io.Writer, a standalone.Addresses) {
	public := cmp.Or(a.S3.PublicEndpoint, a.S3.Endpoint)
	fmt.Fprintf(out, "Tonearm is up.\n  gateway          %s\n  data             %s\n", a.PublicURL, fl.o.Data)
	if fl.smtp.Host != "" {
		fmt.Fprintf(out, "  mails go to      %s\n", fl.smtp.Host)
	} else {
		fmt.Fprintf(out, "  mails appear in  %s\n", filepath.Join(fl.o.Data, "outbox"))
	}
	fmt.Fprintf(out, "  object store     %s, bucket %s\n", public, a.S3.Bucket)
	if a.OwnS3 && loopback(public) {
		fmt.Fprintf(out, "  for mc           mc alias set tonearm %s %s %s\n", public, a.S3.AccessKey, a.S3.SecretKey)
		fmt.Fprintf(out, "                   mc cp video.mp4 tonearm/%s/inbox/YOUR@ADDRESS/\n", a.S3.Bucket)
	} else if a.OwnS3 {
		fmt.Fprintf(out, "  its keys are in  %s\n", filepath.Join(fl.o.Data, "s3", "s3.json"))
	}
}

// loopback reports whether a URL leads to this machine alone.
func loopback(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}
