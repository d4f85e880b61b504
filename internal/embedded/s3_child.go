package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"

	"tonearm/internal/connection"
	"tonearm/internal/durable"
	"tonearm/internal/media/ffmpeg/cage"
)

const (
	childEnv = "TONEARM_EMBEDDED_CHILD"
	childS3  = "s3"
	stopLine = "stop"

	readyPrefix = "ready on port " // before the port, in a line of the standard output
)

// s3Config is the first line that the child reads from its standard input. A
// second line asks it to stop. The end of the input means that the parent is
// gone.
type s3Config struct {
	Dir, Host                string
	Port                     int  // 0: choose
	FixedPort                bool // where Port is taken, give up
	AccessKey, SecretKey     string
	WebhookURL, WebhookToken string

	InboxAccessKey, InboxSecretKey string
	Gateway, Dispatcher            Keys

	Connections              connection.Limits
	HeaderTimeout, BodyPause time.Duration
}

// Main must be the first call in main and TestMain of every program that uses
// StartS3. In the child process it runs the server and does not return. In any
// other process it returns at once.
func Main() {
	if os.Getenv(childEnv) != childS3 {
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr { // the parent's line has them
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}))
	if err := cage.Hide(); err != nil { // it holds the store's keys
		log.Warn("processes of the same user can look into the object store", "err", err)
	}
	if err := runS3(log); err != nil {
		log.Error("the embedded object store failed", "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runS3(log *slog.Logger) error {
	// The parent decides what to do about a signal to the whole group.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	stdin := bufio.NewReader(os.Stdin)
	line, err := stdin.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	var config s3Config
	if err := json.Unmarshal(line, &config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		if line, _ := stdin.ReadString('\n'); strings.TrimSpace(line) != stopLine {
			os.Exit(0) // the parent is gone, and nobody waits for the rest
		}
		cancel()
	}()

	unlock, err := lock(filepath.Join(config.Dir, "s3.lock"))
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // the process ends
	store, where, err := openBackend(config.Dir)
	if err != nil {
		return err
	}
	alive := newHeartbeat(config.Dir)
	last, crashed := alive.crashed()
	port, err := choosePort(ctx, config)
	if err != nil {
		return err
	}
	address := net.JoinHostPort(config.Host, strconv.Itoa(port))
	front := newFront(config, log)
	ended := make(chan error, 1)
	go func() {
		ended <- embedgw.RunVersityGW(ctx, notifying{Backend: store, disk: where, sender: newSender(config, log), accounts: newAccounts(config)}, &embedgw.Config{
			IAMService:        newAccounts(config),
			RootUserAccess:    config.AccessKey,
			RootUserSecret:    config.SecretKey,
			Ports:             []string{address},
			MaxConnections:    2 * config.Connections.Total, // front counts them; those that it has closed need a moment to end
			MaxRequests:       2 * config.Connections.Total,
			MultipartMaxParts: 10000,
			KeepAlive:         false, // with it, PUTs without a body get lost
			Quiet:             true,
			DisableACLs:       true,
			S3Options: []s3api.Option{
				front.attach,
				s3api.WithMiddleware("/", front.requests.count),
				s3api.WithMiddleware("/", front.receive),
				s3api.WithOnListen(func() {
					if err := front.setUp(); err != nil {
						log.Error("the embedded object store cannot limit its clients", "err", err)
						return // the parent does not wait for ever
					}
					go func() {
						tellReady(ctx, address, port, log)
						if crashed {
							tellCrash(ctx, where.storer, last, log)
						}
						alive.run(ctx, log)
					}()
				}),
			},
		})
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		select {
		case <-front.requests.drain():
		case err = <-ended: // it stopped waiting for requests
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err == nil {
		err = alive.end()
	}
	return err
}

// tellReady makes a request, then prints the port.
func tellReady(ctx context.Context, address string, port int, log *slog.Logger) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and without a proxy
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err == nil {
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			err = resp.Body.Close()
		}
	}
	if err != nil {
		log.Error("the embedded object store does not answer", "err", err)
		return // the parent does not wait for ever
	}
	fmt.Println(readyPrefix + strconv.Itoa(port))
}

// tellCrash prints which objects were destroyed when the machine went down.
func tellCrash(ctx context.Context, storer meta.MetadataStorer, last time.Time, log *slog.Logger) {
	if err := tellDestroyed(ctx, storer, last.Add(-aliveSlack)); err != nil && ctx.Err() == nil {
		log.Error("could not check the objects that were stored before the machine went down", "err", err)
	}
}

// lock waits until no other process works in the directory. That may be the
// gateway of an earlier life that is about to end.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

func openBackend(dir string) (*posix.Posix, disk, error) {
	data, sidecar := filepath.Join(dir, "data"), filepath.Join(dir, "meta")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, disk{}, err
	}
	var where disk
	var storer meta.MetadataStorer = attributes{}
	opts := posix.PosixOpts{CopyObjectThreshold: 5 << 30}
	_, err := os.Stat(sidecar)
	if err == nil || (attributes{}).Test(data) != nil { // a store that began with a sidecar always has one
		if err := os.MkdirAll(sidecar, 0o700); err != nil {
			return nil, disk{}, err
		}
		if storer, err = meta.NewSideCar(sidecar); err != nil {
			return nil, disk{}, err
		}
		opts.SideCarDir, where.sidecar = sidecar, sidecar
	}
	if err := durable.SyncDirs(dir, "data/."); err != nil {
		return nil, disk{}, err
	}
	storer = syncing{storer}
	where.storer = storer
	store, err := posix.New(data, storer, opts) // from here on, data is the working directory
	if err != nil {
		return nil, disk{}, fmt.Errorf("open %s: %w", data, err)
	}
	return store, where, recoverUploads(storer)
}

// choosePort returns the configured port if it is free. Otherwise it chooses
// one below the ports that systems use for outgoing connections, so that no
// such connection takes the port between two runs.
func choosePort(ctx context.Context, config s3Config) (int, error) {
	port := config.Port
	for range 100 {
		if port != 0 {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(config.Host, strconv.Itoa(port)))
			if err == nil {
				return port, l.Close()
			}
			if config.FixedPort || !errors.Is(err, syscall.EADDRINUSE) {
				return 0, err
			}
		}
		port = 20000 + rand.IntN(10000) //nolint:gosec // no secret
	}
	return 0, fmt.Errorf("no free port on %s", config.Host)
}
