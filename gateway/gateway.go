package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/connection"
	"tonearm/internal/conversion"
	"tonearm/internal/limit"
	"tonearm/internal/queue"
	"tonearm/internal/quota"
	"tonearm/internal/service"
)

// Options say how a Gateway works. The first five fields and PublicURL are
// required.
type Options struct {
	Records conversion.Store
	Users   account.Store
	Tokens  account.Tokens
	Objects blob.Store
	Queue   queue.Queue

	// PublicURL is where people reach the gateway, such as
	// https://tonearm.example.org. It appears in the OpenAPI description.
	PublicURL string
	// CORSOrigins are the origins of web pages that may use the JSON interface with a
	// token, besides that of PublicURL.
	CORSOrigins []string
	// OpenRegistration lets anybody make an account by POST /v1/users.
	OpenRegistration bool
	// SelfConfirm lets accounts that people make count at once, without a mail
	// to prove the address: only for a server that nobody else reaches.
	SelfConfirm bool
	// MaxUploadBytes limits one video of a user who has no limit of their own;
	// default account.DefaultMaxUploadBytes, at most 5 TiB.
	MaxUploadBytes int64
	// UploadWindow is how long an upload may take before its conversion expires;
	// default DefaultUploadWindow, at most 30 days.
	UploadWindow time.Duration
	// UploadPause is how slow an upload through the gateway may be: 16 KiB in this
	// time; default one minute.
	UploadPause time.Duration
	// URLExpiry is how long presigned upload URLs are good; default
	// DefaultURLExpiry, at most 7 days.
	URLExpiry time.Duration
	// DownloadExpiry is how long presigned download URLs are good; default
	// DefaultDownloadExpiry, at most 7 days.
	DownloadExpiry time.Duration
	// RecordRetention is how long after its end a conversion is deleted; 0
	// means never. The dispatchers need the same value.
	RecordRetention time.Duration
	// MaxBodyBytes limits the JSON bodies of requests; default
	// DefaultMaxBodyBytes, at most 16 MiB.
	MaxBodyBytes int64

	// Quotas are the limits of users who have none of their own; default
	// account.DefaultLimits. QuotaRunning is not among them.
	Quotas account.Limits
	// MaxWaiters is how many requests with ?wait= may be open at a time, of all
	// users; default DefaultMaxWaiters, -1 for no limit.
	MaxWaiters int64
	// MaxGatewayUploads is how many uploads may go through the gateway at a time, of
	// all users; default DefaultMaxGatewayUploads, -1 for no limit.
	MaxGatewayUploads int64

	// Limits counts what may be tried together with the other gateways; nil where
	// there is no other one. While it is away, this gateway counts alone.
	Limits limit.Store
	// TrustedProxies are the addresses of the proxies before the gateway, whose
	// X-Forwarded-For says where a request came from. Nobody else's does.
	TrustedProxies []netip.Prefix

	Log        *slog.Logger          // nil for none
	Registerer prometheus.Registerer // nil for none
	Now        func() time.Time      // nil for time.Now
}

// Defaults of Options.
const (
	DefaultUploadWindow   = 24 * time.Hour
	DefaultURLExpiry      = time.Hour
	DefaultDownloadExpiry = 15 * time.Minute
	DefaultMaxBodyBytes   = 64 << 10

	DefaultMaxWaiters        = 4000 // 60 kB of memory each
	DefaultMaxGatewayUploads = 64   // up to 5 MiB each, 20 MiB where a video is larger than 10 GiB
)

const (
	maxObject       = 5 << 40 // bytes: the largest object of S3
	maxUploadWindow = 30 * 24 * time.Hour
	maxURLExpiry    = 7 * 24 * time.Hour
	maxBodyBytes    = 16 << 20
)

func (o Options) withDefaults() Options {
	o.MaxUploadBytes = cmp.Or(o.MaxUploadBytes, account.DefaultMaxUploadBytes)
	o.UploadWindow = cmp.Or(o.UploadWindow, DefaultUploadWindow)
	o.UploadPause = cmp.Or(o.UploadPause, connection.Pause)
	o.URLExpiry = cmp.Or(o.URLExpiry, DefaultURLExpiry)
	o.DownloadExpiry = cmp.Or(o.DownloadExpiry, DefaultDownloadExpiry)
	o.MaxBodyBytes = cmp.Or(o.MaxBodyBytes, DefaultMaxBodyBytes)
	o.Quotas = o.Quotas.Or(account.DefaultLimits)
	o.MaxWaiters = cmp.Or(o.MaxWaiters, DefaultMaxWaiters)
	o.MaxGatewayUploads = cmp.Or(o.MaxGatewayUploads, DefaultMaxGatewayUploads)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (o Options) validate() error {
	if o.Records == nil || o.Users == nil || o.Tokens == nil || o.Objects == nil || o.Queue == nil {
		return errors.New("records, users, tokens, objects and queue are required")
	}
	if u, err := url.Parse(o.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("the public URL %q must be an http or https address, such as https://tonearm.example.org", o.PublicURL)
	}
	for _, p := range o.TrustedProxies {
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() {
			return fmt.Errorf("trusted proxies %v: name the proxies alone, and IPv4 addresses as such; others could say that they come from anywhere", p)
		}
	}
	if o.MaxWaiters < account.Unlimited || o.MaxGatewayUploads < account.Unlimited {
		return errors.New("the numbers of waiters and of uploads must be 1 or more, or -1 for no limit")
	}
	return errors.Join(
		o.Quotas.Validate(),
		within("largest upload", o.MaxUploadBytes, maxObject),
		within("upload window", o.UploadWindow, maxUploadWindow),
		within("pause of an upload", o.UploadPause, maxUploadWindow),
		within("expiry of upload URLs", o.URLExpiry, maxURLExpiry),
		within("expiry of download URLs", o.DownloadExpiry, maxURLExpiry),
		within("largest JSON body", o.MaxBodyBytes, maxBodyBytes),
	)
}

func within[T int64 | time.Duration](name string, v, limit T) error {
	if v < 0 || v > limit {
		return fmt.Errorf("%s is %v; it must be between 0 and %v", name, v, limit)
	}
	return nil
}

// Gateway serves Tonearm's HTTP interface.
type Gateway struct {
	o        Options
	outage   *slog.Logger // for what many requests say while a store is away
	outbox   queue.Outbox
	told     queue.Announcer // of TopicCompleted
	limits   *limit.Shared   // of passwords and of requests for mails
	lanes    *lanes          // for passwords that are being checked
	refusals *limit.Memory   // that the audit log tells of
	meter    quota.Meter
	waiters  *quota.Slots // requests with ?wait=
	uploads  *quota.Slots // through this gateway
	origins  *http.CrossOriginProtection
	pages    []string // origins of pages that may use the JSON interface, the own one first
	metrics  *metrics
	mux      *routeMux
	api      huma.API
	options  *huma.Schema   // of conversion.Options
	problems *huma.Response // how errors are described in /openapi.json
	openAPI  []byte
}

// New returns a gateway. It contacts no store yet.
func New(o Options) (*Gateway, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	m := newMetrics()
	outage := service.Sparse(o.Log)
	g := &Gateway{
		o:      o,
		outage: outage,
		outbox: queue.Outbox{Records: o.Records, Queue: o.Queue, Log: outage, Now: o.Now,
			RecordRetention: o.RecordRetention},
		told: queue.Announcer{Queue: o.Queue, Topic: queue.TopicCompleted},
		limits: limit.NewShared(o.Limits, o.Now, func(err error) {
			outage.Warn("this gateway counts logins alone for now", "error", err)
		}),
		lanes:    newLanes(),
		meter:    quota.Meter{Records: o.Records, Users: o.Users, Defaults: o.Quotas, Now: o.Now, Log: outage},
		waiters:  quota.NewSlots(account.QuotaWaiters, o.MaxWaiters, retryAfter),
		uploads:  quota.NewSlots(account.QuotaGatewayUploads, o.MaxGatewayUploads, retryAfter),
		refusals: limit.NewMemory(o.Now),
		origins:  http.NewCrossOriginProtection(),
		metrics:  m,
		mux:      &routeMux{ServeMux: http.NewServeMux()},
	}
	if err := service.Register(o.Registerer, m.requests, m.seconds, m.found, m.refused, g.openGauge()); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	var err error
	if g.pages, err = Origins(o.PublicURL, o.CORSOrigins); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if err := g.origins.AddTrustedOrigin(g.pages[0]); err != nil {
		return nil, fmt.Errorf("gateway: public URL: %w", err)
	}
	if err := g.routes(); err != nil {
		return nil, fmt.Errorf("gateway: describe the interface: %w", err)
	}
	return g, nil
}

// Handler serves every route. The server that uses it needs time limits for
// headers and bodies, which the handlers of uploads move on (see service.Limits), and
// must not limit whole requests: uploads take hours.
func (g *Gateway) Handler() http.Handler { return http.HandlerFunc(g.serve) }
