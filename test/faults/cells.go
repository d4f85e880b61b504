package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tonearm/test/faults/proxy"
)

// fault is something that goes wrong, and where on a file's way.
type fault struct {
	name string
	text string   // for the table: what happens
	cuts []string // where it begins; with none it has a flow of its own
	ci   []string // those that CI runs, with the first seed; "-" for a fault without cuts
	tune          // of all its cells

	seeds   int  // how many of each cut; 0 means 1
	command bool // only when it is asked for by name
}

// tune is how a cell runs and is judged.
type tune struct {
	files     int // 0 means filesDefault
	uploaders int
	gap       time.Duration       // that each client waits after a file
	parts     bool                // files are uploaded in parts
	flags     map[string][]string // more flags of services
	skew      time.Duration       // how far MongoDB's clock is ahead of the programs'
	after     bool                // it begins when the request has been answered; else every second seed does

	rule    *proxy.Rule                                                                       // what happens to the requests of the cut; nil for nothing
	prepare act                                                                               // before the uploads
	begin   act                                                                               // at the cut
	hold    time.Duration                                                                     // how long the fault lasts
	heal    act                                                                               // afterwards
	flow    act                                                                               // in place of all these
	whole   func(context.Context, cell, *programs, map[string]*tone, string) (verdict, error) // in place of the world as well
	check   act                                                                               // at the end: looks for more, and complains in red
	spoil   act                                                                               // changes what is judged, to show that the judge sees it
	needs   func() string                                                                     // why it cannot run here; "" if it can

	patience     time.Duration // to wait for the end of everything; 0 means settlePatience
	watch        time.Duration // to go on looking at least
	recovery     time.Duration // most until everything is done; 0 means recoveryLimit
	lines        float64       // most log lines a second; 0 means linesLimit
	secondMails  int           // allowed
	unknownMails bool          // see evidence
	mayRefuse    bool          // see evidence
	late         bool          // see evidence
	mp3sGo       bool          // see evidence
	wantRed      []string      // the first words of the complaints that a cell with spoil must get
}

// cell is one fault at one cut with one seed.
type cell struct {
	tune
	fault, cut string
	seed       uint64
	ci         bool
	command    bool
}

func (c cell) name() string {
	if c.cut == "" {
		return fmt.Sprintf("%s/%d", c.fault, c.seed)
	}
	return fmt.Sprintf("%s/%s/%d", c.fault, c.cut, c.seed)
}

func (c cell) skip() string {
	if c.needs == nil {
		return ""
	}
	return c.needs()
}

const filesDefault = 6

// cells are all of them, in the order of faults.
func cells() (all []cell) {
	for _, f := range faults() {
		cuts := f.cuts
		if len(cuts) == 0 {
			cuts = []string{""}
		}
		if f.files == 0 {
			f.files = filesDefault
		}
		if f.patience == 0 {
			f.patience = settlePatience
		}
		if f.lines == 0 {
			f.lines = linesLimit
		}
		if f.recovery == 0 {
			f.recovery = recoveryLimit
		}
		for i, cut := range cuts {
			for seed := range max(f.seeds, 1) {
				c := cell{tune: f.tune, fault: f.name, cut: cut, seed: uint64(seed + i), command: f.command}
				for _, name := range f.ci {
					c.ci = c.ci || seed == 0 && !f.command && (name == cut || name == "-" && cut == "")
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// everywhere returns the names of some cuts. What is sent to a mail server after
// the mail's text is a case of its own: nobody knows whether it has the mail.
func everywhere(only func(cut) bool) (names []string) {
	for _, c := range cuts {
		if only(c) {
			names = append(names, c.name)
		}
	}
	return names
}

func isHTTP(c cut) bool  { return c.http }
func notMail(c cut) bool { return c.name != "mail" }

// faults is the table.
func faults() []fault {
	return slices.Concat(onRequests, onServers, onServices, alone, onMachines, onSites, named, two, spoiled)
}

// onRequests are faults of single requests.
var onRequests = []fault{
	{name: "lost", text: "three answers are lost", cuts: everywhere(notMail), ci: []string{"publish", "done", "claim", "result"},
		tune: tune{rule: &proxy.Rule{Do: proxy.LoseAnswer, Times: 3}, hold: 20 * time.Second}},
	{name: "lost-take", text: "three answers with work are lost; it comes again within seconds", cuts: []string{"take"}, ci: []string{"take"}, seeds: 2,
		tune: tune{rule: &proxy.Rule{Do: proxy.LoseAnswer, Times: 3}, hold: 20 * time.Second, recovery: 25 * time.Second}},
	{name: "drop", text: "three requests are lost", cuts: everywhere(notMail),
		tune: tune{rule: &proxy.Rule{Do: proxy.Drop, Times: 3}, hold: 20 * time.Second}},
	{name: "half", text: "a connection ends after 300 bytes of a request, three times", cuts: everywhere(isHTTP),
		tune: tune{rule: &proxy.Rule{Do: proxy.CloseAfter, Bytes: 300, Times: 3}, hold: 20 * time.Second}},
	{name: "503", text: "five requests are answered with 503", cuts: everywhere(isHTTP), ci: []string{"put"},
		tune: tune{rule: &proxy.Rule{Do: proxy.Reply, Text: proxy.Unavailable, Times: 5}, hold: 20 * time.Second}},
	{name: "hang", text: "two requests hang for 20 s", cuts: everywhere(notMail),
		tune: tune{rule: &proxy.Rule{Do: proxy.Hang, Times: 2}, hold: 20 * time.Second}},
	{name: "451", text: "the mail server answers 451 three times", cuts: []string{"mail"},
		tune: tune{rule: &proxy.Rule{Do: proxy.Reply, Text: "451 later\r\n", Times: 3}, hold: 20 * time.Second, patience: 4 * time.Minute}},
	{name: "mail-lost", text: "the connection ends after the mail's text, and the server has the mail", cuts: []string{"mail"}, ci: []string{"mail"},
		tune: tune{rule: &proxy.Rule{Do: proxy.LoseAnswer, Times: 2}, hold: 10 * time.Second, unknownMails: true, watch: 45 * time.Second}},
	{name: "mail-late", text: "the mail server's 250 comes after --smtp-timeout", cuts: []string{"mail"}, ci: []string{"mail"},
		tune: tune{rule: &proxy.Rule{Do: proxy.HoldAnswer, Delay: 12 * time.Second, Times: 2}, hold: 25 * time.Second,
			flags: map[string][]string{"notifier": {"--smtp-timeout=3s"}}, unknownMails: true, watch: 45 * time.Second}},
}

// onServers are faults of whole servers.
var onServers = []fault{
	{name: "redis-kill", text: "Redis is killed and comes back empty after 3 s", cuts: []string{"upload", "publish", "take", "result", "notice"}, ci: []string{"take"},
		tune: tune{begin: kill(redisOf), hold: 3 * time.Second, heal: restart(redisOf)}},
	{name: "redis-back", text: "Redis is restored from an older dump", cuts: []string{"take", "done", "notice"}, ci: []string{"done"},
		tune: tune{prepare: keepDump, begin: kill(redisOf), hold: time.Second, heal: restoreDump}},
	{name: "redis-stop", text: "Redis stands still for 8 s", cuts: []string{"publish", "take", "ack"},
		tune: tune{begin: freeze(redisOf), hold: 8 * time.Second, heal: thaw(redisOf)}},
	{name: "redis-key", text: "one key of the queue is lost: messages, deliveries, leases, delays, ring, a line, waiting, size", cuts: []string{"take"}, seeds: 8,
		tune: tune{begin: loseKey, after: true, flags: map[string][]string{"dispatcher": {"--max-jobs=1"}}}},
	{name: "redis-full", text: "Redis has no memory left for 10 s", cuts: []string{"publish", "take"},
		tune: tune{begin: maxmemory("1"), hold: 10 * time.Second, heal: maxmemory("0"), check: wantOnlyPublishRefused}},
	{name: "records-kill", text: "MongoDB is killed and comes back after 5 s", cuts: []string{"created", "queued", "running", "done", "sent"},
		tune: tune{begin: kill(recordsOf), hold: 5 * time.Second, heal: restart(recordsOf), secondMails: 1}},
	{name: "records-stop", text: "MongoDB stands still for 10 s", cuts: []string{"created", "queued", "running", "done", "sent"}, ci: []string{"running"},
		tune: tune{begin: freeze(recordsOf), hold: 10 * time.Second, heal: thawRecords}},
	{name: "store-kill", text: "the object store is killed for 3 s, and its notifications are lost meanwhile", cuts: []string{"upload", "read", "put"}, ci: []string{"upload"},
		tune: tune{begin: killStore, after: true, hold: 3 * time.Second, heal: restartStore, recovery: 3 * time.Minute, patience: 4 * time.Minute}},
	{name: "store-stop", text: "the object store stands still for 10 s", cuts: []string{"upload", "read", "put"},
		tune: tune{begin: freeze(storeOf), hold: 10 * time.Second, heal: thaw(storeOf)}},
	{name: "users-kill", text: "MySQL is killed for 10 s", cuts: []string{"create"}, ci: []string{"create"},
		tune: tune{begin: kill(usersOf), hold: 10 * time.Second, heal: restart(usersOf)}},
	{name: "events-lost", text: "every notification is lost", cuts: []string{"event"},
		tune: tune{rule: &proxy.Rule{Do: proxy.Drop, Times: 100}, hold: 20 * time.Second, recovery: 3 * time.Minute, patience: 4 * time.Minute}},
	{name: "lossy-redis", text: "for 20 s, each tenth answer of Redis is lost", cuts: []string{"create"}, seeds: 3, tune: lossy(gateRedis)},
	{name: "lossy-records", text: "for 20 s, each tenth answer of MongoDB is lost", cuts: []string{"create"}, seeds: 3, tune: lossy(gateRecords)},
	{name: "lossy-store", text: "for 20 s, each tenth answer of the object store is lost", cuts: []string{"create"}, seeds: 3, tune: lossy(gateStore)},
	{name: "lossy-attempts", text: "for 20 s, each tenth answer of the dispatcher to transcoders is lost", cuts: []string{"create"}, seeds: 3, tune: lossy(gateAttempts)},
}

// onServices are faults of Tonearm's own programs.
var onServices = []fault{
	{name: "gateway-kill", text: "the gateway is killed and started again", cuts: []string{"create", "created", "upload"},
		tune: tune{begin: kill(serviceOf("gateway")), hold: time.Second, heal: startAgain("gateway")}},
	{name: "dispatcher-kill", text: "the dispatcher is killed and started again", cuts: []string{"event", "queued", "publish", "take", "running", "claim", "read", "put", "result", "done", "ack"},
		tune: tune{begin: kill(serviceOf("dispatcher")), hold: time.Second, heal: startAgain("dispatcher"),
			flags: map[string][]string{"dispatcher": {"--attempt-url-expiry=40s"}}}}, // then an MP3 goes that a killed attempt has stored
	{name: "dispatcher-kill-carrying", text: "the dispatcher is killed while a launch carries six files", cuts: []string{"result"}, ci: []string{"result"},
		tune: tune{files: 12, flags: map[string][]string{"dispatcher": {"--max-files-per-job=6", "--max-jobs=1", "--attempt-url-expiry=40s"}},
			begin: kill(serviceOf("dispatcher")), hold: time.Second, heal: startAgain("dispatcher")}},
	{name: "dispatcher-stop", text: "the dispatcher stands still for 40 s", cuts: []string{"take", "running", "put"},
		tune: tune{begin: freeze(serviceOf("dispatcher")), hold: 40 * time.Second, heal: thaw(serviceOf("dispatcher")), late: true}},
	{name: "notifier-kill", text: "the notifier is killed when the mail server has accepted a mail", cuts: []string{"mail"}, ci: []string{"mail"},
		tune: tune{begin: kill(serviceOf("notifier")), after: true, hold: time.Second, heal: startAgain("notifier"), unknownMails: true, secondMails: 1, watch: 15 * time.Second}},
	{name: "notifier-stop", text: "the notifier stands still for 40 s", cuts: []string{"notice", "mail", "sent"},
		tune: tune{begin: freeze(serviceOf("notifier")), hold: 40 * time.Second, heal: thaw(serviceOf("notifier")), secondMails: 1}},
	{name: "transcoder-kill", text: "every running transcoder is killed", cuts: []string{"claim", "read", "put", "result"}, ci: []string{"read"},
		tune: tune{needs: needsLinux, begin: signalTranscoders(kill9), late: true}},
	{name: "transcoder-hang", text: "every running transcoder stops for good", cuts: []string{"claim", "read", "put", "result"}, ci: []string{"put"},
		tune: tune{needs: needsLinux, begin: signalTranscoders(stop), check: wantUncounted, late: true, recovery: 2 * time.Minute, patience: 3 * time.Minute}},
	{name: "transcoder-freeze", text: "every running transcoder stops for 60 s", cuts: []string{"read", "put"},
		tune: tune{needs: needsLinux, begin: signalTranscoders(stop), hold: 60 * time.Second, heal: signalTranscoders(cont), late: true}},
	{name: "zombie", text: "a transcoder is gone, and its PUT arrives after the next attempt is done", cuts: []string{"put"}, ci: []string{"put"},
		tune: tune{needs: needsLinux, rule: &proxy.Rule{Do: proxy.Late, Delay: 15 * time.Second, Times: 1}, begin: signalTranscoders(kill9), hold: 20 * time.Second,
			flags: map[string][]string{"dispatcher": {"--attempt-url-expiry=40s"}}}},
}
