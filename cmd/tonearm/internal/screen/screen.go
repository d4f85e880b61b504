package screen

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"tonearm/cmd/tonearm/internal/text"
)

const (
	redrawEvery = 100 * time.Millisecond
	plainEvery  = 10 * time.Second
	plainLines  = 4 // of files, at a time
)

// Options of a Screen.
type Options struct {
	// Err is where everything but results goes.
	Err io.Writer
	// Size returns columns and rows of the terminal that Err is; nil if it is none.
	Size func() (width, height int)
	// Out is where results go. Shared says that it is the terminal, too.
	Out    io.Writer
	Shared bool
	// Quiet: neither progress nor results.
	Quiet bool
	// Every is how often plain lines are printed; default 10 s.
	Every time.Duration
}

// Screen is safe for concurrent use.
type Screen struct {
	o    Options
	stop chan struct{}
	done sync.WaitGroup

	mu         sync.Mutex
	start      time.Time
	files      int
	bytes      int64 // expected to be sent
	sized      int64 // those of them that turned out as toSend
	toSend     int64
	lines      []*Line
	begun      int
	ended      int
	endedBytes int64
	failed     int
	moved      int64 // bytes sent by this process
	samples    []sample
	drawn      []string // the block that is on the terminal
	closed     bool
}

// New begins to show. Close ends it.
func New(o Options) *Screen {
	s := &Screen{o: o, stop: make(chan struct{}), start: time.Now()}
	every := redrawEvery
	if o.Size == nil {
		every = o.Every
		if every <= 0 {
			every = plainEvery
		}
	}
	if o.Quiet {
		return s
	}
	s.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				s.show(now)
			case <-s.stop:
				return
			}
		}
	})
	return s
}

// Expect adds files, which together have bytes to send at the most, to the total.
func (s *Screen) Expect(files int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files += files
	s.bytes += bytes
}

// Begin adds the line of a file that has size bytes to send at the most.
func (s *Screen) Begin(name string, size int64) *Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	l := &Line{s: s, name: text.Printable(name), expected: size, size: size, begun: s.begun, phase: "starting"}
	s.lines = append(s.lines, l)
	return l
}

// Resize tells how many bytes of a file are sent.
func (l *Line) Resize(size int64) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.resize(size)
}

func (l *Line) resize(size int64) {
	if l.sized {
		l.s.toSend -= l.size
	} else {
		l.s.sized += l.expected
	}
	l.s.toSend += size
	l.size, l.sized = size, true
}

// all returns how many bytes are sent in the end. As long as not every file is known,
// the others are taken to be like those.
func (s *Screen) all() (bytes int64, about bool) {
	rest := max(0, s.bytes-s.sized)
	if s.sized > 0 && s.toSend < s.sized {
		return s.toSend + int64(float64(rest)*float64(s.toSend)/float64(s.sized)), rest > 0
	}
	return s.toSend + rest, false
}

func (s *Screen) show(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.o.Size == nil {
		s.plain(now)
		return
	}
	width, height := s.o.Size()
	if block := s.frame(width, height, now); !slices.Equal(block, s.drawn) {
		_ = s.put("", block, width) // a terminal that went away is no reason to stop
	}
}

// plain prints the first files that move, and the total.
func (s *Screen) plain(now time.Time) {
	speed := s.speed(now)
	shown := 0
	for _, moving := range []bool{true, false} {
		for _, l := range s.lines {
			if l.moves() == moving && shown < plainLines {
				fmt.Fprintf(s.o.Err, "%s: %s\n", l.name, l.full())
				shown++
			}
		}
	}
	if n := len(s.lines) - shown; n > 0 {
		fmt.Fprintf(s.o.Err, "and %s more\n", text.Count(n))
	}
	if s.files > 1 && len(s.lines) > 0 {
		fmt.Fprintln(s.o.Err, s.total(200, speed, now))
	}
}

// Write prints above the block, on Err.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(p), s.print(s.o.Err, text.Lines(string(p)))
}

// Result prints a line on Out.
func (s *Screen) Result(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.Quiet {
		_ = s.print(s.o.Out, text.Printable(line)+"\n") // a reader that went away is no reason to stop
	}
}

func (s *Screen) print(to io.Writer, lines string) error {
	if len(s.drawn) == 0 || to == s.o.Out && !s.o.Shared {
		_, err := io.WriteString(to, lines)
		return err
	}
	width, _ := s.o.Size()
	return s.put(lines, s.drawn, width)
}

// put writes lines where the block stands, and the block below them.
func (s *Screen) put(lines string, block []string, width int) error {
	var b bytes.Buffer
	if rows := s.rows(width); rows > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", rows)
		if lines != "" {
			b.WriteString("\x1b[J")
		}
	}
	b.WriteString(lines)
	for _, line := range block {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.drawn = block
	_, err := s.o.Err.Write(b.Bytes())
	return err
}

// rows returns how many rows the block takes. A terminal that became narrower has
// wrapped its lines.
func (s *Screen) rows(width int) int {
	rows := 0
	for _, line := range s.drawn {
		rows += 1 + max(0, text.Width(line)-1)/max(1, width)
	}
	return rows
}

// Freeze leaves what is on the terminal as it is, with the ^C that the terminal has
// written below it. Nothing is drawn any more; what is printed from now on follows.
func (s *Screen) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.drawn) > 0 {
		_, _ = io.WriteString(s.o.Err, "\n")
	}
	s.closed, s.drawn = true, nil
}

// Close takes the block away. It is called once.
func (s *Screen) Close() {
	s.mu.Lock()
	if len(s.drawn) > 0 {
		width, _ := s.o.Size()
		_ = s.put("", nil, width)
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.done.Wait()
}
