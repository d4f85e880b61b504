package service

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"tonearm/internal/connection"
)

// Limits of the clients of an HTTP server. A client that takes longer loses its
// connection.
type Limits struct {
	Connections connection.Limits

	// Header is how long the header of a request may take; default 10 s. A new
	// connection has as long to begin it.
	Header time.Duration
	// Body is how long after its header the body of a request may take; default
	// 15 s. It holds until the body or the answer is out, also where the handler does
	// not read. A handler that takes long bodies moves the deadline of the connection
	// while it reads: see connection.Steady.
	Body time.Duration
	// Idle is how long a connection may be without a request; default 2 min.
	Idle time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Header = cmp.Or(l.Header, 10*time.Second)
	l.Body = cmp.Or(l.Body, 15*time.Second)
	l.Idle = cmp.Or(l.Idle, 2*time.Minute)
	return l
}

// ListenHTTP returns a part that listens on addr, the value of a flag, once
// everything before it has started, and serves handler as HTTP does.
func ListenHTTP(flag, addr string, handler http.Handler, drain time.Duration, limits Limits, log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		l, err := Listen(ctx, flag, addr)
		if err != nil {
			return err
		}
		log.Info("listening", "address", l.Addr().String())
		return HTTP(l, handler, drain, limits, log)(ctx)
	}
}

type stopping struct{}

// Stopping returns a channel that is closed when the server of this request
// begins to stop, so that handlers which wait for something can answer at once.
// Outside of HTTP it returns nil.
func Stopping(ctx context.Context) <-chan struct{} {
	done, _ := ctx.Value(stopping{}).(<-chan struct{})
	return done
}

// HTTP returns a part that serves handler on l until it is stopped, then lets
// running requests finish for up to drain.
func HTTP(l net.Listener, handler http.Handler, drain time.Duration, limits Limits, log *slog.Logger) func(context.Context) error {
	limits = limits.withDefaults()
	return func(ctx context.Context) error {
		sparse := Sparse(log)
		table := connection.NewTable(limits.Connections, func(from netip.Prefix) {
			sparse.Warn("refused a connection: too many are open", "network", from.String(), "address", l.Addr().String())
		})
		server := &http.Server{
			Handler:           limits.hold(handler),
			ReadHeaderTimeout: limits.Header,
			IdleTimeout:       limits.Idle,
			MaxHeaderBytes:    64 << 10,
			ConnState:         table.State,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
			BaseContext: func(net.Listener) context.Context {
				return context.WithValue(context.WithoutCancel(ctx), stopping{}, ctx.Done())
			},
		}
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(l) }()
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
		}
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if err := server.Shutdown(stopCtx); err != nil {
			server.Close()
		}
		return nil
	}
}

// harmless tells browsers that an answer is no page. A handler that serves pages
// says otherwise.
func harmless(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
}

// hold sets the deadline of bodies. The server reads the rest of a body that the
// handler leaves, before it answers, so the deadline must not end with the handler.
func (l Limits) hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harmless(w.Header())
		if r.ContentLength != 0 { // -1 where it is not known
			// The server takes it away once the whole body is there. An error means that the
			// connection has failed.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(l.Body))
		}
		next.ServeHTTP(w, r)
	})
}
