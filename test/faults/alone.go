package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/test/faults/proxy"
)

// alone are faults with a flow of their own.
var alone = []fault{
	{name: "none", text: "nothing", ci: []string{"-"}, tune: tune{flow: nothing, recovery: 30 * time.Second}},
	{name: "clocks-behind", text: "the clocks of all programs are an hour behind that of the records", ci: []string{"-"}, tune: tune{flow: otherTime, skew: time.Hour}},
	{name: "clocks-ahead", text: "the clocks of all programs are an hour ahead of that of the records", ci: []string{"-"}, tune: tune{flow: otherTime, skew: -time.Hour}},
	{name: "spool-full", text: "the disk of the attempts is full for 25 s", ci: []string{"-"},
		tune: tune{flow: spoolFull, needs: needsRoot, files: 10, recovery: 2 * time.Minute, patience: 3 * time.Minute}},
	{name: "power", text: "the power of the machine with tonearm up fails", ci: []string{"-"}, seeds: 2, tune: power},
	{name: "power-again", text: "the same, ten times", seeds: 10, command: true, tune: power},
	{name: "leftovers", text: "files fail, are canceled, or come after they were canceled, and the times of sources and MP3s end",
		tune: tune{flow: leftovers, files: 2, mp3sGo: true, mayRefuse: true, recovery: 2 * time.Minute,
			flags: map[string][]string{"dispatcher": {"--source-retention=5s", "--mp3-retention=20s", "--attempt-url-expiry=20s"}, "gateway": {"--upload-window=20s"}}}},
	{name: "events-silent", text: "no notification comes for 6 min; readiness and a metric say so", command: true,
		tune: tune{flow: silent, files: 2, recovery: 2 * time.Minute, patience: 4 * time.Minute}},
	{name: "store-away", text: "the object store answers transcoders nothing for longer than they wait; nothing is counted", cuts: []string{"read"}, command: true,
		tune: tune{rule: &proxy.Rule{Do: proxy.Hang, Times: 1000}, hold: storePatience + time.Minute, files: 2, after: true, check: wantUncounted,
			recovery: 6 * time.Minute, patience: 8 * time.Minute, late: true}},
	{name: "plain", text: "the answers to two plain uploads are lost, and the client repeats them", tune: tune{flow: plain, files: 4}},
	{name: "outage-redis", text: "Redis is away for 60 s; the gateway stays ready, and a service logs at most one line each 5 s", tune: tune{flow: outage(redisOf), lines: 0.2, files: 2}},
	{name: "outage-records", text: "MongoDB is away for 60 s; a service logs at most one line each 5 s", tune: tune{flow: outage(recordsOf), lines: 0.2, files: 2}},
	{name: "expired", text: "uploads end after the upload window, their notifications are lost, and the dispatcher is started again", ci: []string{"-"},
		tune: tune{flow: expired, mayRefuse: true, flags: map[string][]string{"gateway": {"--upload-window=6s"}}, recovery: 2 * time.Minute, patience: 3 * time.Minute}},
}

// wantSick complains unless the dispatcher says that its machine is not well.
func (r *run) wantSick(ctx context.Context) error {
	stopped, err := metric(ctx, r.services["dispatcher"], "tonearm_attempts_stopped", `class="cpu"`)
	if err != nil {
		return err
	}
	ready, err := get(ctx, "http://"+r.services["dispatcher"].admin+"/readyz")
	if err != nil {
		return err
	}
	if stopped != 1 || !bytes.Contains(ready, []byte("takes no work")) {
		r.red = append(r.red, fmt.Sprintf("sick: nobody says that the machine is not well: %v, %s", stopped, ready))
	}
	return nil
}

var power = tune{whole: powerCut, needs: needsDisk}

// nothing uploads without a fault.
func nothing(ctx context.Context, r *run) error {
	r.struck = 1
	r.begin(ctx)
	return nil
}

func needsLinux() string {
	if runtime.GOOS != "linux" {
		return "needs Linux, to find processes"
	}
	return ""
}

func needsRoot() string {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return "needs Linux and root, to mount"
	}
	return ""
}

// spoolFull lets attempts work on a disk that has too little room. Its size does
// not matter much: a transcoder keeps a reserve.
func spoolFull(ctx context.Context, r *run) error {
	return r.onSickDisk(ctx, 8<<20, nil, func() error { return resizeTmpfs(ctx, r.work, 1<<30) })
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// expired uploads after the window: half of the files begin before its end, and
// half after it. The dispatcher scans the bucket when it starts; otherwise that
// would be an hour later.
func expired(ctx context.Context, r *run) error {
	rule := &proxy.Rule{Do: proxy.Drop}
	defer r.gate[gateEvents].Add(rule)()
	type sent struct {
		*upload
		to    api.Upload
		write *io.PipeWriter
		at    int64 // how much was written
		done  chan error
	}
	var all []*sent
	for i := range r.cell.files {
		u := r.add(r.client, mix[i%3], false)
		made, err := u.client.Create(ctx, u.key, api.NewConversion{Filename: u.tone.name, Size: u.tone.size})
		if err != nil {
			return err
		}
		u.id = made.ID
		s := &sent{upload: u, to: *made.Upload, done: make(chan error, 1)}
		if i%2 == 0 { // this one has begun when its window ends
			var read *io.PipeReader
			read, s.write = io.Pipe()
			go func() { s.done <- put(ctx, s.to, read, s.tone.size) }()
			s.at = s.tone.size / 2
			if err := s.some(s.write, 0, s.at); err != nil {
				return err
			}
		}
		all = append(all, s)
	}
	began, wrote := time.Now(), time.Now()
	if err := r.until(ctx, "every upload has expired", func(s *seen) bool {
		n := 0
		for _, d := range s.documents {
			if d.State == conversion.Expired {
				n++
			}
		}
		if n == len(all)/2 && time.Since(began) > 40*time.Second { // an older version waits for those that have begun
			return true
		}
		if time.Since(wrote) > time.Second { // the store ends connections on which nothing comes
			wrote = time.Now()
			for _, s := range all {
				if s.write != nil {
					_ = s.some(s.write, s.at, s.at+1)
					s.at++
				}
			}
		}
		return n == len(all)
	}); err != nil {
		return err
	}
	for _, s := range all {
		if s.write != nil {
			if err := s.some(s.write, s.at, s.tone.size); err != nil {
				return err
			}
			_ = s.write.Close()
		} else {
			f, err := os.Open(s.tone.path)
			if err != nil {
				return err
			}
			s.done <- put(ctx, s.to, f, s.tone.size)
			_ = f.Close()
		}
		if err := <-s.done; err == nil {
			s.acknowledged()
			r.struck++
		} else {
			s.refused = err
		}
		s.ended = true
	}
	r.services["dispatcher"].Kill()
	if err := startAgain("dispatcher")(ctx, r); err != nil {
		return err
	}
	r.ended = time.Now()
	return nil
}

// some writes a part of the upload's file.
func (u *upload) some(to io.Writer, from, until int64) error {
	f, err := os.Open(u.tone.path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, io.NewSectionReader(f, from, until-from))
	return err
}

// until waits, a minute at most, until the servers show something.
func (r *run) until(ctx context.Context, what string, ok func(*seen) bool) error {
	return await(ctx, time.Minute, what, func() bool {
		s, err := r.see(ctx, false, nil)
		return err == nil && ok(s)
	})
}
