package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tonearm/test/faults/proxy"
)

// second is the name of another dispatcher in a world.
const second = "dispatcher-2"

// two are faults with two dispatchers whose attempts are child processes.
var two = []fault{
	{name: "dispatchers", text: "of two dispatchers, the one that began an attempt stands still for 60 s", cuts: []string{"running", "put"}, command: true,
		tune: tune{prepare: secondDispatcher("attempts-2"), begin: freeze(serviceOf("dispatcher")), hold: time.Minute, heal: thaw(serviceOf("dispatcher")), late: true, patience: 4 * time.Minute}},
	{name: "dispatchers-one-folder", text: "a second dispatcher is started on the work directory of the first", cuts: []string{"claim"}, command: true,
		tune: tune{prepare: holdReads, begin: secondDispatcher("attempts"), hold: 20 * time.Second, heal: releaseReads, check: wantUncounted}},
	{name: "dispatchers-lease-stop", text: "of two dispatchers with a lease in the records, the one that has it stands still for 60 s", cuts: []string{"running", "put"},
		tune: leased(freeze(serviceOf("dispatcher")), time.Minute, loseLease)},
	{name: "dispatchers-lease-kill", text: "of two dispatchers with a lease in the records, the one that has it is killed, and started again after 30 s", cuts: []string{"take", "put"}, ci: []string{"take"},
		tune: leased(kill(serviceOf("dispatcher")), 30*time.Second, startAgain("dispatcher"))},
	{name: "dispatchers-late-end", text: "a dispatcher stands still; its transcoder is dead, and another dispatcher begins the attempt again; the first one wakes and sees the end of its own", ci: []string{"-"},
		tune: tune{flow: lateEnd, needs: needsLinux, files: 1, recovery: 30 * time.Second,
			// so that the message comes again before anybody misses the transcoder
			flags: map[string][]string{"dispatcher": {"--attempt-lease=5m"}, second: {"--attempt-lease=5m"}}}},
}

// secondDispatcher starts another dispatcher, with its work in a folder of the
// world. Where the folder is taken, it may refuse to start.
func secondDispatcher(folder string) act {
	return func(ctx context.Context, r *run) error {
		dir := filepath.Join(r.Dir(), folder)
		if dir != r.work {
			if _, err := r.Folder(folder); err != nil {
				return err
			}
		}
		events, attempts := r.gate[gateEvents].Target(), r.gate[gateAttempts].Target()
		if err := r.startService(ctx, second, "dispatcher", append(r.common, "--work-dir="+dir)); err != nil {
			return err
		}
		r.second = r.gate[gateEvents].Target()
		r.gate[gateEvents].Aim(events)
		r.gate[gateAttempts].Aim(attempts)
		if dir == r.work {
			return nil
		}
		return r.ready(ctx, r.services[second])
	}
}

// holdReads keeps attempts at work, because no source can be read.
func holdReads(_ context.Context, r *run) error {
	r.keep["reads"] = r.gate[gateStore].Add(&proxy.Rule{Match: proxy.Regexp(`^GET /tonearm/uploads/`), Do: proxy.Hang})
	return nil
}

func releaseReads(_ context.Context, r *run) error {
	r.keep["reads"].(func())()
	return nil
}

// leased is a fault of the dispatcher that has the lease. Requests go to the
// other one meanwhile, and that one must take over.
func leased(begin act, hold time.Duration, heal act) tune {
	const flag = "--lease=dispatcher"
	return tune{
		flags: map[string][]string{"dispatcher": {flag}, second: {flag}},
		files: 12, gap: 8 * time.Second, // so that files come while it lasts
		prepare: secondDispatcher("attempts-2"),
		begin: func(ctx context.Context, r *run) error {
			if r.says(second, launched) > 0 {
				r.red = append(r.red, "lease: both dispatchers launch")
			}
			if err := begin(ctx, r); err != nil {
				return err
			}
			r.failOver()
			return nil
		},
		hold: hold,
		heal: func(ctx context.Context, r *run) error {
			if r.says(second, launched) == 0 {
				r.red = append(r.red, "lease: the second dispatcher has not taken over")
			}
			return heal(ctx, r)
		},
		late: true, patience: 4 * time.Minute,
	}
}

// Messages in the log of a dispatcher.
const (
	launched    = "attempt launched"
	launchEnded = "launch ended"
)

// says is how many lines of a service's log have a message.
func (r *run) says(name, message string) int {
	b, err := os.ReadFile(r.services[name].Log)
	if err != nil {
		return 0
	}
	return bytes.Count(b, []byte(`"msg":"`+message+`"`))
}

// failOver sends requests to the second dispatcher, as a load balancer does.
func (r *run) failOver() {
	for _, name := range []string{gateEvents, gateAttempts} {
		r.gate[name].Aim(r.second)
		r.gate[name].Cut()
	}
}

// loseLease continues the first dispatcher. It has lost its lease and must end;
// then it is started again.
func loseLease(ctx context.Context, r *run) error {
	first := r.services["dispatcher"]
	gone := first.Done()
	if err := first.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		r.red = append(r.red, "lease: who has lost it goes on")
		first.Kill()
	case <-ctx.Done():
		return ctx.Err()
	}
	return startAgain("dispatcher")(ctx, r)
}

// lateEnd freezes a dispatcher when it has launched an attempt and its message
// is not acknowledged, and kills the transcoder. The message comes again to
// another dispatcher. While that one's transcoder is at work, the first wakes.
func lateEnd(ctx context.Context, r *run) error {
	claims := &proxy.Rule{Match: proxy.Regexp(`^POST /attempts/[^ ]*/claim `), Do: proxy.Hang}
	release := r.gate[gateAttempts].Add(claims)
	defer release()
	ack, _ := findCut("ack")
	frozen := make(chan error, 1)
	defer r.gate[gateRedis].Add(&proxy.Rule{Match: ack.match(r.world), Times: 1, Do: proxy.Drop, Strike: func([]byte) {
		err := r.services["dispatcher"].Signal(syscall.SIGSTOP)
		frozen <- errors.Join(err, signalTranscoders(kill9)(ctx, r))
	}})()
	r.add(r.client, "low.mp4", false)
	r.start(ctx)
	select {
	case err := <-frozen:
		if err != nil {
			return fmt.Errorf("freeze the first dispatcher: %w", err)
		}
	case <-time.After(strikePatience):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := secondDispatcher("attempts-2")(ctx, r); err != nil {
		return err
	}
	r.failOver()
	before := claims.Struck()
	if err := await(ctx, 2*time.Minute, "the second transcoder claims the attempt", func() bool { return claims.Struck() > before }); err != nil {
		return err
	}
	ends := r.says("dispatcher", launchEnded)
	if err := r.services["dispatcher"].Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := await(ctx, time.Minute, "the first dispatcher sees the end", func() bool { return r.says("dispatcher", launchEnded) > ends }); err != nil {
		return err
	}
	pause(ctx, 2*time.Second) // to write what it makes of that
	r.struck, r.ended = 1, time.Now()
	release()
	r.patient(ctx, r.cell.patience, 0)
	s, err := r.see(ctx, false, nil)
	if err != nil {
		return err
	}
	for _, d := range s.documents {
		if d.Attempt != 1 {
			r.red = append(r.red, fmt.Sprintf("attempt: %s needed %d attempts, want 1", d.ID, d.Attempt))
		}
	}
	return nil
}

// await waits until ok.
func await(ctx context.Context, limit time.Duration, what string, ok func() bool) error {
	for late := time.After(limit); !ok(); {
		select {
		case <-late:
			return errors.New("still not: " + what)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(look):
		}
	}
	return nil
}
