package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"tonearm/internal/conversion"
)

// status is how far one file is.
type status struct {
	name string

	mu          sync.Mutex
	phase       string
	done, total float64 // of the phase; total is 0 where it has no measure
	text        string
}

func (s *status) set(phase string, done, total int64) {
	s.put(phase, float64(done), float64(total), fmt.Sprintf("%s of %s", byteSize(done), byteSize(total)))
}

func (s *status) setClock(phase string, done, total float64) {
	s.put(phase, done, total, fmt.Sprintf("%s of %s", conversion.Clock(done), conversion.Clock(total)))
}

func (s *status) put(phase string, done, total float64, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.done, s.total, s.text = phase, done, total, text
}

// String returns such as "uploading 43% (12.1 MB of 28.0 MB)".
func (s *status) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total <= 0 {
		return s.phase
	}
	return fmt.Sprintf("%s %d%% (%s)", s.phase, int(100*min(s.done/s.total, 1)), s.text)
}

// share returns how much of the phase is done, from 0 to 1.
func (s *status) share() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total <= 0 {
		return 0
	}
	return min(s.done/s.total, 1)
}

// display shows how far the files are, on standard error.
type display interface {
	// add shows s until the returned function is called.
	add(s *status) (remove func())
	// result prints a line on standard output.
	result(line string)
	close()
}

func newDisplay(cmd *cobra.Command) display {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return newBars(cmd)
	}
	return newLines(cmd, 10*time.Second)
}

// lines prints a line for each file every so often.
type lines struct {
	cmd    *cobra.Command
	mu     sync.Mutex
	active []*status
	stop   chan struct{}
	done   sync.WaitGroup
}

func newLines(cmd *cobra.Command, every time.Duration) *lines {
	l := &lines{cmd: cmd, stop: make(chan struct{})}
	l.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.print()
			case <-l.stop:
				return
			}
		}
	})
	return l
}

func (l *lines) print() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.active {
		l.cmd.PrintErrf("%s: %s\n", s.name, s)
	}
}

func (l *lines) add(s *status) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = append(l.active, s)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, other := range l.active {
			if other == s {
				l.active = append(l.active[:i], l.active[i+1:]...)
				return
			}
		}
	}
}

func (l *lines) result(line string) { fmt.Fprintln(l.cmd.OutOrStdout(), line) }

func (l *lines) close() {
	close(l.stop)
	l.done.Wait()
}

// bars draws a bar for each file. While it does, what the command prints goes
// through it, so that lines and bars do not mix.
type bars struct {
	cmd      *cobra.Command
	progress *mpb.Progress
}

func newBars(cmd *cobra.Command) *bars {
	b := &bars{cmd, mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40))}
	cmd.SetErr(b)
	return b
}

// Write prints above the bars.
func (b *bars) Write(p []byte) (int, error) {
	if n, err := b.progress.Write(p); err == nil {
		return n, nil
	}
	return os.Stderr.Write(p) // the bars have ended
}

// barSteps is finer than a bar is wide.
const barSteps = 1000

func (b *bars) add(s *status) func() {
	filler := mpb.BarStyle().Build()
	bar, err := b.progress.Add(0, mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error {
		st.Total, st.Current = barSteps, int64(barSteps*s.share())
		return filler.Fill(w, st)
	}),
		mpb.PrependDecorators(decor.Name(shorten(filepath.Base(s.name), 32), decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return s.String() })),
	)
	if err != nil { // closed
		return func() {}
	}
	return func() { bar.Abort(true) }
}

func (b *bars) result(line string) {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		b.cmd.PrintErrln(line)
	} else {
		fmt.Fprintln(b.cmd.OutOrStdout(), line)
	}
}

func (b *bars) close() {
	b.progress.Wait()
	b.cmd.SetErr(nil)
}

// shorten cuts s to n characters.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
