package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"tonearm/test/faults/proxy"
)

// named are cells that run only when they are asked for by name: they take long,
// or much of a machine.
var named = []fault{
	{name: "all-down", text: "all servers and services are killed at once, and come back after 5 s", cuts: []string{"upload", "running", "put"}, command: true,
		tune: tune{begin: killAll, hold: 5 * time.Second, heal: restartAll, recovery: 3 * time.Minute, patience: 5 * time.Minute, secondMails: 1, late: true}},
	{name: "hang-redis", text: "Redis answers nothing for 3 min", cuts: []string{"take"}, command: true, tune: hangs(gateRedis)},
	{name: "hang-records", text: "MongoDB answers nothing for 3 min", cuts: []string{"running"}, command: true, tune: hangs(gateRecords)},
	{name: "hang-store", text: "the object store answers nothing for 3 min", cuts: []string{"read"}, command: true, tune: hangs(gateStore)},
	{name: "hang-attempts", text: "the dispatcher answers transcoders nothing for 3 min", cuts: []string{"result"}, command: true, tune: hangs(gateAttempts)},
	{name: "hang-mail", text: "the mail server answers nothing for 3 min", cuts: []string{"notice"}, command: true, tune: hangs(gateSMTP)},
	{name: "clients", text: "500 clients upload, and Redis is killed and comes back empty", cuts: []string{"take"}, command: true,
		// FerretDB reads all documents for most queries, so that it, and not Tonearm, says how long this takes.
		tune: tune{files: 500, uploaders: 500, begin: kill(redisOf), hold: 3 * time.Second, heal: restart(redisOf), recovery: 40 * time.Minute, patience: 45 * time.Minute}},
	{name: "parts-store-kill", text: "the object store is killed for 3 s while files come in parts", cuts: []string{"upload"}, seeds: 3, command: true,
		tune: tune{parts: true, begin: killStore, hold: 3 * time.Second, heal: restartStore, recovery: 3 * time.Minute, patience: 4 * time.Minute}},
	{name: "parts-lost", text: "three answers are lost while files come in parts", cuts: []string{"create", "created", "upload", "queued"}, command: true,
		tune: tune{parts: true, rule: &proxy.Rule{Do: proxy.LoseAnswer, Times: 3}, hold: 20 * time.Second}},
	{name: "kill-20", text: "services and transcoders are killed twenty times", seeds: 3, command: true,
		tune: tune{flow: killOften, files: 60, late: true, unknownMails: true, secondMails: 20, recovery: 4 * time.Minute, patience: mailPatience}},
	{name: "mail-drop", text: "the connection ends before the end of the mail's text reaches the server, three times", cuts: []string{"mail"}, command: true,
		tune: tune{rule: &proxy.Rule{Do: proxy.Drop, Times: 3}, hold: 20 * time.Second, patience: mailPatience}},
	{name: "notifier-kill-long", text: "the notifier is killed when the mail server has accepted a mail; what happens to the mail later", cuts: []string{"mail"}, command: true,
		tune: tune{begin: kill(serviceOf("notifier")), after: true, heal: startAgain("notifier"), secondMails: 1, patience: mailPatience}},
}

// mailPatience is longer than a notifier waits when nobody knows whether the mail
// server has a mail.
const mailPatience = 13 * time.Minute

func killAll(_ context.Context, r *run) error {
	for _, name := range names {
		r.services[name].Kill()
	}
	r.redis.Kill()
	r.records.Kill()
	r.users.Kill()
	r.store.Kill()
	return nil
}

// restartAll starts the services first: they wait for their servers.
func restartAll(ctx context.Context, r *run) error {
	for _, name := range names {
		if err := r.services[name].Start(); err != nil {
			return err
		}
	}
	for _, part := range []interface{ Restart(context.Context) error }{r.records, r.users, r.store, r.redis} {
		if err := part.Restart(ctx); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := r.ready(ctx, r.services[name]); err != nil {
			return err
		}
	}
	return nil
}

// hangs holds every request at a gate for three minutes.
func hangs(gate string) tune {
	return tune{
		begin: func(_ context.Context, r *run) error {
			r.keep["hang"] = r.gate[gate].Add(&proxy.Rule{Do: proxy.Hang})
			return nil
		},
		hold: 3 * time.Minute,
		heal: func(_ context.Context, r *run) error {
			r.keep["hang"].(func())()
			r.gate[gate].Cut() // requests that are three minutes old
			return nil
		},
		late: true, secondMails: 1, recovery: 3 * time.Minute, patience: mailPatience,
	}
}

// killOften kills one program after the other and starts it again.
func killOften(ctx context.Context, r *run) error {
	const kills = 20
	r.begin(ctx)
	for range kills {
		pause(ctx, time.Duration(500+r.rnd.IntN(2000))*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		name := append(append([]string(nil), names...), "transcoder")[r.rnd.IntN(len(names)+1)]
		if name == "transcoder" {
			if err := signalTranscoders(syscall.SIGKILL)(ctx, r); err != nil && !errors.Is(err, errIdle) {
				return err
			}
			r.struck++
			continue
		}
		r.services[name].Kill()
		if err := startAgain(name)(ctx, r); err != nil {
			return fmt.Errorf("start %s again: %w", name, err)
		}
		r.struck++
	}
	r.ended = time.Now()
	return nil
}
