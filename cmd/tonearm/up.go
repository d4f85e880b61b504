package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/attemptenv"
	"tonearm/cmd/internal/config"
	"tonearm/cmd/internal/launcher"
	"tonearm/dispatcher"
	"tonearm/gateway"
	"tonearm/internal/account"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/embedded"
	"tonearm/internal/mail"
	"tonearm/internal/mail/filemail"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/queue"
	"tonearm/internal/service"
	"tonearm/notifier"
)

// upFlags are the flags of `tonearm up`. A store whose address is given is
// used as it is; nothing is embedded in its place.
type upFlags struct {
	data         string
	listen       config.Listen
	eventsListen string
	eventToken   string
	s3Listen     string
	ownS3        bool // the object store is the embedded one
	stores       config.Stores
	gateway      gateway.Options
	notifier     notifier.Options
	dispatcher   *config.Dispatcher
	launcher     *launcher.Flags
	smtp         *smtpmail.Options
	logLevel     slog.Level
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
			ctx, cancel := service.SignalContext(cmd.Context(), log)
			defer cancel()
			return fl.run(ctx, log, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&fl.data, "data", ".tonearm", "directory of everything that is kept")
	f.StringVar(&fl.eventsListen, "events-listen", "127.0.0.1:0", "address for the store's notifications and the transcoders")
	f.StringVar(&fl.eventToken, "event-token", "", "bearer token of the store's notifications (default: drawn once and kept)")
	f.StringVar(&fl.s3Listen, "s3-listen", "127.0.0.1", "host or host:port of the embedded object store; without a port, one is chosen once and kept")
	f.TextVar(&fl.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fl.listen.Bind(f, "127.0.0.1:8080")
	fl.stores.BindRecords(f)
	fl.stores.BindUsers(f)
	fl.stores.BindQueue(f)
	fl.stores.BindS3(f)
	config.Gateway(f, &fl.gateway)
	fl.dispatcher = config.BindDispatcher(f, 0)
	fl.launcher = launcher.Bind(f)
	fl.smtp = config.SMTP(f)
	bindNotifier(f, &fl.notifier)
	for name, value := range map[string]string{
		"admin-listen": "127.0.0.1:0", "open-registration": "true",
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

// records and users are what up needs of a store beyond its contract.
type records interface {
	conversion.Store
	Prepare(ctx context.Context) error
}

type users interface {
	account.Store
	Prepare(ctx context.Context) error
}

func (fl *upFlags) run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	data, err := openData(fl.data)
	if err != nil {
		return err
	}
	defer data.Close()
	if _, err := exec.LookPath(cmp.Or(os.Getenv("TONEARM_FFMPEG"), "ffmpeg")); err != nil && fl.launcher.Kind == "process" {
		return errors.New("ffmpeg is not installed: apt-get install ffmpeg, or brew install ffmpeg")
	}
	events, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fl.eventsListen)
	if err != nil {
		return fmt.Errorf("listen for events: %w", err)
	}
	if fl.eventToken == "" {
		if fl.eventToken, err = data.secret("event-token"); err != nil {
			return err
		}
	}
	dispatcherURL := "http://" + events.Addr().String()
	front, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fl.listen.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if fl.gateway.PublicURL == "" {
		fl.gateway.PublicURL = publicURL(front.Addr())
	}

	var recordStore records
	if fl.stores.Records != "" {
		recordStore, err = fl.stores.OpenRecords()
	} else {
		recordStore, err = sqliteconversion.Open(data.path("tonearm.db"))
	}
	if err != nil {
		return err
	}
	defer recordStore.Close()
	var userStore users
	if fl.stores.Users != "" {
		userStore, err = fl.stores.OpenUsers()
	} else {
		userStore, err = sqlaccount.OpenSQLite(data.path("tonearm.db"))
	}
	if err != nil {
		return err
	}
	defer userStore.Close()
	if fl.stores.Queue == "" {
		redis, err := embedded.StartRedis(ctx)
		if err != nil {
			return err
		}
		defer redis.Close()
		fl.stores.Queue = redis.URL()
	}
	messages, err := fl.stores.OpenQueue()
	if err != nil {
		return err
	}
	defer messages.Close()
	if fl.stores.S3.Endpoint == "" {
		store, err := embedded.StartS3(ctx, embedded.S3Options{
			Dir: data.path("s3"), Listen: fl.s3Listen, WebhookURL: dispatcherURL + "/events/s3", WebhookToken: fl.eventToken, Log: log,
		})
		if err != nil {
			return err
		}
		defer store.Close()
		fl.ownS3 = true
		fl.stores.S3.Endpoint, fl.stores.S3.AccessKey, fl.stores.S3.SecretKey = store.Endpoint(), store.AccessKey(), store.SecretKey()
	}
	blobs, err := fl.stores.OpenBlobs(log)
	if err != nil {
		return err
	}
	sender, err := fl.sender(data)
	if err != nil {
		return err
	}
	return fl.serve(ctx, log, out, parts{data, front, events, dispatcherURL, recordStore, userStore, messages, blobs, sender})
}

// sender is the mail server where one is given, else a folder of .eml files.
func (fl *upFlags) sender(data *dataDir) (mail.Sender, error) {
	if fl.smtp.Host != "" {
		return smtpmail.New(*fl.smtp)
	}
	return filemail.New(data.path("outbox"))
}

// parts are the stores that the services stand on.
type parts struct {
	data          *dataDir
	front, events net.Listener // of the gateway and of the dispatcher
	dispatcherURL string
	records       records
	users         users
	queue         queue.Queue
	blobs         *s3blob.Store
	sender        mail.Sender
}

// serve runs the services on their stores until ctx is done.
func (fl *upFlags) serve(ctx context.Context, log *slog.Logger, out io.Writer, s parts) error {
	keys, err := jwttoken.LoadOrCreate(s.data.path("signing-keys.pem"))
	if err != nil {
		return err
	}
	tokens, err := jwttoken.New(jwttoken.Options{Keys: keys, Issuer: "tonearm"})
	if err != nil {
		return err
	}
	secret, err := s.data.secret("attempt-key")
	if err != nil {
		return err
	}
	attemptKey, err := config.AttemptKey(secret)
	if err != nil {
		return err
	}
	registry, err := service.NewRegistry()
	if err != nil {
		return err
	}
	labelled := func(name string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"service": name}, registry)
	}

	self, err := os.Executable()
	if err != nil {
		return err
	}
	if fl.launcher.URL == "" {
		fl.launcher.URL = s.dispatcherURL
	}
	do := fl.dispatcher.Options(fl.stores.S3.Bucket)
	attempts, leading, err := fl.launcher.Open(launcher.Local{
		Command: []string{self, "transcoder"}, Dir: s.data.path("attempts"),
	}, do, log, labelled("dispatcher"))
	if err != nil {
		return err
	}
	do.Records, do.Accounts, do.Queue, do.Blobs, do.Launcher = s.records, s.users, s.queue, s.blobs, attempts
	do.AttemptKey, do.EventToken = attemptKey, fl.eventToken
	do.Log, do.Registerer = log, labelled("dispatcher")
	d, err := dispatcher.New(do)
	if err != nil {
		return errors.Join(err, attempts.Close())
	}

	no := fl.notifier
	no.PublicURL = fl.gateway.PublicURL
	no.Records, no.Queue, no.Tokens, no.Sender = s.records, s.queue, tokens, s.sender
	no.Log, no.Registerer = log, labelled("notifier")
	n, err := notifier.New(no)
	if err != nil {
		return errors.Join(err, attempts.Close())
	}

	gate := fl.gateway
	gate.Records, gate.Accounts, gate.Tokens, gate.Blobs, gate.Queue = s.records, s.users, tokens, s.blobs, s.queue
	gate.Log, gate.Registerer = log, labelled("gateway")
	g, err := gateway.New(gate)
	if err != nil {
		return errors.Join(err, attempts.Close())
	}

	p := service.NewProcess(log)
	p.Health.Check("records", s.records.Ping)
	p.Health.Check("users", s.users.Ping)
	p.Health.Check("queue", s.queue.Ping)
	p.Health.Check("objects", s.blobs.Ping)
	p.Add("admin", service.ListenHTTP(fl.listen.Admin, service.Admin(&p.Health, registry), time.Second, log))
	p.Await("records", s.records.Prepare)
	p.Await("users", s.users.Prepare)
	p.Add("dispatcher http", service.HTTP(s.events, d.Handler(), 5*time.Second, log))
	p.Await("objects", d.Prepare)
	p.Add("notifier", n.Run)
	p.Add("dispatcher", leading(d.Run))
	p.Add("gateway", func(ctx context.Context) error {
		fl.banner(out)
		return service.HTTP(s.front, g.Handler(), 10*time.Second, log)(ctx)
	})
	return p.Run(ctx)
}

// publicURL is where people on this machine reach a listener.
func publicURL(addr net.Addr) string {
	tcp := addr.(*net.TCPAddr)
	host := tcp.IP.String()
	if tcp.IP.IsLoopback() || tcp.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// banner says how to reach everything. Keys are printed only of a store that
// nobody but this machine reaches: elsewhere the output may be kept as a log.
func (fl *upFlags) banner(out io.Writer) {
	s3 := fl.stores.S3
	public := cmp.Or(s3.PublicEndpoint, s3.Endpoint)
	fmt.Fprintf(out, "Tonearm is up.\n  gateway          %s\n  data             %s\n", fl.gateway.PublicURL, fl.data)
	if fl.smtp.Host != "" {
		fmt.Fprintf(out, "  mails go to      %s\n", fl.smtp.Host)
	} else {
		fmt.Fprintf(out, "  mails appear in  %s\n", filepath.Join(fl.data, "outbox"))
	}
	fmt.Fprintf(out, "  object store     %s, bucket %s\n", public, s3.Bucket)
	if fl.ownS3 && loopback(public) {
		fmt.Fprintf(out, "  for mc           mc alias set tonearm %s %s %s\n", public, s3.AccessKey, s3.SecretKey)
		fmt.Fprintf(out, "                   mc cp video.mp4 tonearm/%s/inbox/YOUR@ADDRESS/\n", s3.Bucket)
	} else if fl.ownS3 {
		fmt.Fprintf(out, "  its keys are in  %s\n", filepath.Join(fl.data, "s3", "s3.json"))
	}
}

// loopback reports whether a URL leads to this machine alone.
func loopback(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}

// newSecret draws 32 bytes in hex.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
