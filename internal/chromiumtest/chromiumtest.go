// Package chromiumtest lets tests drive a real Chromium by its DevTools
// protocol (https://chromedevtools.github.io/devtools-protocol/), over two pipes
// of JSON messages that end with NUL.
package chromiumtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long one command of a test may take.
const patience = 30 * time.Second

// Browser is a running Chromium with a profile of its own.
type Browser struct {
	t  *testing.T
	to *os.File

	mu      sync.Mutex
	last    int
	answers map[int]chan message
	loads   map[string]chan struct{} // by session
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts the Chromium that TONEARM_TEST_CHROMIUM names, and skips the test
// where it names none. Names that end with .lan lead to this machine. Every
// certificate is good. The browser ends with the test.
func Start(t *testing.T) *Browser {
	t.Helper()
	program := os.Getenv("TONEARM_TEST_CHROMIUM")
	if program == "" {
		t.Skip("TONEARM_TEST_CHROMIUM is not set: make browser-test")
	}
	read, to, err := os.Pipe()
	check(t, err)
	from, write, err := os.Pipe()
	check(t, err)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--ignore-certificate-errors",
		"--host-resolver-rules=MAP *.lan 127.0.0.1", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir())
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.ExtraFiles = []*os.File{read, write} // 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(t, cmd.Start())
	check(t, errors.Join(read.Close(), write.Close()))
	b := &Browser{t: t, to: to, answers: map[int]chan message{}, loads: map[string]chan struct{}{}}
	ended := make(chan struct{})
	go func() { defer close(ended); b.receive(bufio.NewReader(from)) }()
	t.Cleanup(func() {
		force := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		_, _ = to.WriteString(`{"id":1000000,"method":"Browser.close"}` + "\x00")
		_ = cmd.Wait()
		force.Stop()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it started and left
		_ = to.Close()
		<-ended
		_ = from.Close()
	})
	return b
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *Browser) receive(from *bufio.Reader) {
	for {
		text, err := from.ReadBytes(0)
		if err != nil {
			return // it has ended
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if answer := b.answers[m.ID]; m.ID > 0 && answer != nil {
			delete(b.answers, m.ID)
			answer <- m
		}
		if load := b.loads[m.Session]; m.Method == "Page.loadEventFired" && load != nil {
			select {
			case load <- struct{}{}:
			default:
			}
		}
		b.mu.Unlock()
	}
}

// call sends one command and decodes its answer.
func (b *Browser) call(session, method string, params map[string]any, into any) {
	b.t.Helper()
	answer := make(chan message, 1)
	b.mu.Lock()
	b.last++
	m := message{ID: b.last, Session: session, Method: method, Params: params}
	b.answers[m.ID] = answer
	b.mu.Unlock()
	text, err := json.Marshal(m)
	check(b.t, err)
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case m = <-answer:
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	}
	if m.Error != nil {
		b.t.Fatalf("%s: %s", method, m.Error.Message)
	}
	if into != nil {
		check(b.t, json.Unmarshal(m.Result, into))
	}
}

// Page is a tab.
type Page struct {
	b       *Browser
	session string
	loaded  chan struct{}
}

// Page opens an empty tab.
func (b *Browser) Page() *Page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &Page{b: b, session: attached.SessionID, loaded: make(chan struct{}, 1)}
	b.mu.Lock()
	b.loads[p.session] = p.loaded
	b.mu.Unlock()
	b.call(p.session, "Page.enable", nil, nil)
	return p
}

// Go opens an address and waits until the page is there.
func (p *Page) Go(url string) {
	p.b.t.Helper()
	p.Leads(func() { p.b.call(p.session, "Page.navigate", map[string]any{"url": url}, nil) })
}

// Leads waits for the page that do leads to.
func (p *Page) Leads(do func()) {
	p.b.t.Helper()
	select {
	case <-p.loaded: // of the page before
	default:
	}
	do()
	select {
	case <-p.loaded:
	case <-time.After(patience):
		p.b.t.Fatal("no page comes")
	}
}

// Eval runs a script in the page, waits for what it promises, and returns that
// as text.
func (p *Page) Eval(script string) string {
	p.b.t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.b.call(p.session, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		p.b.t.Fatalf("%s: %s %s", script, e.Text, e.Exception.Description)
	}
	return fmt.Sprint(answer.Result.Value)
}

// Picture writes the page, as wide as this many pixels and as high as it is, into
// a PNG file.
func (p *Page) Picture(width int, path string) {
	p.b.t.Helper()
	p.b.call(p.session, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 200, "deviceScaleFactor": 2, "mobile": false}, nil)
	var shot struct{ Data string }
	p.b.call(p.session, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	check(p.b.t, err)
	check(p.b.t, os.WriteFile(path, png, 0o600))
}
