package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/test/faults/proxy"
	"tonearm/test/server"
)

// Gates are the proxies of a world, by what lies behind them.
const (
	gateAPI      = "api"      // clients → gateway
	gateFront    = "front"    // clients → object store
	gateRedis    = "redis"    // services → Redis
	gateRecords  = "records"  // services → MongoDB
	gateUsers    = "users"    // services → MySQL
	gateStore    = "store"    // services and transcoders → object store
	gateEvents   = "events"   // object store → dispatcher
	gateAttempts = "attempts" // transcoders → dispatcher
	gateSMTP     = "smtp"     // notifier → mail server
)

var gates = []string{gateAPI, gateFront, gateRedis, gateRecords, gateUsers, gateStore, gateEvents, gateAttempts, gateSMTP}

const (
	bucket = "tonearm"
	prefix = "tonearm" // of keys in Redis
)

// world is an installation of Tonearm as services, on servers of its own, with a
// proxy on every way between two of them.
type world struct {
	server.Scratch
	programs *programs
	extra    map[string][]string // flags of a cell, by service

	redis, records, users, store, mail *server.Server

	gate     map[string]*proxy.Proxy
	services map[string]*service
	scripts  *scripts
	common   []string // flags of all services
	work     string   // folder of attempts
	url      string   // of the gateway, for clients
	event    string   // token of notifications
	secret   string   // key of attempts
	token    string   // of the account
	client   *client.Client

	seeLimit  time.Duration // for reading all servers
	documents *mongo.Collection
	objects   *minio.Client
	queue     *redis.Client
}

// service is a program of Tonearm.
type service struct {
	*server.Process
	admin string // host:port of its metrics
}

// seeLimit is for a few files; more take longer.
const seeLimit = 20 * time.Second

// names are the services in the order in which they start.
var names = []string{"gateway", "dispatcher", "notifier"}

// openWorld starts everything. flags are more flags of the services. Their own
// clocks are behind that of MongoDB by skew.
func openWorld(ctx context.Context, p *programs, flags map[string][]string, skew time.Duration) (w *world, err error) {
	w = &world{
		Scratch: server.Scratch{Host: server.Loopback}, programs: p, extra: flags,
		gate: map[string]*proxy.Proxy{}, services: map[string]*service{}, scripts: newScripts(), seeLimit: seeLimit, event: token(), secret: token() + token(),
	}
	if err := w.Open(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
			w = nil
		}
	}()
	for _, name := range gates {
		if w.gate[name], err = proxy.Listen(ctx, "127.0.0.1:1"); err != nil {
			return w, err
		}
	}
	if skew != 0 {
		w.gate[gateRecords].Add(skewed(skew))
	}
	w.gate[gateRedis].Add(&proxy.Rule{Match: isEval, Do: proxy.Watch, Strike: w.scripts.learn})
	if err := w.startServers(ctx); err != nil {
		return w, err
	}
	if err := w.startServices(ctx); err != nil {
		return w, unfit(err.Error())
	}
	return w, nil
}

func token() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (w *world) startServers(ctx context.Context) error {
	w.Webhook, w.WebhookToken = "http://"+w.gate[gateEvents].Addr+"/events/s3", w.event
	for _, s := range []struct {
		into  **server.Server
		start func(context.Context) (*server.Server, error)
		gates []string
	}{
		{&w.redis, w.Redis, []string{gateRedis}},
		{&w.records, w.FerretDB, []string{gateRecords}},
		{&w.users, w.MariaDB, []string{gateUsers}},
		{&w.store, w.MinIO, []string{gateStore, gateFront}},
		{&w.mail, w.SMTP, []string{gateSMTP}},
	} {
		started, err := s.start(ctx)
		if err != nil {
			return err
		}
		*s.into = started
		for _, g := range s.gates {
			w.gate[g].Aim(started.Addr)
		}
	}
	records, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + w.records.Addr + "/").SetMaxPoolSize(1))
	if err != nil {
		return err
	}
	w.documents = records.Database("tonearm").Collection("conversions")
	w.queue = redis.NewClient(&redis.Options{Addr: w.redis.Addr, MaxRetries: 5})
	w.objects, err = minio.New(w.store.Addr, &minio.Options{
		Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), Region: "us-east-1",
	})
	return err
}

func (w *world) startServices(ctx context.Context) error {
	keys := filepath.Join(w.Dir(), "signing.pem")
	if err := server.SigningKey(keys); err != nil {
		return err
	}
	var err error
	if w.work, err = w.Folder("attempts"); err != nil {
		return err
	}
	w.url = "http://" + w.gate[gateAPI].Addr
	smtpHost, smtpPort, _ := strings.Cut(w.gate[gateSMTP].Addr, ":")
	w.common = []string{
		"--records=mongodb://" + w.gate[gateRecords].Addr + "/", "--records-database=tonearm",
		"--users=root@tcp(" + w.gate[gateUsers].Addr + ")/tonearm",
		"--queue=redis://" + w.gate[gateRedis].Addr + "/0", "--queue-prefix=" + prefix,
		"--s3-endpoint=http://" + w.gate[gateStore].Addr, "--s3-public-endpoint=http://" + w.gate[gateFront].Addr,
		"--s3-bucket=" + bucket, "--s3-notify-arn=" + server.NotifyARN,
		"--s3-access-key=" + server.AccessKey, "--s3-secret-key=" + server.SecretKey,
		"--signing-keys=" + keys, "--public-url=" + w.url,
		"--open-registration=true", "--self-confirm=true",
		"--dispatcher-url=http://" + w.gate[gateAttempts].Addr, "--attempt-key=" + w.secret, "--event-token=" + w.event,
		"--work-dir=" + w.work, "--max-jobs=2", "--target=0s",
		"--smtp-host=" + smtpHost, "--smtp-port=" + smtpPort, "--smtp-tls=none", "--mail-from=Tonearm <tonearm@example.org>",
	}
	for _, name := range names {
		if err := w.startService(ctx, name, name, w.common); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := w.ready(ctx, w.services[name]); err != nil {
			return err
		}
	}
	return w.join(ctx)
}

// startService starts a program as a service; name is its name here.
func (w *world) startService(ctx context.Context, name, program string, flags []string) error {
	s, listen, err := w.programs.start(ctx, &w.Scratch, name, []string{program}, slices.Concat(flags, w.extra[name]))
	if err != nil {
		return err
	}
	w.services[name] = s
	switch program {
	case "gateway":
		w.gate[gateAPI].Aim(listen)
	case "dispatcher":
		w.gate[gateEvents].Aim(listen)
		w.gate[gateAttempts].Aim(listen)
	}
	return nil
}

// ready waits until a service is ready.
func (w *world) ready(ctx context.Context, s *service) error {
	return s.Answers(ctx, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+s.admin+"/readyz")
		return err
	})
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return b, err
}

// join makes an account and logs in.
func (w *world) join(ctx context.Context) error {
	var err error
	if w.token, err = newUser(ctx, w.url, "owner@example.org"); err != nil {
		return err
	}
	w.client, err = userOf(w.url, w.token)
	return err
}

// newUser makes an account and returns a token of it.
func newUser(ctx context.Context, url, email string) (string, error) {
	c, err := client.New(client.Options{Server: url})
	if err != nil {
		return "", err
	}
	password := token()
	if _, err := c.CreateUser(ctx, api.NewUser{Email: email, Password: password}); err != nil {
		return "", fmt.Errorf("make an account: %w", err)
	}
	login, err := c.Login(ctx, email, password)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	return login.AccessToken, nil
}

func userOf(url, token string) (*client.Client, error) {
	return client.New(client.Options{Server: url, Token: token, Patience: clientPatience})
}

// clientPatience is how long a client goes on trying.
const clientPatience = 2 * time.Minute

func (w *world) close() {
	for _, s := range w.services {
		_ = s.Signal(syscall.SIGCONT)
		s.Kill()
	}
	for _, g := range w.gate {
		g.Close()
	}
	if w.documents != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.documents.Database().Client().Disconnect(ctx)
		_ = w.queue.Close()
	}
	w.Close()
}

// keepLogs copies the logs in a folder into one of the cell below logs; "" for
// not.
func keepLogs(from, logs string, c cell) error {
	if logs == "" {
		return nil
	}
	dir := filepath.Join(logs, strings.ReplaceAll(c.name(), "/", "_"))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(from, "*.log"))
	if err != nil {
		return err
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o600); err != nil { //nolint:gosec // whoever runs this names the folder
			return err
		}
	}
	return nil
}

// transcoders are the processes that the dispatcher has started.
func (w *world) transcoders() []int { return children(w.services["dispatcher"].PID()) }

// children returns the child processes of a process. /proc/PID/task/TID/children
// is shorter, but leaves out some while others end.
func children(pid int) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		// The second field is the name in brackets, the third the state, the fourth
		// the parent; see proc(5).
		words := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(words) < 2 || words[0] == "Z" || words[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// descendants returns a process and all below it.
func descendants(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}

// state is what a service says about itself.
type state struct {
	goroutines float64
	memory     float64 // resident, bytes
	lines      int     // of its log
}

func stateOf(ctx context.Context, s *service) (state, error) {
	b, err := get(ctx, "http://"+s.admin+"/metrics")
	if err != nil {
		return state{}, err
	}
	var st state
	for name, into := range map[string]*float64{"go_goroutines": &st.goroutines, "process_resident_memory_bytes": &st.memory} {
		_, rest, ok := bytes.Cut(b, []byte("\n"+name+" "))
		if !ok {
			return st, errors.New("no metric " + name)
		}
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		if *into, err = strconv.ParseFloat(string(line), 64); err != nil {
			return st, err
		}
	}
	st.lines = lines(s.Log)
	return st, nil
}

// metric returns the value of a series of a service; 0 if there is none. label is
// a part of its labels.
func metric(ctx context.Context, s *service, name, label string) (float64, error) {
	b, err := get(ctx, "http://"+s.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if rest, ok := strings.CutPrefix(series, name); ok && (rest == "" || rest[0] == '{') && strings.Contains(rest, label) {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, nil
}

// torn returns the first line of a service's log that is not JSON; "" if there is
// none.
func torn(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if !json.Valid(s.Bytes()) {
			const most = 120
			return string(s.Bytes()[:min(most, len(s.Bytes()))])
		}
	}
	return ""
}

// lines counts the lines of a file.
func lines(path string) (n int) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		n++
	}
	return n
}
