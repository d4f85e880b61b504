package abuse

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/attempt"
	"tonearm/test/world"
)

// planted is in the environment of the site's first process, and of no other.
const planted = "TONEARM_TEST_PLANTED=canary-8c20b1"

// processes watches the children of the site: what their command lines and their
// environments hold.
type processes struct {
	mu   sync.Mutex
	seen map[string]string // of each program that ran: all that was read, by place
	stop chan struct{}
}

func watch(t *testing.T, parent int) *processes {
	p := &processes{seen: map[string]string{}, stop: make(chan struct{})}
	done := make(chan struct{})
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", parent))
	first := string(b)
	go func() {
		defer close(done)
		for {
			for _, pid := range children(parent) {
				if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); string(b) == first {
					continue // a copy of its parent that has not begun its own program
				}
				name, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
				for _, file := range []string{"cmdline", "environ"} {
					if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)); err == nil && len(b) > 0 {
						p.add(file+" of "+filepath.Base(name), string(b))
					}
				}
			}
			select {
			case <-p.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { close(p.stop); <-done })
	return p
}

func (p *processes) add(place, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(p.seen[place], text) {
		p.seen[place] += text + "\n"
	}
}

// children are all that descend from a process.
func children(parent int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, file := range tasks {
		b, _ := os.ReadFile(file)
		for word := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(word); err == nil {
				all = append(append(all, pid), children(pid)...)
			}
		}
	}
	return all
}

// TestCanaries: no secret is found where it does not belong, although every part has
// worked with it: in the log, the metrics, the records, the mails, and in what the
// system shows of the processes.
func TestCanaries(t *testing.T) {
	s := start(t)
	var key api.MadeKey
	body := api.NewKey{Password: world.Password, Name: "k", Scopes: []account.Scope{account.ScopeConvert}}
	if status, said := s.ada.Do("POST", "/v1/keys", body, &key); status != 201 {
		t.Fatalf("make a key: %d %s", status, said)
	}
	c := s.upload(s.ada, "a.mp4", s.tone)
	if got := s.end(s.ada, c); got != "done" {
		t.Fatal(got)
	}
	for _, content := range [][]byte{s.text, s.toneless, damaged(s.tone)} {
		s.end(s.ada, s.upload(s.ada, "b.mp4", content))
	}
	s.api("GET", "/v1/me", key.Secret, nil, nil)
	s.api("GET", "/v1/me", s.ada.Token+"x", nil, nil)
	s.api("POST", "/v1/session", "", nil, []byte(`{"email":"ada@example.org","password":"`+world.Password+`x"}`))

	var root struct {
		Secret string `json:"secret_key"`
	}
	b, err := os.ReadFile(filepath.Join(s.data, "s3", "s3.json"))
	if err == nil {
		err = json.Unmarshal(b, &root)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, inbox := s.inboxKey()
	pem := strings.Split(s.kept("signing-keys.pem"), "\n")
	secrets := map[string]string{
		"the signing key": pem[1], "the key of attempts": s.kept("attempt-key"), "the token of notifications": s.kept("event-token"),
		"the root key of the store": root.Secret, "the inbox key": inbox, "a password": world.Password, "a session": s.ada.Token, "an API key": key.Secret,
		"an attempt's token": attempt.Key(s.attemptKey()).Token(c.ID, 1), "an environment": planted,
	}
	_, metrics := s.ask("GET", s.admin+"/metrics", nil, nil)
	places := map[string]string{"the log": s.up.Out.String(), "the metrics": metrics}
	read := func(place, dir, pattern string) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if ok, _ := filepath.Match(pattern, filepath.Base(path)); err != nil || d.IsDir() || !ok {
				return err
			}
			b, err := os.ReadFile(path)
			places[place] += string(b)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	read("the records", s.data, "tonearm.db*")
	read("the mails", filepath.Join(s.data, "outbox"), "*")
	s.processes.mu.Lock()
	for place, text := range s.processes.seen {
		places[place] = text
	}
	s.processes.mu.Unlock()
	for _, place := range []string{"the log", "the metrics", "the records", "the mails", "cmdline of transcoder", "environ of transcoder", "cmdline of ffmpeg"} {
		if len(places[place]) == 0 {
			t.Errorf("nothing was read of %s", place)
		}
	}
	found := 0
	for what, secret := range secrets {
		if len(secret) < 12 {
			t.Errorf("%s is %q", what, secret)
		}
		for place, text := range places {
			if strings.Contains(text, secret) {
				found++
				t.Errorf("%s is in %s", what, place)
			}
		}
	}
	fmt.Printf("%d secrets, %d places, found: %d\n", len(secrets), len(places), found)
}

func damaged(b []byte) []byte {
	return append(append([]byte{}, b[:len(b)/2]...), make([]byte, len(b)/2)...)
}
