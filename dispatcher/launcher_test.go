package dispatcher_test

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// launcher runs attempts as goroutines that speak to the dispatcher over HTTP.
// Running attempts outlive a dispatcher, as on Kubernetes, unless the launcher
// is mortal.
type launcher struct {
	url string

	mu       sync.Mutex
	script   func(*agent) launch.End                     // what attempts do that start from now on
	carried  func(*agent, attempt.Assignment) launch.End // what a launch does with each file it goes on with
	refuse   func(launch.Spec) error                     // Start's error; nil for none
	waits    conversion.WaitReason                       // what attempts wait for that start from now on, before their script
	room     chan struct{}                               // closed once they need wait no longer
	late     bool                                        // they have waited for too long
	mortal   bool                                        // Close ends running attempts
	attempts map[conversion.AttemptRef]*agent            // until Stop
	starts   map[conversion.AttemptRef]int
	specs    []launch.Spec
	order    []launch.Attempt                                // starts and carried attempts, in order
	carriers map[conversion.AttemptRef]conversion.AttemptRef // launches by the attempts that they carried
	stops    map[conversion.AttemptRef]int
	ends     []launch.End
	wake     chan struct{}
	wg       sync.WaitGroup
}

func newLauncher(url string) *launcher {
	return &launcher{
		url: url, script: finish, carried: (*agent).deliver, wake: make(chan struct{}, 1),
		attempts: map[conversion.AttemptRef]*agent{}, starts: map[conversion.AttemptRef]int{}, stops: map[conversion.AttemptRef]int{},
		carriers: map[conversion.AttemptRef]conversion.AttemptRef{},
	}
}

// set changes the launcher's behaviour.
func (l *launcher) set(change func(*launcher)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// started counts how often each attempt of a conversion was started.
func (l *launcher) started(id string) map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[int]int{}
	for r, n := range l.starts {
		if r.ConversionID == id {
			counts[r.Attempt] = n
		}
	}
	return counts
}

// classes lists the classes of a conversion's attempts, in order.
func (l *launcher) classes(id string) []conversion.Class {
	l.mu.Lock()
	defer l.mu.Unlock()
	var classes []conversion.Class
	for _, a := range l.order {
		if a.ConversionID == id {
			classes = append(classes, a.Class)
		}
	}
	return classes
}

func (l *launcher) stopped(r conversion.AttemptRef) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stops[r] > 0
}

func (l *launcher) Start(_ context.Context, s launch.Spec) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		if err := l.refuse(s); err != nil {
			return err
		}
	}
	if l.attempts[s.AttemptRef] != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &agent{
		Client: attempt.Client{BaseURL: l.url, ConversionID: s.ConversionID, Token: s.Token, Launch: s.Launch},
		Spec:   s, launcher: l, launch: s.AttemptRef, ctx: ctx, cancel: cancel, gone: make(chan struct{}), nonce: "nonce of " + s.String(),
	}
	l.specs = append(l.specs, s)
	l.attempts[s.AttemptRef] = a
	l.starts[s.AttemptRef]++
	l.order = append(l.order, launch.Attempt{AttemptRef: s.AttemptRef, Class: s.Class})
	a.began, a.waits = time.Now(), l.waits
	script, room := l.script, l.room
	l.wg.Go(func() {
		if a.waits != "" {
			script = a.after(room, script)
		}
		end := script(a)
		if ctx.Err() != nil && end.Reason == "" {
			end = launch.End{Reason: launch.Stopped}
		}
		end.AttemptRef, end.Launch = s.AttemptRef, s.Launch
		l.mu.Lock()
		defer l.mu.Unlock()
		close(a.gone)
		if end.Reason != vanished {
			l.ends = append(l.ends, end)
		}
		select {
		case l.wake <- struct{}{}:
		default:
		}
	})
	return nil
}

func (l *launcher) Stop(ctx context.Context, r conversion.AttemptRef) error {
	l.mu.Lock()
	a := l.attempts[r]
	l.stops[r]++
	l.mu.Unlock()
	if a == nil {
		return nil
	}
	a.cancel()
	select {
	case <-a.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.attempts, r)
	return nil
}

func (l *launcher) Running(context.Context) ([]launch.Attempt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	running := []launch.Attempt{}
	for r, a := range l.attempts {
		if a.runs() {
			running = append(running, launch.Attempt{
				AttemptRef: r, Class: a.Class, Launch: a.Spec.Launch, Since: a.began, Waiting: a.waits, Late: a.waits != "" && l.late,
			})
		}
	}
	return running, nil
}

func (l *launcher) Watch(ctx context.Context, ended func(launch.End)) error {
	for {
		l.mu.Lock()
		ends := l.ends
		l.ends = nil
		l.mu.Unlock()
		for _, e := range ends {
			ended(e)
		}
		if len(ends) > 0 {
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *launcher) Close() error {
	l.mu.Lock()
	mortal := l.mortal
	l.mu.Unlock()
	if mortal {
		l.end()
	}
	return nil
}

// end ends everything that runs.
func (l *launcher) end() {
	l.mu.Lock()
	agents := slices.Collect(func(yield func(*agent) bool) {
		for _, a := range l.attempts {
			if !yield(a) {
				return
			}
		}
	})
	l.mu.Unlock()
	for _, a := range agents {
		a.cancel()
		<-a.gone
	}
}

// agent is one attempt.
type agent struct {
	attempt.Client
	launch.Spec
	launcher *launcher
	launch   conversion.AttemptRef // its own launch, or the one that carries it
	ctx      context.Context       // done once it was told to stop
	cancel   context.CancelFunc
	gone     chan struct{}
	nonce    string

	began time.Time             // guarded by launcher.mu, like waits
	waits conversion.WaitReason // what it waits for
}

// after is the script of an attempt that has to wait for room first.
func (a *agent) after(room <-chan struct{}, script func(*agent) launch.End) func(*agent) launch.End {
	return func(a *agent) launch.End {
		select {
		case <-room:
		case <-a.ctx.Done():
			return launch.End{Reason: launch.Stopped}
		}
		a.launcher.set(func(*launcher) { a.began, a.waits = time.Now(), "" })
		return script(a)
	}
}

func (a *agent) runs() bool {
	select {
	case <-a.gone:
		return false
	default:
		return true
	}
}

// vanished: nobody sees the end.
const vanished launch.Reason = "vanished"

func exited(code int) launch.End { return launch.End{Reason: launch.Exited, ExitCode: code} }

// finish does all that a transcoder does.
func finish(a *agent) launch.End {
	as, err := a.Claim(a.ctx, a.nonce)
	if err != nil {
		return a.ended(err)
	}
	return a.deliver(as)
}

// deliver does what a transcoder does once it has its assignment.
func (a *agent) deliver(as attempt.Assignment) launch.End {
	g, err := a.Progress(a.ctx, attempt.Progress{Nonce: a.nonce, Progress: conversion.Progress{Phase: conversion.PhaseEncoding}})
	if err != nil {
		return a.ended(err)
	}
	if g.Stop {
		return exited(attempt.ExitStopped)
	}
	if err := store(a.ctx, as.Target, a.mp3()); err != nil {
		return exited(attempt.ExitFailed)
	}
	return a.report(a.result(), attempt.ExitDone)
}

// report reports the result, and goes on with the next file if it gets one.
func (a *agent) report(r attempt.Result, code int) launch.End {
	r.NextNonce = a.nextNonce()
	taken, err := a.Result(a.ctx, r)
	if err != nil {
		return a.ended(err)
	}
	if taken.Next == nil {
		return exited(code)
	}
	return a.follow(*taken.Next)
}

func (a *agent) nextNonce() string { return "nonce after " + a.String() }

// follow goes on with the next file as launcher.carried says.
func (a *agent) follow(next attempt.Next) launch.End {
	as := next.Assignment
	b := *a
	b.Spec = launch.Spec{AttemptRef: conversion.AttemptRef{ConversionID: as.ConversionID, Attempt: as.Attempt}, Class: as.Class, Token: next.Token, SourceSize: as.SourceSize}
	b.nonce = a.nextNonce()
	b.Client = attempt.Client{BaseURL: a.BaseURL, ConversionID: as.ConversionID, Token: next.Token}
	a.launcher.mu.Lock()
	a.launcher.order = append(a.launcher.order, launch.Attempt{AttemptRef: b.AttemptRef, Class: as.Class})
	a.launcher.carriers[b.AttemptRef] = a.launch
	script := a.launcher.carried
	a.launcher.mu.Unlock()
	return script(&b, as)
}

func (a *agent) ended(err error) launch.End {
	switch {
	case a.ctx.Err() != nil:
		return launch.End{Reason: launch.Stopped}
	case errors.Is(err, attempt.ErrStale):
		return exited(attempt.ExitStopped)
	}
	return exited(attempt.ExitNoReport)
}

// mp3 is what the attempt makes of the source.
func (a *agent) mp3() string { return "MP3 of " + a.String() }

func (a *agent) result() attempt.Result {
	return attempt.Result{
		Nonce:  a.nonce,
		Source: &conversion.Source{Container: "mov", Codec: "aac", Duration: 1, Size: a.SourceSize},
		MP3:    &conversion.MP3{Size: int64(len(a.mp3())), Duration: 1, SHA256: "…", LengthChecked: true},
	}
}

// crash claims, then ends without a report.
func crash(a *agent) launch.End {
	if _, err := a.Claim(a.ctx, a.nonce); err != nil {
		return a.ended(err)
	}
	return launch.End{Reason: launch.Killed}
}

// hang claims and is silent from then on.
func hang(a *agent) launch.End {
	if _, err := a.Claim(a.ctx, a.nonce); err != nil {
		return a.ended(err)
	}
	<-a.ctx.Done()
	return launch.End{Reason: launch.Stopped}
}

// idle does nothing until it is stopped; the test plays its process.
func idle(a *agent) launch.End {
	<-a.ctx.Done()
	return launch.End{Reason: launch.Stopped}
}

// vanish claims and ends, and nobody sees that.
func vanish(a *agent) launch.End {
	if _, err := a.Claim(a.ctx, a.nonce); err != nil {
		return a.ended(err)
	}
	return launch.End{Reason: vanished}
}

// fail reports a failure.
func fail(final bool) func(*agent) launch.End {
	return func(a *agent) launch.End {
		if _, err := a.Claim(a.ctx, a.nonce); err != nil {
			return a.ended(err)
		}
		return a.fail(final)
	}
}

func (a *agent) fail(final bool) launch.End {
	f, code := conversion.Failure{Code: conversion.CodeStore, Message: "The store did not answer."}, attempt.ExitFailed
	if final {
		f, code = conversion.Failure{Code: conversion.CodeNoAudio, Message: "There is no sound."}, attempt.ExitBadInput
	}
	return a.report(attempt.Result{Nonce: a.nonce, Failure: &f, Final: final}, code)
}

// inTurn gives each attempt of a conversion the script with its number. Further
// attempts get the last script.
func inTurn(scripts ...func(*agent) launch.End) func(*agent) launch.End {
	return func(a *agent) launch.End { return scripts[min(a.Attempt, len(scripts))-1](a) }
}

// store sends content with a presigned PUT.
func store(ctx context.Context, r attempt.Request, content string) error {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, strings.NewReader(content))
	if err != nil {
		return err
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	sum := md5.Sum([]byte(content))
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the store answered %s", resp.Status)
	}
	return nil
}

func onWire(r blob.Request) attempt.Request {
	header := map[string]string{}
	for name := range r.Header {
		header[name] = r.Header.Get(name)
	}
	return attempt.Request{Method: r.Method, URL: r.URL, Header: header}
}
