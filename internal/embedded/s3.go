package embedded

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tonearm/internal/connection"
	"tonearm/internal/durable"
	"tonearm/internal/retry"
)

const (
	readyTimeout = 15 * time.Second // for one start, the end of an earlier life's gateway included
	stopTimeout  = 12 * time.Second // versitygw gives running requests 10 s

	headerTimeout  = 30 * time.Second
	maxConnections = 4096

	steady = time.Minute // a child that lived this long ended for a new reason, so the pauses begin anew
)

// S3Options of an embedded S3 server.
type S3Options struct {
	Dir          string // holds objects, port and keys; made where missing
	Listen       string // host, or host:port; default 127.0.0.1 and a port that Dir remembers
	WebhookURL   string // gets notifications; '' means none
	WebhookToken string // bearer token for the webhook
	Connections  connection.Limits
	// HeaderTimeout is how long a header may take, and with it the body of everything
	// that is no upload; default 30 s.
	HeaderTimeout time.Duration
	BodyPause     time.Duration // how long an upload may bring less than 16 KiB; default connection.Pause
	Log           *slog.Logger
	// Destroyed is called with the objects that were being stored when the machine
	// went down and are not what their ETags say, if there are any. It runs on
	// another goroutine, once the server is ready; may be nil.
	Destroyed func([]StoredObject)
}

// LogValue leaves out the token.
func (o S3Options) LogValue() slog.Value {
	return slog.GroupValue(slog.String("dir", o.Dir), slog.String("listen", o.Listen), slog.String("webhook_url", o.WebhookURL))
}

// S3 is an S3 server in a child process.
type S3 struct {
	host  string // to connect to
	state s3State
	log   *slog.Logger

	destroyed func([]StoredObject)
	stop      chan struct{} // closed by Close
	once      sync.Once
	done      chan struct{} // closed when no child is left and none will be started
}

// s3State is what stays the same after a restart, so that presigned URLs stay
// good.
type s3State struct {
	Port      int    `json:"port"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`

	InboxAccessKey string `json:"inbox_access_key,omitempty"`
	InboxSecretKey string `json:"inbox_secret_key,omitempty"`

	Gateway    Keys `json:"gateway,omitzero"`
	Dispatcher Keys `json:"dispatcher,omitzero"`
}

// Keys are those of one account.
type Keys struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// LogValue leaves out the secret key.
func (k Keys) LogValue() slog.Value { return slog.StringValue(k.AccessKey) }

func newKeys() (access, secret string) { return rand.Text()[:20], rand.Text() + rand.Text() }

// StartS3 starts an S3 server for the objects in Dir and returns when it is
// ready.
//
// The server is a child process, this binary again (see Main), because the
// gateway changes its working directory. If the child crashes, it is started
// again on the same port until ctx ends. Close ends it. It also ends by itself
// when this process is gone, for whatever reason. Port and keys are those of
// the last time; if the port is taken by then, another one is chosen, unless
// Listen names the port.
//
// After each upload, copy or POST form to a key under one of
// blob.NotifyPrefixes the server posts the event to the webhook, and waits at
// most two seconds for an answer. An event that is lost is logged.
func StartS3(ctx context.Context, o S3Options) (*S3, error) {
	s, config, err := newS3(o)
	if err != nil {
		return nil, fmt.Errorf("start embedded object store: %w", err)
	}
	child, err := s.start(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("start embedded object store in %s: %w", config.Dir, err)
	}
	if child.port != s.state.Port {
		if s.state.Port != 0 {
			s.log.Warn("the port of the embedded object store was taken; links made before do not work now", "port", s.state.Port, "new_port", child.port)
		}
		s.state.Port = child.port
		if err := s.state.save(config.Dir); err != nil {
			child.end()
			return nil, fmt.Errorf("start embedded object store: %w", err)
		}
	}
	config.Port, config.FixedPort = child.port, true
	go s.supervise(ctx, config, child)
	return s, nil
}

func newS3(o S3Options) (*S3, s3Config, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	dir, err := filepath.Abs(o.Dir) // the child works in another directory
	if err != nil || o.Dir == "" {
		return nil, s3Config{}, fmt.Errorf("directory %q: %w", o.Dir, cmp.Or(err, os.ErrInvalid))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, s3Config{}, err
	}
	state, err := loadS3State(dir, o.Log)
	if err != nil {
		return nil, s3Config{}, err
	}
	config := s3Config{
		Dir: dir, Host: cmp.Or(o.Listen, "127.0.0.1"), Port: state.Port,
		AccessKey: state.AccessKey, SecretKey: state.SecretKey, InboxAccessKey: state.InboxAccessKey, InboxSecretKey: state.InboxSecretKey,
		Gateway: state.Gateway, Dispatcher: state.Dispatcher,
		WebhookURL: o.WebhookURL, WebhookToken: o.WebhookToken,
		Connections: o.Connections, HeaderTimeout: cmp.Or(o.HeaderTimeout, headerTimeout), BodyPause: cmp.Or(o.BodyPause, connection.Pause),
	}
	config.Connections.Total = cmp.Or(config.Connections.Total, maxConnections)
	if host, port, err := net.SplitHostPort(o.Listen); err == nil {
		if config.Port, err = strconv.Atoi(port); err != nil || config.Port <= 0 {
			return nil, s3Config{}, fmt.Errorf("listen address %q: bad port", o.Listen)
		}
		config.Host, config.FixedPort, state.Port = host, true, config.Port
	}
	host := config.Host
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	if o.Destroyed == nil {
		o.Destroyed = func([]StoredObject) {}
	}
	return &S3{host: host, state: state, log: o.Log, destroyed: o.Destroyed, stop: make(chan struct{}), done: make(chan struct{})}, config, nil
}

// loadS3State reads the file, and draws the keys that it lacks: all of them in a
// new directory, those of the inbox and the services in one of an earlier version.
func loadS3State(dir string, log *slog.Logger) (s3State, error) {
	var state s3State
	data, err := os.ReadFile(filepath.Join(dir, "s3.json"))
	switch {
	case err == nil && durable.Lost(data):
		log.Warn("the keys of the embedded object store were lost, probably in a power cut; new ones are drawn, and links made before do not work now", "file", filepath.Join(dir, "s3.json"))
		fallthrough
	case errors.Is(err, os.ErrNotExist):
		state.AccessKey, state.SecretKey = newKeys()
	case err != nil:
		return s3State{}, err
	default:
		if err := json.Unmarshal(data, &state); err != nil || state.AccessKey == "" || state.SecretKey == "" {
			return s3State{}, fmt.Errorf("%s does not hold the keys: %w", filepath.Join(dir, "s3.json"), cmp.Or(err, os.ErrInvalid))
		}
	}
	inbox := Keys{state.InboxAccessKey, state.InboxSecretKey}
	drawn := false
	for _, k := range []*Keys{&inbox, &state.Gateway, &state.Dispatcher} {
		if k.AccessKey == "" || k.SecretKey == "" {
			k.AccessKey, k.SecretKey = newKeys()
			drawn = true
		}
	}
	if !drawn {
		return state, nil
	}
	state.InboxAccessKey, state.InboxSecretKey = inbox.AccessKey, inbox.SecretKey
	return state, state.save(dir)
}

func (s s3State) save(dir string) error {
	data, err := json.Marshal(s) //nolint:gosec // the keys' only home
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, "s3.json"), data)
}

// Endpoint is the server's URL for clients on this machine.
func (s *S3) Endpoint() string {
	return "http://" + net.JoinHostPort(s.host, strconv.Itoa(s.state.Port))
}

// AccessKey is the root account's access key.
func (s *S3) AccessKey() string { return s.state.AccessKey }

// SecretKey is the root account's secret key.
func (s *S3) SecretKey() string { return s.state.SecretKey }

// InboxKeys are the keys of an account that may only upload below inbox/, in any
// bucket.
func (s *S3) InboxKeys() (access, secret string) {
	return s.state.InboxAccessKey, s.state.InboxSecretKey
}

// GatewayKeys are the keys of an account that may do what a gateway does in any
// bucket: upload below uploads/ and read MP3s.
func (s *S3) GatewayKeys() Keys { return s.state.Gateway }

// DispatcherKeys are the keys of an account that may do what a dispatcher does in any
// bucket, but for making it: list it, read and remove videos, and write MP3s.
func (s *S3) DispatcherKeys() Keys { return s.state.Dispatcher }

// Close ends the server: running requests may finish for up to 10 seconds. It
// waits until the process is gone.
func (s *S3) Close() {
	s.once.Do(func() { close(s.stop) })
	<-s.done
}

// supervise waits for the child and starts it again whenever it ends, until
// Close. While there is no child, the end of ctx also ends supervise.
func (s *S3) supervise(ctx context.Context, config s3Config, child *s3Child) {
	defer close(s.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	restarts := retry.Policy{Initial: 100 * time.Millisecond, Max: 5 * time.Second}
	_ = retry.Forever(ctx, restarts, func(ctx context.Context) (err error) {
		if child == nil {
			if child, err = s.start(ctx, config); err != nil {
				s.log.Error("the embedded object store does not start, trying again", "err", err)
				return err
			}
		}
		started := time.Now()
		select {
		case <-child.exited:
		case <-s.stop:
			child.end()
			return nil
		}
		err = fmt.Errorf("it ended: %w", cmp.Or(child.err, io.ErrUnexpectedEOF))
		s.log.Error("the embedded object store ended, starting it again", "err", child.err)
		child = nil
		if time.Since(started) > steady {
			return retry.Progress(err)
		}
		return err
	})
}

// s3Child is one running child process.
type s3Child struct {
	port   int
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	exited chan struct{}
	err    error // set before exited is closed
}

// start runs a child and returns once it is ready.
func (s *S3) start(ctx context.Context, config s3Config) (*s3Child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS == "linux" {
		exe = "/proc/self/exe" // this very binary, even if a newer one has been put in its place
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), exe) // Close ends it
	cmd.Args[0] = os.Args[0]
	cmd.Env = childEnvironment(os.Environ())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	ready := make(chan int, 1)
	cmd.Stdout = &lineWriter{line: func(line string) { // the gateway prints there what is no problem
		if port, ok := strings.CutPrefix(line, readyPrefix); ok {
			n, _ := strconv.Atoi(port)
			ready <- n
			return
		}
		if list, ok := strings.CutPrefix(line, destroyedPrefix); ok {
			var destroyed []StoredObject
			if err := json.Unmarshal([]byte(list), &destroyed); err != nil {
				s.log.Error("the list of destroyed objects cannot be read", "err", err)
				return
			}
			go s.destroyed(destroyed)
			return
		}
		s.log.Debug("embedded object store", "output", line)
	}}
	var last string
	cmd.Stderr = &lineWriter{line: func(line string) {
		last = line
		s.log.Warn("embedded object store", "output", line)
	}}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	child := &s3Child{cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	go func() {
		defer close(child.exited)
		child.err = cmd.Wait()
	}()
	if err := json.NewEncoder(stdin).Encode(config); err != nil { //nolint:gosec // a pipe, so that no other process sees the keys
		child.kill()
		return nil, fmt.Errorf("configure: %w", err)
	}
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case child.port = <-ready:
		s.log.Info("the embedded object store is ready", "port", child.port, "pid", cmd.Process.Pid)
		return child, nil
	case <-child.exited:
		if strings.Contains(last, syscall.EADDRINUSE.Error()) {
			return nil, syscall.EADDRINUSE
		}
		return nil, fmt.Errorf("it ended at once, saying %q: %w", last, cmp.Or(child.err, io.ErrUnexpectedEOF))
	case <-s.stop:
		child.kill()
		return nil, context.Canceled
	case <-ctx.Done():
		child.kill()
		return nil, ctx.Err()
	case <-timeout.C:
		child.kill()
		return nil, fmt.Errorf("not ready within %s: is another process using %s?", readyTimeout, config.Dir)
	}
}

// passed are the variables that the child gets: where it may write, and those of Go
// itself. Keys and addresses come through its standard input; secrets of this process
// are none of its business.
var passed = []string{"TMPDIR", "TZ", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GORACE", "GOTRACEBACK", "GOCOVERDIR"}

func childEnvironment(environ []string) []string {
	env := []string{childEnv + "=" + childS3}
	for _, variable := range environ {
		if name, _, _ := strings.Cut(variable, "="); slices.Contains(passed, name) {
			env = append(env, variable)
		}
	}
	return env
}

// end asks the child to end and waits for that. A second call does not ask
// again.
func (c *s3Child) end() {
	_, _ = io.WriteString(c.stdin, stopLine+"\n") // fails only if the child has ended
	select {
	case <-c.exited:
	case <-time.After(stopTimeout):
		c.kill()
	}
}

func (c *s3Child) kill() {
	_ = c.cmd.Process.Kill() // fails only if the child has ended
	<-c.exited
}

// The gateway's own errors name keys, and keys may hold e-mail addresses.
var addresses = regexp.MustCompile(`[^\s/"]+@[^\s/"]+`)

// lineWriter passes on what a child writes, line by line.
type lineWriter struct {
	line func(string)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := string(w.rest[:i])
		if !strings.HasPrefix(line, destroyedPrefix) {
			line = addresses.ReplaceAllString(line, "…@…")
		}
		w.line(line)
		w.rest = w.rest[i+1:]
	}
}
