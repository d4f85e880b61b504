// Cluster measures Tonearm on a real Kubernetes node and adds the figures to
// bench/results.json. make scale-test runs it there, after it has built
// everything that it needs:
//
//	cluster              everything
//	cluster scale        only names that begin like this
//	cluster -list        the names
//	cluster -pod RATE    a simulated attempt in its pod, RATE bytes of source a second
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"tonearm/bench/results"
)

// options come from the command line.
type options struct {
	only    []string // beginnings of names; none for all
	out     string   // file of the figures
	shorten int      // divides numbers of files, to try the program itself
	keda    string   // folder of its operator and its CRDs
}

// measurement is one run, with the names of the figures that it gives.
type measurement struct {
	names []string
	take  func(context.Context, *node) (map[string]results.Figure, error)
}

// measurements lists all, in the order in which they are taken.
func measurements() []measurement {
	return []measurement{
		{[]string{"scale.jobs_per_upload", "scale.rss_mb", "scale.ms_per_file_100", "scale.ms_per_file_1000", "scale.ms_per_file_10000"}, measureScale},
		{[]string{"dispatch.event_to_pod_p50_ms", "dispatch.keda_p50_ms"}, measureLatency},
		{[]string{"dispatch.jobs_per_file_burst"}, measureBurst},
		{[]string{"scaling.drained_over_target"}, measureScaling},
		{[]string{"short.files_per_minute"}, measureShort},
		{[]string{"image.transcoder_mb", "image.first_pod_s"}, measureImage},
	}
}

func main() {
	o := options{}
	list := flag.Bool("list", false, "print the names of all figures")
	rate := flag.Float64("pod", 0, "carry out the attempt that the environment names, at so many bytes of its source a second, and convert nothing")
	flag.StringVar(&o.out, "out", "bench/results.json", "`file` that the figures go to")
	flag.IntVar(&o.shorten, "shorten", 1, "divide the numbers of files, to try this program")
	flag.StringVar(&o.keda, "keda", "", "`folder` of KEDA's operator and CRDs, as scripts/keda prints it")
	flag.Parse()
	o.only = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends this process at once
	err := func() error {
		switch {
		case *list:
			for _, m := range measurements() {
				fmt.Println(strings.Join(m.names, "\n"))
			}
			return nil
		case *rate > 0:
			return pod(ctx, *rate)
		case o.shorten < 1:
			return errors.New("-shorten is at least 1")
		}
		return measure(ctx, o)
	}()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// measure takes the requested measurements and writes each to the file at once.
// If one fails, the others are still taken.
func measure(ctx context.Context, o options) (err error) {
	n, err := openNode(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	var failed []string
	for _, m := range measurements() {
		if len(o.only) > 0 && !slices.ContainsFunc(m.names, func(name string) bool {
			return slices.ContainsFunc(o.only, func(beginning string) bool { return strings.HasPrefix(name, beginning) })
		}) {
			continue
		}
		began := time.Now()
		figures, err := m.take(ctx, n)
		if ctx.Err() != nil {
			return errors.New("interrupted; what was measured before is kept")
		}
		if err != nil {
			fmt.Printf("%s: failed: %v\n", strings.Join(m.names, ", "), err)
			failed = append(failed, m.names...)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(figures)) {
			fmt.Printf("%-28s %s\n", name, figures[name])
		}
		fmt.Printf("  (took %.0f s)\n", time.Since(began).Seconds())
		if err := results.Merge(o.out, figures); err != nil {
			return err
		}
	}
	if failed != nil {
		return fmt.Errorf("not measured: %s", strings.Join(failed, ", "))
	}
	return nil
}
