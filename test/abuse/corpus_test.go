package abuse

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"tonearm/test/world"
)

var groups = []group{
	{"protocols", protocols}, {"bombs", bombs}, {"damage", damage}, {"polyglots", polyglots},
	{"names", names}, {"events", events}, {"tokens", tokens}, {"mails", mails}, {"uploads", uploads},
}

// atOnce is how many inputs are tried at a time.
const atOnce = 8

// TestCorpus tries every hostile input on a running `tonearm up`. Each has the
// answer that testdata/expected.txt says; none reaches another host or a file of
// the machine, and afterwards the site works and another user's work is as before.
func TestCorpus(t *testing.T) {
	s := start(t, "--trusted-proxies", "127.0.0.0/8", "--max-connections-per-address", "2") // the second does not hold for the first
	want, got := expected(t), map[string]string{}
	if *update {
		want = nil
	}
	var mu sync.Mutex
	for _, g := range groups {
		tried, held := 0, 0
		var all sync.WaitGroup
		slots := make(chan struct{}, atOnce)
		for _, in := range g.inputs(t) {
			name := g.name + "/" + in.name
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				result := in.try(s)
				mu.Lock()
				defer mu.Unlock()
				tried++
				if _, twice := got[name]; twice {
					t.Errorf("%s is there twice", name)
				}
				got[name] = result
				if want == nil || want[name] == result {
					held++
					return
				}
				t.Errorf("%s → %s, want %s", name, result, want[name])
			})
		}
		all.Wait()
		fmt.Printf("%-10s %3d tried, %3d held\n", g.name, tried, held)
	}
	for name, result := range got {
		if strings.HasPrefix(result, "5") || strings.HasPrefix(result, "0") {
			t.Errorf("%s → %s", name, result)
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is expected and was not tried", name)
		}
	}
	if *update {
		writeExpected(t, got)
	}
	fmt.Printf("%d inputs\n", len(got))
	if len(got) < 220 {
		t.Errorf("the corpus has %d inputs", len(got))
	}
	s.whole()
}

// whole requires that the site is as if nothing had been tried.
func (s *site) whole() {
	t := s.t
	t.Helper()
	if n := s.asked.Load(); n > 0 {
		t.Errorf("hostile inputs made %d connections to another server", n)
	}
	if s.up.Ended() {
		t.Fatalf("tonearm up ended: %v", s.up.Err)
	}
	if got := s.end(s.ada, s.conversion); got != "done" {
		t.Errorf("another user's conversion is %s now", got)
	}
	if got := s.end(s.ada, s.upload(s.ada, "later.mp4", s.tone)); got != "done" {
		t.Errorf("a good file is %s", got)
	}
	var list struct{ Conversions []struct{ Filename string } }
	if status, body := s.ada.Do("GET", "/v1/conversions", nil, &list); status != 200 || len(list.Conversions) != 2 {
		t.Errorf("another user's list: %d %s", status, body)
	}
	for _, path := range []string{"/tmp/tonearm-escaped", "../tonearm-escaped"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is there", path)
		}
	}
	if said := s.up.Out.String(); strings.Contains(said, secretTitle) || strings.Contains(said, world.Password) || strings.Contains(said, "panic") {
		t.Errorf("the log holds what it should not:\n%s", said)
	}
}
