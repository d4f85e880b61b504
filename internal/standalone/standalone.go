package standalone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/dispatcher"
	"tonearm/gateway"
	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/embedded"
	"tonearm/internal/launch"
	"tonearm/internal/mail"
	"tonearm/internal/queue"
	"tonearm/internal/retry"
	"tonearm/internal/service"
	"tonearm/notifier"
)

// Records is a store of conversions; Prepare is called until it succeeds.
type Records interface {
	conversion.Store
	Prepare(ctx context.Context) error
}

// Users is a store of users; Prepare is called until it succeeds.
type Users interface {
	account.Store
	Prepare(ctx context.Context) error
}

// Launcher opens the launcher for a dispatcher with options o. Transcoders
// reach that dispatcher at dispatcherURL.
type Launcher func(dispatcherURL string, o dispatcher.Options, r prometheus.Registerer) (launch.Launcher, Leading, error)

// Leading makes run work only while this process may do the dispatcher's own
// work.
type Leading = func(run func(context.Context) error) func(context.Context) error

// Options say what runs. Data, Log, and one of Transcoder and Launcher are
// required.
type Options struct {
	Data string // directory of everything that is kept; made where missing

	// Addresses to listen on, as host:port; port 0 takes a free one.
	Listen       string // of the gateway; default 127.0.0.1:8080
	AdminListen  string // of /livez, /readyz and /metrics; default 127.0.0.1:0
	EventsListen string // of the dispatcher; default 127.0.0.1:0
	S3Listen     string // host or host:port of the embedded object store; default 127.0.0.1 and a port that is kept in Data

	Limits service.Limits // of the clients of each listener

	// Stores to use in place of those in Data. The caller closes them.
	Records Records
	Users   Users
	Queue   queue.Queue
	S3      s3blob.Options // without Endpoint, the embedded store's endpoint and keys are filled in
	Sender  mail.Sender    // default writes .eml files to Data/outbox

	// Options of the services. Stores, tokens, keys, log and metrics are filled
	// in, and so is the public URL if it is missing.
	Gateway    gateway.Options
	Dispatcher dispatcher.Options
	Notifier   notifier.Options
	EventToken string // bearer token of the store's notifications; default one that is drawn once and kept

	Transcoder    []string // argument vector of a transcoder: attempts are child processes
	TranscoderEnv []string // their environment besides the assignment, as KEY=value; nil passes on PATH and HOME
	WorkDir       string   // directory of their working directories; default Data/attempts
	DispatcherURL string   // where transcoders reach the dispatcher; default its own address
	Launcher      Launcher // in place of Transcoder

	Log     *slog.Logger
	Started func(Addresses) // called once everything is ready; may be nil
}

// Addresses say where a running instance can be reached.
type Addresses struct {
	PublicURL string // of the gateway
	Admin     string // URL of /livez, /readyz and /metrics
	Events    string // URL of the dispatcher
	Accounts  string // how people get an account, in words
	S3        s3blob.Options
	InboxKey  string // file with a key of the embedded object store, see doc.go; '' if another store is used
}

// Defaults of Options.
const (
	DefaultListen       = "127.0.0.1:8080"
	DefaultAdminListen  = "127.0.0.1:0"
	DefaultEventsListen = "127.0.0.1:0"
	DefaultS3Listen     = "127.0.0.1"
)

func (o Options) withDefaults() Options {
	o.Listen = cmp.Or(o.Listen, DefaultListen)
	o.AdminListen = cmp.Or(o.AdminListen, DefaultAdminListen)
	o.EventsListen = cmp.Or(o.EventsListen, DefaultEventsListen)
	o.S3Listen = cmp.Or(o.S3Listen, DefaultS3Listen)
	if o.Started == nil {
		o.Started = func(Addresses) {}
	}
	return o
}

func (o Options) validate() error {
	switch {
	case o.Data == "":
		return errors.New("a data directory is required")
	case o.Log == nil:
		return errors.New("a logger is required")
	case (len(o.Transcoder) == 0) == (o.Launcher == nil):
		return errors.New("one of Transcoder and Launcher is required")
	}
	return nil
}

// Standalone is everything in one process.
type Standalone struct{ o Options }

// New checks the options. It opens nothing yet. A process that uses the
// embedded object store must call embedded.Main first.
func New(o Options) (*Standalone, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("standalone: %w", err)
	}
	return &Standalone{o}, nil
}

// Run runs everything until ctx is done, then stops it in reverse order and
// releases what it opened. No process that it started is left then.
func (s *Standalone) Run(ctx context.Context) error {
	var err error
	r := &instance{Options: s.o, destroyed: make(chan []embedded.StoredObject, 1)}
	defer func() { r.close() }()
	if r.data, err = openData(s.o.Data, s.o.Log); err != nil {
		return err
	}
	r.defers(r.data.Close)
	for _, open := range []func(context.Context) error{r.listen, r.openRecords, r.openQueue, r.openObjects, r.openSender} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	p, err := r.process()
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

// instance is one run: the options with all defaults filled in, and everything
// else that a run needs.
type instance struct {
	Options
	data                 *dataDir
	front, events, admin net.Listener // of the gateway, of the dispatcher and of metrics
	inboxKey             string       // as in Addresses
	accounts             string       // as in Addresses
	objects              *s3blob.Store
	gatewayObjects       blob.Store // the same store, as the services use it
	dispatcherObjects    blob.Store
	destroyed            chan []embedded.StoredObject // of the embedded store
	closers              []func()                     // in the order in which things were opened
}

func (r *instance) defers(release func()) { r.closers = append(r.closers, release) }

func (r *instance) close() {
	for i := len(r.closers) - 1; i >= 0; i-- {
		r.closers[i]()
	}
}

func (r *instance) listen(ctx context.Context) (err error) {
	for _, l := range []struct {
		flag, addr string
		to         *net.Listener
	}{{"events-listen", r.EventsListen, &r.events}, {"listen", r.Listen, &r.front}, {"admin-listen", r.AdminListen, &r.admin}} {
		if *l.to, err = service.Listen(ctx, l.flag, l.addr); err != nil {
			return err
		}
		r.defers(func() { (*l.to).Close() })
	}
	if r.EventToken == "" {
		if r.EventToken, err = r.data.secret("event-token"); err != nil {
			return err
		}
	}
	r.DispatcherURL = cmp.Or(r.DispatcherURL, r.ownDispatcher())
	r.Gateway.PublicURL = cmp.Or(r.Gateway.PublicURL, publicURL(r.front.Addr()))
	r.registration()
	return nil
}

// registration decides who may make an account. On this machine alone, accounts
// count at once. Elsewhere an address is proven by a mail first; so without a
// mail server, registration is closed. A gateway that listens on loopback may
// still be reached from elsewhere, through a proxy: its public URL shows that.
func (r *instance) registration() {
	add := "tonearm user add EMAIL --users " + filepath.Join(r.Data, "tonearm.db")
	if r.Users != nil { // another database, whose name may hold a password
		add = "tonearm user add EMAIL --users DSN"
	}
	public, err := url.Parse(r.Gateway.PublicURL)
	local := err == nil && r.front.Addr().(*net.TCPAddr).IP.IsLoopback() && isLocal(public.Hostname())
	switch {
	case !local && r.Sender == nil:
		r.Gateway.OpenRegistration, r.Gateway.SelfConfirm = false, false
		r.accounts = "made by " + add + "; registration is closed, because no mail server (--smtp-host) can prove addresses"
	case !r.Gateway.OpenRegistration:
		r.accounts = "made by " + add
	case local || r.Gateway.SelfConfirm:
		r.Gateway.SelfConfirm = true
		r.accounts = "anybody who reaches this server may make one; addresses count as confirmed at once, without a mail"
	default:
		r.accounts = "anybody may make one; a mail proves the address"
	}
}

// isLocal reports whether a host name means this machine.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ownDispatcher is where processes on this machine reach the dispatcher.
func (r *instance) ownDispatcher() string { return "http://" + r.events.Addr().String() }

// publicURL is where people on this machine reach a listener.
func publicURL(addr net.Addr) string {
	tcp := addr.(*net.TCPAddr)
	host := tcp.IP.String()
	if tcp.IP.IsLoopback() || tcp.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// process connects the services with their stores.
func (r *instance) process() (*service.Process, error) {
	s, err := r.services()
	if err != nil {
		return nil, err
	}
	p := service.NewProcess(r.Log)
	p.Health.Check("records", r.Records.Ping)
	p.Health.Check("users", r.Users.Ping)
	p.Health.Check("queue", r.Queue.Ping)
	p.Health.Check("objects", r.objects.Ping)
	p.Health.Warn("attempts", s.dispatcher.Well)
	p.Health.Warn("notifications", s.dispatcher.Notifications)
	r.Log.Info("listening", "address", r.admin.Addr().String())
	p.Add("admin", service.HTTP(r.admin, service.Admin(&p.Health, s.registry), time.Second, r.Limits, r.Log))
	p.Prepare("records", r.Records.Prepare)
	p.Prepare("users", r.Users.Prepare)
	p.Add("dispatcher http", service.HTTP(r.events, s.dispatcher.Handler(), 5*time.Second, r.Limits, r.Log))
	p.Await("objects", s.dispatcher.Prepare)
	p.Add("destroyed objects", func(ctx context.Context) error { return r.makeUp(ctx, s.dispatcher) })
	p.Add("notifier", s.notifier.Run)
	p.Add("use", s.dispatcher.KeepUse)
	p.Add("dispatcher", s.leading(s.dispatcher.Run))
	p.Add("gateway", func(ctx context.Context) error {
		r.Started(Addresses{
			PublicURL: r.Gateway.PublicURL, Accounts: r.accounts, Admin: "http://" + r.admin.Addr().String(), Events: r.ownDispatcher(), S3: r.S3, InboxKey: r.inboxKey,
		})
		return service.HTTP(r.front, s.gateway.Handler(), 10*time.Second, r.Limits, r.Log)(ctx)
	})
	return p, nil
}

// makeUp has the dispatcher make up for objects that a power cut destroyed.
func (r *instance) makeUp(ctx context.Context, d *dispatcher.Dispatcher) error {
	for {
		select {
		case objects := <-r.destroyed:
			var keys []string
			for _, o := range objects {
				if o.Bucket == r.S3.Bucket {
					keys = append(keys, o.Key)
				}
			}
			_ = retry.Forever(ctx, retry.Policy{Initial: time.Second, Max: time.Minute}, func(ctx context.Context) error {
				err := d.Destroyed(ctx, keys)
				if err != nil {
					r.Log.Warn("trying again to make up for a power cut", "error", err)
				}
				return err
			})
		case <-ctx.Done():
			return nil
		}
	}
}
