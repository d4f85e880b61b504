package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/account"
	"tonearm/internal/attempt"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
	"tonearm/internal/quota"
	"tonearm/internal/service"
)

// Users finds owners and their limits, keeps what they take, and finds accounts that
// were changed or are to be deleted; see account.Store.
type Users interface {
	ByID(ctx context.Context, id string) (account.User, error)
	ByEmail(ctx context.Context, email string) (account.User, error)
	List(ctx context.Context, f account.Filter, after string, limit int) ([]account.User, error)
	Used(ctx context.Context, first, last string, day time.Time) (map[string]account.Used, error)
	UsedByAll(ctx context.Context, day time.Time) (account.UsedByAll, error)
	SaveUsage(ctx context.Context, u account.Usage) error
	ClearUsage(ctx context.Context, userID string, since time.Time) error
	Changed(ctx context.Context, after string, limit int) ([]account.Change, error)
	Followed(ctx context.Context, userID string, at time.Time) error
	Deleted(ctx context.Context, after string, limit int) ([]account.User, error)
	Remove(ctx context.Context, userID string) error
	Tidy(ctx context.Context, now time.Time) error
}

// classes are the classes of attempts.
var classes = []conversion.Class{conversion.CPU, conversion.GPU}

// Options is everything a dispatcher needs. Fields without a default are
// required.
type Options struct {
	Records  conversion.Store
	Users    Users
	Queue    queue.Queue
	Objects  blob.Store
	Launcher launch.Launcher

	EventSource blob.EventSource // for stores that do not call the webhook; only ConsumeEvents needs it

	Bucket     string      // events of other buckets are ignored
	EventToken string      // bearer token of the store's webhook, at least 16 bytes; '' with EventSource: no webhook
	AttemptKey attempt.Key // signs attempt tokens, at least 32 bytes

	Policy          conversion.Policy        // default conversion.DefaultPolicy
	MaxJobs         map[conversion.Class]int // attempts at a time by class; cpu is required; without gpu that class is off
	MaxFilesPerJob  int                      // files of one owner that one launch takes in turn; default DefaultMaxFilesPerJob
	GPUWait         time.Duration            // after this time in the queue, class gpu becomes class cpu; default DefaultGPUWait
	Target          time.Duration            // within which waiting work is done where MaxJobs suffices; 0 for MaxJobs at once
	MaxUploadBytes  int64                    // of an inbox drop if its owner has no limit; default account.DefaultMaxUploadBytes
	Quotas          account.Limits           // of owners without limits of their own: QuotaRunning, and those of inbox drops; default account.DefaultLimits and half of MaxJobs
	Limits          attempt.Limits           // of one attempt; defaults of package attempt
	Silence         time.Duration            // an attempt that runs is given up after this time without a report; at least Policy.Lease; default Policy.Lease or DefaultSilence, whichever is longer
	ReportEvery     time.Duration            // default a third of Policy.Lease
	InboxEvery      time.Duration            // pause between two listings of the inbox; default DefaultInboxEvery
	InboxWait       time.Duration            // how old a drop may be when its address is proven; 0: only drops from then on count
	UseEvery        time.Duration            // pause between two counts of what users take; default 10 s
	OrphanScanEvery time.Duration            // pause between two scans for orphan objects; default 1 h
	OldSources      bool                     // Policy.SourceRetention is also for what failed or was canceled under a version before 0.2

	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // default time.Now
}

// Defaults of Options.
const (
	DefaultMaxFilesPerJob  = 1
	DefaultGPUWait         = 5 * time.Minute
	DefaultSilence         = 20 * time.Second // a transcoder's report may take 10 s, and the pause after a failed one too
	DefaultInboxEvery      = 30 * time.Second
	defaultUseEvery        = 10 * time.Second
	defaultOrphanScanEvery = time.Hour
)

// DefaultInboxWait is what a program gives as InboxWait if nobody says otherwise.
const DefaultInboxWait = 7 * 24 * time.Hour

func (o Options) withDefaults() Options {
	o.Policy = cmp.Or(o.Policy, conversion.DefaultPolicy)
	o.MaxFilesPerJob = cmp.Or(o.MaxFilesPerJob, DefaultMaxFilesPerJob)
	o.GPUWait = cmp.Or(o.GPUWait, DefaultGPUWait)
	o.MaxUploadBytes = cmp.Or(o.MaxUploadBytes, account.DefaultMaxUploadBytes)
	o.Quotas = o.Quotas.Or(account.DefaultLimits)
	o.Limits.MaxDurationSeconds = cmp.Or(o.Limits.MaxDurationSeconds, attempt.DefaultMaxDuration.Seconds())
	o.Limits.MaxMP3Bytes = cmp.Or(o.Limits.MaxMP3Bytes, attempt.DefaultMaxMP3Bytes)
	o.Silence = cmp.Or(o.Silence, max(o.Policy.Lease, DefaultSilence))
	o.ReportEvery = cmp.Or(o.ReportEvery, o.Policy.Lease/3)
	o.InboxEvery = cmp.Or(o.InboxEvery, DefaultInboxEvery)
	o.UseEvery = cmp.Or(o.UseEvery, defaultUseEvery)
	o.OrphanScanEvery = cmp.Or(o.OrphanScanEvery, defaultOrphanScanEvery)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (o Options) validate() error {
	switch p := o.Policy; {
	case o.Records == nil, o.Users == nil, o.Queue == nil, o.Objects == nil, o.Launcher == nil:
		return errors.New("records, users, queue, objects and launcher are required")
	case o.Bucket == "":
		return errors.New("a bucket is required")
	case len(o.EventToken) < 16 && (o.EventToken != "" || o.EventSource == nil):
		return errors.New("the event token needs at least 16 bytes")
	case len(o.AttemptKey) < 32:
		return errors.New("the attempt key needs at least 32 bytes")
	case o.Log == nil || o.Registerer == nil:
		return errors.New("log and registerer are required")
	case p.Lease <= 0 || p.URLExpiry <= 0 || p.MaxAttempts < 1 || p.MaxLaunches < 1:
		return fmt.Errorf("lease, URL expiry, max attempts and max launches must be above 0, but are %+v", p)
	case o.MaxJobs[conversion.CPU] < 1 || o.MaxJobs[conversion.GPU] < 0:
		return fmt.Errorf("max jobs are %v, but class cpu needs at least 1, and none may be negative", o.MaxJobs)
	case o.Silence < p.Lease:
		return fmt.Errorf("an attempt must be allowed to be silent for its lease of %v at least, but for %v only", p.Lease, o.Silence)
	case o.InboxWait < 0:
		return fmt.Errorf("the inbox wait must not be negative, but is %v", o.InboxWait)
	case o.MaxFilesPerJob < 0 || o.GPUWait < 0 || o.Target < 0 || o.MaxUploadBytes < 0 || o.Limits.MaxDurationSeconds < 0 ||
		o.Limits.MaxMP3Bytes < 0 || o.ReportEvery < 0 || o.InboxEvery < 0 || o.UseEvery < 0 || o.OrphanScanEvery < 0:
		return errors.New("numbers of files, limits and times must not be negative")
	}
	return o.Quotas.Validate()
}

// Dispatcher is one replica.
type Dispatcher struct {
	o        Options
	outage   *slog.Logger // for what many say while a neighbour is away
	outbox   *queue.Outbox
	metrics  *metrics
	pace     map[conversion.Class]*pace
	breakers map[conversion.Class]*breaker
	hearing  *hearing
	quiet    quiet
	meter    quota.Meter // of inbox drops
	usage    *usage
	limits   ownLimits
	started  time.Time
	inbox    knownDrops
	signals  signals
	coming   queue.Announcer // of TopicNotified

	mu    sync.Mutex
	freed chan struct{}                 // closed and replaced when an attempt ends
	held  map[conversion.AttemptRef]int // launches whose ends are recorded by whoever stops them
}

// New checks the options and returns a dispatcher that does nothing yet.
func New(o Options) (*Dispatcher, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	outage := service.Sparse(o.Log)
	usage := &usage{due: map[ownDay]bool{}}
	hearing := &hearing{Store: o.Records, now: o.Now, lease: o.Policy.Lease, changed: usage.changed}
	o.Records = hearing
	d := &Dispatcher{
		o:       o,
		outage:  outage,
		hearing: hearing,
		outbox: &queue.Outbox{Records: o.Records, Queue: o.Queue, Log: outage, Now: o.Now,
			RecordRetention: o.Policy.RecordRetention},
		freed: make(chan struct{}),
		pace:  map[conversion.Class]*pace{},
		held:  map[conversion.AttemptRef]int{},
		quiet: quiet{seen: map[string]spell{}},
		meter: quota.Meter{Records: o.Records, Users: o.Users, Defaults: o.Quotas, Now: o.Now, Log: outage},
		usage: usage,

		coming: queue.Announcer{Queue: o.Queue, Topic: queue.TopicNotified},

		breakers: map[conversion.Class]*breaker{},
	}
	for _, class := range classes {
		d.pace[class], d.breakers[class] = newPace(), &breaker{}
	}
	d.metrics = newMetrics()
	if err := service.Register(o.Registerer, append(d.metrics.collectors(), collector{d}, d.silentGauge())...); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	return d, nil
}

// Handler serves the store's events and the transcoders' calls.
func (d *Dispatcher) Handler() http.Handler {
	mux := http.NewServeMux()
	if d.o.EventToken != "" {
		mux.HandleFunc("POST /events/s3", d.serveEvents)
	}
	mux.HandleFunc("POST /attempts/{id}/claim", serveCall(d, d.claim))
	mux.HandleFunc("POST /attempts/{id}/progress", serveCall(d, d.progress))
	mux.HandleFunc("POST /attempts/{id}/result", serveCall(d, d.result))
	return mux
}

// Prepare makes the bucket and its notification. Call it until it succeeds,
// before Run.
func (d *Dispatcher) Prepare(ctx context.Context) error {
	return d.o.Objects.Prepare(ctx)
}

// Run works until ctx is done, then finishes what it has begun. Attempts that
// end together with their launcher are queued again.
func (d *Dispatcher) Run(ctx context.Context) error {
	// Attempts may end while the rest finishes.
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()
	var watch, wg sync.WaitGroup
	d.started = d.o.Now()
	d.hearing.restart()
	wg.Go(func() { d.hearing.run(ctx) })
	watch.Go(func() {
		service.Repeat(watching, d.outage, "watching attempts", func(ctx context.Context) error {
			return d.o.Launcher.Watch(ctx, func(e launch.End) { d.ended(ctx, e) })
		})
	})
	repeat := func(what string, step func(context.Context) error) {
		wg.Go(func() { service.Repeat(ctx, d.outage, what, step) })
	}
	repeat("taking work of class cpu", func(ctx context.Context) error { return d.work(ctx, conversion.CPU) })
	if d.o.MaxJobs[conversion.GPU] > 0 {
		repeat("taking work of class gpu", func(ctx context.Context) error { return d.work(ctx, conversion.GPU) })
	} else {
		repeat("moving work of class gpu", d.divert)
	}
	for range stopTakers {
		repeat("taking stops", d.stops)
	}
	repeat("keeping the agenda", d.agenda(d.others))
	repeat("keeping the agenda of running attempts", d.agenda(d.o.Records.Lapsed))
	repeat("stopping launches that are over", d.stopIdle())
	repeat("publishing what is owed", d.rebuildAfterWipe())
	repeat("listing the inbox", d.sweepInbox)
	repeat("deleting accounts", d.deleteAccounts)
	repeat("following changes of accounts", d.followAccounts())
	repeat("hearing of notifications", d.hear)
	repeat("scanning for orphan objects", d.scanOrphans)
	repeat("counting what users take", d.countUse())
	defer d.metrics.usage.Reset() // whoever leads next shows it
	wg.Wait()
	return d.close(context.WithoutCancel(ctx), func() { stopWatching(); watch.Wait() })
}

// close closes the launcher and records the attempts that ended with it.
func (d *Dispatcher) close(ctx context.Context, stopWatching func()) error {
	before, err := d.o.Launcher.Running(ctx)
	stopWatching()
	if err != nil {
		return errors.Join(err, d.o.Launcher.Close())
	}
	if err := d.o.Launcher.Close(); err != nil {
		return fmt.Errorf("close launcher: %w", err)
	}
	after, err := d.o.Launcher.Running(ctx)
	if err != nil {
		return fmt.Errorf("list what outlives the launcher: %w", err)
	}
	for _, a := range before {
		if !slices.ContainsFunc(after, func(b launch.Attempt) bool { return a.AttemptRef == b.AttemptRef }) {
			d.ended(ctx, launch.End{AttemptRef: a.AttemptRef, Launch: a.Launch, Reason: launch.Stopped})
		}
	}
	return nil
}

// update writes one transition and reports whether it changed the state. It
// counts conversions that the transition made final or moved to another class.
func (d *Dispatcher) update(ctx context.Context, id string, change func(*conversion.Conversion) error) (c conversion.Conversion, changed bool, err error) {
	var before conversion.Conversion
	c, err = d.outbox.Update(ctx, id, func(c *conversion.Conversion) error {
		before = *c
		return change(c)
	})
	if err != nil {
		return c, false, err
	}
	changed = c.State != before.State
	if changed {
		d.metrics.finished(c)
	}
	if c.Fallback != nil && before.Fallback == nil {
		d.metrics.fallbacks.WithLabelValues(c.Fallback.Reason).Inc()
		d.o.Log.Info("conversion fell back to another class", "conversion_id", c.ID,
			"from", c.Fallback.From, "class", c.Class, "reason", c.Fallback.Reason)
	}
	return c, changed, nil
}

// detached returns a context for work that a shutdown must not interrupt, but that
// may not take longer than limit.
func detached(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
