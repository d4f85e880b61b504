// Faults breaks real servers, connections and programs under Tonearm's services
// while files go through, and checks that nothing is lost, doubled or failed
// wrongly:
//
//	go run ./test/faults -list
//	go run ./test/faults -run 'redis-kill|lost/take' -out results.jsonl
//
// A cell is a fault, the point on a file's way at which it begins, and a seed.
// Each has a world of its own: MinIO, Redis, MariaDB, FerretDB, a mail server,
// the services as processes, and a proxy on every way between two of them. Three
// worlds run at a time. The results go into a file, one JSON line a cell; cells
// that it has are not run again with the same programs.
//
// It ends with status 1 if a cell is red, and with 2 if a cell could not be run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tonearm/test/server"
)

// choice is the program's flags.
type choice struct {
	list, ci, report    bool
	run, out, bin, logs string
	worlds              int
}

func main() {
	var o choice
	flag.BoolVar(&o.list, "list", false, "print the cells and end, also those that only run by name")
	flag.BoolVar(&o.ci, "ci", false, "run the cells of CI")
	flag.StringVar(&o.run, "run", "", "run the cells whose names match this `regexp`, also those that only run by name")
	flag.StringVar(&o.out, "out", "", "`file` of results; cells that it has are not run again")
	flag.StringVar(&o.bin, "bin", "bin", "`folder` with Tonearm's programs; flags that they lack are left out")
	flag.StringVar(&o.logs, "logs", "", "`folder` for the logs of the cells")
	flag.IntVar(&o.worlds, "worlds", 3, "`number` of worlds at a time")
	flag.BoolVar(&o.report, "report", false, "write the results of -out into docs/reliability.md and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends this process at once
	status, err := work(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		status = 2
	}
	os.Exit(status)
}

// chosen returns the cells that the flags name.
func (o choice) chosen() ([]cell, error) {
	name, err := regexp.Compile(o.run)
	if err != nil {
		return nil, err
	}
	var some []cell
	for _, c := range cells() {
		if o.run != "" && !name.MatchString(c.name()) || o.ci && !c.ci || o.run == "" && c.command && !o.list {
			continue
		}
		some = append(some, c)
	}
	if len(some) == 0 {
		return nil, errors.New("no cell has such a name; -list prints them")
	}
	return some, nil
}

func work(ctx context.Context, o choice) (status int, err error) {
	some, err := o.chosen()
	if err != nil {
		return 2, err
	}
	if o.list {
		for _, c := range some {
			fmt.Println(c.name())
		}
		return 0, nil
	}
	kept, err := openRecord(o.out)
	if err != nil {
		return 2, err
	}
	if o.report {
		return 0, report(kept)
	}
	if err := server.EndWithParent(); err != nil {
		return 2, err
	}
	p, err := openPrograms(ctx, o.bin)
	if err != nil {
		return 2, err
	}
	cache, err := server.Cache()
	if err != nil {
		return 2, err
	}
	tones, err := makeTones(ctx, cache)
	if err != nil {
		return 2, err
	}
	if err := quiet(ctx, p, tones); err != nil {
		return 2, err
	}
	return runAll(ctx, o, some, kept, p, tones)
}

// runAll runs cells, some at a time, and returns the exit status.
func runAll(ctx context.Context, o choice, some []cell, kept *record, p *programs, tones map[string]*tone) (status int, err error) {
	var (
		mu      sync.Mutex
		workers sync.WaitGroup
		next    = make(chan cell)
		began   = time.Now()
		total   totals
		notOK   []string
	)
	done := func(one result, fresh bool) {
		mu.Lock()
		defer mu.Unlock()
		total.add(one)
		if !one.green() {
			notOK = append(notOK, one.line())
		}
		if fresh {
			err = errors.Join(err, kept.add(one))
			fmt.Println(one.line())
		}
	}
	for range o.worlds {
		workers.Go(func() {
			for c := range next {
				done(one(ctx, c, p, tones, o.logs), true)
			}
		})
	}
	for _, c := range some {
		if known, ok := kept.has(c.name(), p.stamp); ok {
			done(known, false)
			continue
		}
		select {
		case next <- c:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
	for _, line := range notOK { // again at the end, where people look first
		fmt.Println(line)
	}
	fmt.Printf("%s; %.0f s\n", total.line(), time.Since(began).Seconds())
	return total.status(), errors.Join(err, ctx.Err())
}

// one runs a cell. If something beside Tonearm fails, such as a server that does
// not start, it runs once more.
func one(ctx context.Context, c cell, p *programs, tones map[string]*tone, logs string) result {
	r := result{Cell: c.name(), Programs: p.stamp, Version: p.version, At: time.Now().UTC().Truncate(time.Second)}
	v, reason, err := try(ctx, c, p, tones, logs)
	if err != nil && ctx.Err() == nil {
		fmt.Printf("%-32s could not run, and runs once more: %v\n", c.name(), err)
		v, reason, err = try(ctx, c, p, tones, logs)
	}
	r.Skipped = string(reason)
	if err != nil {
		r.Error = err.Error()
	}
	r.verdict = v.expected(c.wantRed)
	r.Seconds = math.Round(10*time.Since(r.At).Seconds()) / 10
	return r
}

// try runs a cell. What Tonearm fails at is in the verdict; an error is one of
// something else.
func try(ctx context.Context, c cell, p *programs, tones map[string]*tone, logs string) (v verdict, reason skipped, err error) {
	v, err = do(ctx, c, p, tones, logs)
	var failure unfit
	switch {
	case errors.As(err, &reason):
		return v, reason, nil
	case errors.As(err, &failure):
		v.red("start: %v", failure)
		return v, "", nil
	}
	return v, "", err
}

// expected turns the verdict of a cell around that must be red for these
// reasons and no other.
func (v verdict) expected(words []string) verdict {
	if len(words) == 0 {
		return v
	}
	wrong := []string{}
	found := map[string]bool{}
	for _, red := range v.Red {
		word, _, _ := strings.Cut(red, ":")
		found[word] = true
		if !slices.Contains(words, word) {
			wrong = append(wrong, red)
		}
	}
	for _, word := range words {
		if !found[word] {
			wrong = append(wrong, "blind: nothing is red for "+word)
		}
	}
	return verdict{Red: wrong, Uploads: v.Uploads, Acknowledged: v.Acknowledged}
}

// line is a result for people.
func (r result) line() string {
	what := "ok"
	switch {
	case r.Skipped != "":
		what = "skipped: " + r.Skipped
	case r.Error != "":
		what = "ERROR " + r.Error
	case len(r.Red) > 0:
		const most = 6
		what = "RED " + strings.Join(r.Red[:min(most, len(r.Red))], "\n      ")
		if more := len(r.Red) - most; more > 0 {
			what += fmt.Sprintf("\n      and %d more", more)
		}
	}
	return fmt.Sprintf("%-32s %5.0f s  %2d files, recovery %3.0f/%3.0f s, %d second mails, %4.1f lines/s, %3.0f MB, %4.0f goroutines  %s",
		r.Cell, r.Seconds, r.Uploads, r.RecoveryP50, r.RecoveryMax, r.SecondMails, r.Lines, r.Memory, r.Goroutines, what)
}
