package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
	"tonearm/internal/service"
)

// Options is what a Gateway is made of. The first five fields and PublicURL
// are required.
type Options struct {
	Records  conversion.Store
	Accounts account.Store
	Tokens   account.Tokens
	Blobs    blob.Store
	Queue    queue.Queue

	// PublicURL is where people reach the gateway, such as
	// https://tonearm.example.org. It appears in the OpenAPI description.
	PublicURL string
	// OpenRegistration lets anybody make an account by POST /v1/users.
	OpenRegistration bool
	// MaxUploadBytes limits one video of a user without a limit of their own;
	// 0 for 100 GiB, at most 5 TiB.
	MaxUploadBytes int64
	// UploadWindow is how long an upload may take before its conversion expires;
	// 0 for 24 h.
	UploadWindow time.Duration
	// URLExpiry is how long presigned upload URLs are good; 0 for 1 h, at most
	// 7 days.
	URLExpiry time.Duration
	// DownloadExpiry is the same for presigned downloads; 0 for 15 min.
	DownloadExpiry time.Duration
	// MaxBodyBytes limits the JSON bodies of requests; 0 for 64 KiB.
	MaxBodyBytes int64

	Log        *slog.Logger          // nil for none
	Registerer prometheus.Registerer // nil for none
	Now        func() time.Time      // nil for time.Now
}

const (
	maxObject    = 5 << 40 // bytes: the largest object of S3
	maxURLExpiry = 7 * 24 * time.Hour
)

func (o *Options) complete() error {
	for name, missing := range map[string]bool{
		"Records": o.Records == nil, "Accounts": o.Accounts == nil, "Tokens": o.Tokens == nil,
		"Blobs": o.Blobs == nil, "Queue": o.Queue == nil,
	} {
		if missing {
			return fmt.Errorf("gateway: %s is not set", name)
		}
	}
	if u, err := url.Parse(o.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("gateway: public URL %q is not an http or https address", o.PublicURL)
	}
	errs := []error{
		within("largest upload", &o.MaxUploadBytes, 100<<30, maxObject),
		within("upload window", &o.UploadWindow, 24*time.Hour, 30*24*time.Hour),
		within("expiry of upload URLs", &o.URLExpiry, time.Hour, maxURLExpiry),
		within("expiry of download URLs", &o.DownloadExpiry, 15*time.Minute, maxURLExpiry),
		within("largest JSON body", &o.MaxBodyBytes, 64<<10, 16<<20),
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return errors.Join(errs...)
}

// within sets *v to standard where it is zero and checks that it is positive
// and at most limit.
func within[T int64 | time.Duration](name string, v *T, standard, limit T) error {
	if *v == 0 {
		*v = standard
	}
	if *v < 0 || *v > limit {
		return fmt.Errorf("gateway: %s of %v is not within 0 and %v", name, *v, limit)
	}
	return nil
}

// Gateway serves Tonearm's HTTP interface.
type Gateway struct {
	o        Options
	outbox   queue.Outbox
	logins   *throttle
	metrics  *metrics
	mux      *routeMux
	api      huma.API
	options  *huma.Schema   // of conversion.Options
	problems *huma.Response // how errors are described in /openapi.json
	openAPI  []byte
}

// New returns a gateway. It reaches for no store yet.
func New(o Options) (*Gateway, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	m := newMetrics()
	if err := service.Register(o.Registerer, m.requests, m.seconds); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		o:       o,
		outbox:  queue.Outbox{Records: o.Records, Queue: o.Queue, Log: o.Log, Now: o.Now},
		logins:  newThrottle(o.Now),
		metrics: m,
		mux:     &routeMux{ServeMux: http.NewServeMux()},
	}
	if err := g.routes(); err != nil {
		return nil, fmt.Errorf("gateway: describe the interface: %w", err)
	}
	return g, nil
}

// Handler serves every route. A server around it needs a limit on the time for
// headers, and none on whole requests: uploads take hours.
func (g *Gateway) Handler() http.Handler { return http.HandlerFunc(g.serve) }
