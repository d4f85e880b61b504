// Package service is what all Tonearm processes do in the same way: react to
// signals, serve an admin listener, wait for their neighbours, and stop in
// order.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tonearm/internal/retry"
)

// SignalContext returns a context that the first SIGINT or SIGTERM cancels. A
// second one ends the process at once.
func SignalContext(parent context.Context, log *slog.Logger) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			log.Info("stopping", "signal", s.String())
			cancel()
		case <-ctx.Done():
			return
		}
		<-signals
		os.Exit(130)
	}()
	return ctx, cancel
}

// Process runs the parts of a service. Parts start in the order they are added
// and stop in the reverse order, each one only after the ones started later
// have returned. It is ready once all have started and every check of Health
// passes, until it begins to stop.
type Process struct {
	Health Health
	log    *slog.Logger
	parts  []part
}

type part struct {
	name string
	run  func(ctx context.Context) error
	try  func(ctx context.Context) error // if set, there is no run: the next parts start once try has succeeded
}

// NewProcess returns a process without parts.
func NewProcess(log *slog.Logger) *Process { return &Process{log: log} }

// Add adds a part: run works until its context is canceled, then cleans up and
// returns. A part that returns earlier stops the whole process.
func (p *Process) Add(name string, run func(ctx context.Context) error) {
	p.parts = append(p.parts, part{name: name, run: run})
}

// Await makes the parts added later start only once try has succeeded, however
// often it has to be called. Each call may take 10 s.
func (p *Process) Await(name string, try func(ctx context.Context) error) {
	p.parts = append(p.parts, part{name: name, try: limited(try)})
}

// Prepare is Await for work that may take long, such as building indexes: a try
// ends only with the process. prepare itself bounds its waits for servers.
func (p *Process) Prepare(name string, prepare func(ctx context.Context) error) {
	p.parts = append(p.parts, part{name: name, try: prepare})
}

// Run starts all parts and stops them once ctx is canceled or one of them has
// returned. It returns the error of the part that stopped first, nil after an
// orderly stop.
func (p *Process) Run(ctx context.Context) error {
	starting, stopStarting := context.WithCancel(ctx)
	defer stopStarting()
	ends := make(chan error, len(p.parts))
	var running []func() // each stops one part and waits for it
	p.Health.set("starting")
	for _, part := range p.parts {
		if starting.Err() != nil {
			break
		}
		if part.try != nil {
			if await(starting, p.log, part.name, part.try) != nil {
				break
			}
			continue
		}
		partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		gone := make(chan struct{})
		running = append(running, func() { cancel(); <-gone })
		go func() {
			err := part.run(partCtx)
			if partCtx.Err() == nil {
				p.log.Error("a part of this process ended, stopping the others", "part", part.name, "error", err)
				if err == nil {
					err = errors.New("ended")
				}
				ends <- fmt.Errorf("%s: %w", part.name, err)
				stopStarting()
			} else if err != nil {
				p.log.Warn("a part did not stop cleanly", "part", part.name, "error", err)
			}
			close(gone)
		}()
	}
	if starting.Err() == nil {
		p.Health.set("")
	}
	<-starting.Done()
	p.Health.set("stopping")
	for i := len(running) - 1; i >= 0; i-- {
		running[i]()
	}
	select {
	case err := <-ends:
		return err
	default:
		return nil
	}
}

// Listen listens on addr, the value of a flag such as "listen". Its errors name
// the flag and say what to do.
func Listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, ListenError(flag, addr, err)
	}
	return l, nil
}

// ListenError explains why addr, the value of a flag, cannot be listened on.
func ListenError(flag, addr string, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case syscall.EADDRINUSE:
		return fmt.Errorf("another program uses %s: stop it, or choose another address with --%s (%w)", addr, flag, errno)
	case syscall.EADDRNOTAVAIL:
		return fmt.Errorf("this machine does not have the address %s: choose another one with --%s (%w)", addr, flag, errno)
	case syscall.EACCES:
		return fmt.Errorf("this user may not listen on %s: choose a port above 1023 with --%s (%w)", addr, flag, errno)
	}
	return fmt.Errorf("--%s: %w", flag, err)
}

// pauses are the pauses of a service while a neighbour fails.
var pauses = retry.Policy{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.25}

// Await calls try, for at most 10 s each time, until it succeeds or ctx is
// done. Its pauses grow up to 5 s, and it logs what it waits for.
func Await(ctx context.Context, log *slog.Logger, what string, try func(context.Context) error) error {
	return await(ctx, log, what, limited(try))
}

func limited(try func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return try(ctx)
	}
}

func await(ctx context.Context, log *slog.Logger, what string, try func(context.Context) error) error {
	p, waited := pauses, false
	p.Before = func(err error, _ time.Duration) {
		waited = true
		log.Warn("waiting", "what", what, "error", err)
	}
	err := retry.Forever(ctx, p, try)
	if err == nil && waited {
		log.Info("available", "what", what)
	}
	return err
}

// Wait waits for about d, or until ctx is done.
func Wait(ctx context.Context, d time.Duration) {
	if d > 0 {
		d += rand.N(d/4 + 1)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Repeat calls step again and again until ctx is done. After an error it logs
// and pauses up to 5 s between calls, and it logs when step works again. A
// long outage is one line a minute; several callers that share a Sparse logger
// share that line.
func Repeat(ctx context.Context, log *slog.Logger, what string, step func(context.Context) error) {
	failed := Sparse(log)
	for ctx.Err() == nil {
		p, failing := pauses, false
		p.Before = func(err error, _ time.Duration) {
			failing = true
			failed.Error("failed, trying again", "what", what, "error", err)
		}
		if retry.Forever(ctx, p, step) == nil && failing {
			log.Info("works again", "what", what)
		}
	}
}
