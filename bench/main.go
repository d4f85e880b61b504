// Bench measures Tonearm beside what people would use instead, and writes the
// figures to bench/results.json:
//
//	go run ./bench              everything (make bench; 20 minutes)
//	go run ./bench source.200m  only names that begin like this
//	go run ./bench send         what the command line sends over slow uplinks, which
//	                            is not part of everything (make bench BENCH=send; 10 minutes)
//	go run ./bench -report      docs/performance.md from the figures alone
//	go run ./bench -list        the names
//
// It runs bin/transcoder and bin/tonearm as they are, by the protocols that
// dispatchers and clients speak, on a real MinIO, with bin/ffmpeg (or the one
// that TONEARM_FFMPEG names). It alternates with its peers within one run; they
// use the ffmpeg of the PATH. Links are network namespaces (package link), which need Linux
// and root; without them only loopback is measured. Keep the machine free of
// other work meanwhile. Run it from the repository's root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tonearm/bench/report"
)

// options come from the command line.
type options struct {
	only    []string // beginnings of names; none for all
	out     string   // file of the figures
	rounds  int      // of each pair
	shorten int      // divides the lengths of videos
}

func main() {
	o := options{}
	list := flag.Bool("list", false, "print the names of all figures")
	page := flag.Bool("report", false, "write docs/performance.md and its pictures from the figures, and measure nothing")
	flag.StringVar(&o.out, "out", "bench/results.json", "`file` that the figures go to")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each pair is measured")
	flag.IntVar(&o.shorten, "shorten", 1, "divide the lengths of all videos, to try the bench itself")
	flag.Parse()
	o.only = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends this process at once
	err := func() error {
		switch {
		case *list:
			return printNames(os.Stdout)
		case *page:
			return report.Write(o.out, "docs")
		case o.rounds < 1 || o.shorten < 1:
			return errors.New("-rounds and -shorten are at least 1")
		}
		return measure(ctx, o)
	}()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
