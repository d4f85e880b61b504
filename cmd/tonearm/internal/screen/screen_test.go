package screen

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/cmd/tonearm/internal/text"
)

// lineWriter hands on each line that is printed.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- strings.TrimSpace(string(p))
	return len(p), nil
}

func TestPlainLines(t *testing.T) {
	printed := make(lineWriter)
	s := New(Options{Err: printed, Every: time.Millisecond})
	l := s.Begin("a\x1b.mp4", 28_000_000)
	wait := func(want string) {
		t.Helper()
		for got := range printed {
			if got == want {
				return
			}
			if strings.Contains(got, "\x1b") {
				t.Fatalf("a terminal would obey %q", got)
			}
		}
	}
	l.Sent(12_100_000, 28_000_000)
	wait(`a\x1b.mp4: uploading 43% (12.1 MB of 28.0 MB)`)
	l.SetClock("converting", 65, 3700)
	wait(`a\x1b.mp4: converting 1% (1:05 of 1:01:40)`)
	l.Set("queued")
	wait(`a\x1b.mp4: queued`)
	l.Set("queued\x1b[2J\n\u202e")
	wait(`a\x1b.mp4: queued\x1b[2J\n\u202e`)
	go func() { // lines on their way
		for range printed {
		}
	}()
	l.End(false)
	s.Close()
	close(printed)
}

// many returns a screen of 5,000 files, 300 of which are under way.
func many(o Options) *Screen {
	o.Quiet = true // it does not draw by itself
	s := New(o)
	s.o.Quiet = false
	s.Expect(5000, 5000*20e6)
	var lines []*Line
	for i := range 1003 {
		lines = append(lines, s.Begin(fmt.Sprintf("Lectures of the winter term, part %04d of 5000.mp4", i), 20e6))
	}
	for i, l := range lines[:700] {
		l.Sent(0, 20e6)
		l.Sent(20e6, 20e6)
		l.End(i < 3)
	}
	for _, l := range lines[700:] {
		l.Set("queued")
	}
	lines[900].Sent(5e6, 20e6)
	lines[1000].SetClock("converting", 30, 60)
	lines[1001].Set("running")
	return s
}

func TestFrames(t *testing.T) {
	for name, tt := range map[string]struct {
		width, height int
		rows          int
		last          string
	}{
		"80×24": {80, 24, 11, "700 of 5,000 files, 3 failed, 14.0 GB of 100.0 GB, 1.4 GB/s, 1:01 left"},
		"40×24": {40, 24, 11, "700/5,000, 3 failed, 1:01 left"},
		"80×5":  {80, 5, 3, "700 of 5,000 files, 3 failed, 14.0 GB of 100.0 GB, 1.4 GB/s, 1:01 left"},
		"10×2":  {10, 2, 2, "700/5,000"},
	} {
		s := many(Options{})
		s.samples = []sample{{s.start, 0}}
		frame := s.frame(tt.width, tt.height, s.start.Add(10*time.Second))
		if len(frame) != tt.rows {
			t.Errorf("%s: %d rows, want %d:\n%s", name, len(frame), tt.rows, strings.Join(frame, "\n"))
		}
		for _, line := range frame {
			if text.Width(line) >= tt.width {
				t.Errorf("%s: %q has %d columns", name, line, text.Width(line))
			}
		}
		if got := frame[len(frame)-1]; got != tt.last {
			t.Errorf("%s: the last line is %q, want %q", name, got, tt.last)
		}
		t.Logf("%s:\n%s", name, strings.Join(frame, "\n"))
		if tt.height == 24 {
			for i, want := range []string{"0900 of", "1000 of", "1001 of", "0700 of"} {
				if !strings.Contains(frame[i], want) {
					t.Errorf("%s: line %d is %q, want …%s", name, i, frame[i], want)
				}
			}
			if want := "and 294 more"; frame[len(frame)-2] != want {
				t.Errorf("%s: got %q, want %q", name, frame[len(frame)-2], want)
			}
		}
	}
}

// terminal understands what the screen writes: moves up, and erasing.
type terminal struct {
	mu   sync.Mutex
	rows []string
	row  int
}

var sequence = regexp.MustCompile(`^\x1b\[(\d*)([AJK])`)

func (v *terminal) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := string(p)
	for s != "" {
		for len(v.rows) <= v.row {
			v.rows = append(v.rows, "")
		}
		m := sequence.FindStringSubmatch(s)
		switch {
		case m != nil && m[2] == "A":
			var n int
			fmt.Sscan(m[1], &n)
			v.row -= n
		case m != nil && m[2] == "J":
			v.rows = v.rows[:v.row+1]
			v.rows[v.row] = ""
		case m != nil:
		case s[0] == '\r':
		case s[0] == '\n':
			v.row++
		default:
			end := strings.IndexAny(s, "\r\n\x1b")
			if end < 0 {
				end = len(s)
			}
			v.rows[v.row] = s[:end]
			s = s[end:]
			continue
		}
		if m != nil {
			s = s[len(m[0]):]
		} else {
			s = s[1:]
		}
	}
	return len(p), nil
}

func (v *terminal) String() string { return strings.TrimRight(strings.Join(v.rows, "\n"), "\n") }

func TestMessagesAndBlock(t *testing.T) {
	v := &terminal{}
	s := New(Options{Err: v, Out: v, Shared: true, Quiet: true, Size: func() (int, int) { return 80, 24 }})
	s.o.Quiet = false
	a, b := s.Begin("a.mp4", 100), s.Begin("b.mp4", 100)
	s.Expect(2, 200)
	s.show(time.Now())
	a.SetBytes("downloading", 50, 100)
	s.show(time.Now())
	s.Result("done.mp4 → done.mp3")
	fmt.Fprint(s, "failed: c\x1b[2J.mp4\n")
	want := "done.mp4 → done.mp3\nfailed: c\\x1b[2J.mp4\na.mp4  downloading 50% (50 B of 100 B)\nb.mp4  starting\n0 of 2 files, 0 B of 200 B"
	if v.String() != want {
		t.Errorf("got\n%s\nwant\n%s", v, want)
	}
	b.End(false)
	s.show(time.Now())
	if want := "0 of 2"; strings.Contains(v.String(), want) || strings.Contains(v.String(), "b.mp4") {
		t.Errorf("got\n%s", v)
	}
	// The terminal writes ^C where the cursor is. It stays, and so does the block.
	s.mu.Lock()
	_, _ = v.Write([]byte("^C"))
	s.mu.Unlock()
	s.Freeze()
	a.SetBytes("downloading", 99, 100)
	s.show(time.Now())
	fmt.Fprintln(s, "Not finished.")
	s.Close()
	if got := v.String(); !strings.HasSuffix(got, "\n^C\nNot finished.") || !strings.Contains(got, "a.mp4  downloading 50%") {
		t.Errorf("got\n%s", got)
	}
}

func TestNarrowerTerminal(t *testing.T) {
	s := many(Options{})
	s.drawn = []string{strings.Repeat("x", 79), "short"}
	if got := s.rows(80); got != 2 {
		t.Errorf("%d rows", got)
	}
	if got := s.rows(40); got != 3 {
		t.Errorf("%d rows in a narrower terminal", got)
	}
}

func TestQuiet(t *testing.T) {
	var err, out bytes.Buffer
	s := New(Options{Err: &err, Out: &out, Quiet: true, Every: time.Millisecond})
	l := s.Begin("a.mp4", 1)
	l.Set("queued")
	s.Result("a.mp4 → a.mp3")
	fmt.Fprintln(s, "failed: b.mp4")
	l.End(false)
	s.Close()
	if out.String() != "" || err.String() != "failed: b.mp4\n" {
		t.Errorf("got %q and %q", out.String(), err.String())
	}
}

// TestOnlySound: of each file less is sent than was expected, and the total follows.
func TestOnlySound(t *testing.T) {
	s := New(Options{Quiet: true})
	s.Expect(10, 10_240e6)
	l := s.Begin("talk.mp4", 1024e6)
	now := s.start.Add(time.Second)
	last := func(width int) string {
		frame := s.frame(width, 24, now)
		return strings.Join(frame, "\n")
	}
	check := func(want string) {
		t.Helper()
		if got := last(80); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	check("talk.mp4  starting\n0 of 10 files, 0 B of 10.2 GB")
	l.Resize(6_100_000)
	check("talk.mp4  starting, only the sound of 1.0 GB\n0 of 10 files, 0 B of about 61.0 MB")
	l.Sent(2_623_000, 6_100_000)
	check("talk.mp4  uploading 43% (2.6 MB of 6.1 MB), only the sound of 1.0 GB\n0 of 10 files, 2.6 MB of about 61.0 MB")
	l.Sent(6_100_000, 6_100_000)
	l.Set("queued")
	check("talk.mp4  queued, sent 6.1 of 1,024 MB: only the sound\n0 of 10 files, 6.1 MB of about 61.0 MB")
	if got := last(40); !strings.HasPrefix(got, "talk.mp4  queued\n") {
		t.Errorf("at 40 columns:\n%s", got)
	}
	l.Resize(1024e6) // the server is an earlier version
	check("talk.mp4  queued\n0 of 10 files, 6.1 MB of 10.2 GB")
	l.Resize(6_100_000)
	l.End(false)
	for i := range 8 {
		l := s.Begin("more.mp4", 1024e6)
		if i == 0 {
			l.Resize(0) // it was refused
		} else {
			l.Resize(3_900_000)
		}
		l.End(false)
	}
	l = s.Begin("the last.mp4", 1024e6)
	l.Resize(1_000_000)
	check("the last.mp4  starting, only the sound of 1.0 GB\n9 of 10 files, 33.4 MB of 34.4 MB")
}
