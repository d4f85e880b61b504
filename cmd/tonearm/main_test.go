package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tonearm/gateway"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/embedded"
	"tonearm/internal/queue"
	"tonearm/internal/queue/redisqueue"
)

func TestMain(m *testing.M) {
	embedded.Main()
	testscript.Main(m, map[string]func(){"tonearm": main})
}

// TestScripts runs the scripts of testdata against a gateway on embedded
// stores. What dispatcher and transcoder would do, a worker of the test does,
// by the name of the video; see finish.
func TestScripts(t *testing.T) {
	s := startStack(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// A user for each script; the server and a token, for scripts without login.
			email := strings.ReplaceAll(filepath.Base(e.WorkDir), "script-", "") + "@example.org"
			user, err := s.accounts.Create(t.Context(), email, "correct horse", 0)
			if err != nil {
				return err
			}
			token, _, err := s.tokens.Access(user, time.Now())
			if err != nil {
				return err
			}
			for name, value := range map[string]string{
				"SERVER": s.url, "EMAIL": email, "TOKEN": token,
				"HOME":            e.WorkDir,
				"XDG_CONFIG_HOME": filepath.Join(e.WorkDir, "config"),
				"XDG_STATE_HOME":  filepath.Join(e.WorkDir, "state"),
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"makefile":     makeFile,
			"makedatabase": makeDatabase,
			"tokenfrom":    tokenFrom,
			"halfway":      halfway,
			"mode":         checkMode,
			"code":         exitCode,
			"interrupt":    s.interrupt,
			"ownlimits":    s.ownLimits,

			"conversions": countConversions,
			"oldjournal":  oldJournal,
		},
	})
}

type stack struct {
	url      string
	records  *sqliteconversion.Store
	accounts *sqlaccount.Store
	tokens   *jwttoken.Tokens
	objects  *s3blob.Store
	queue    *redisqueue.Queue
	asked    sync.Map // *atomic.Int64 by the Authorization header: requests but for lists
}

// count counts the requests of h.
func (s *stack) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/v1/conversions" {
			s.requests(r.Header.Get("Authorization")).Add(1)
		}
		h.ServeHTTP(w, r)
	})
}

func (s *stack) requests(authorization string) *atomic.Int64 {
	n, _ := s.asked.LoadOrStore(authorization, &atomic.Int64{})
	return n.(*atomic.Int64)
}

func startStack(t *testing.T) *stack {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	s := &stack{}
	objects, err := embedded.StartS3(t.Context(), embedded.S3Options{Dir: filepath.Join(dir, "s3"), Log: log})
	must(err)
	t.Cleanup(objects.Close)
	redis, err := embedded.StartRedis(t.Context())
	must(err)
	t.Cleanup(redis.Close)
	s.records, err = sqliteconversion.Open(filepath.Join(dir, "tonearm.db"))
	must(err)
	t.Cleanup(func() { s.records.Close() })
	must(s.records.Prepare(t.Context()))
	s.accounts, err = sqlaccount.OpenSQLite(filepath.Join(dir, "tonearm.db"))
	must(err)
	t.Cleanup(func() { s.accounts.Close() })
	must(s.accounts.Prepare(t.Context()))
	keys, err := jwttoken.LoadOrCreate(filepath.Join(dir, "keys.pem"))
	must(err)
	s.tokens, err = jwttoken.New(jwttoken.Options{Keys: keys, Issuer: "tonearm"})
	must(err)
	s.objects, err = s3blob.New(s3blob.Options{
		Endpoint: objects.Endpoint(), Bucket: "tonearm", AccessKey: objects.AccessKey(), SecretKey: objects.SecretKey(), CORSOrigins: []string{"http://localhost"}, Log: log,
	})
	must(err)
	must(s.objects.Prepare(t.Context()))
	s.queue, err = redisqueue.Open(redis.URL(), "tonearm")
	must(err)
	t.Cleanup(func() { s.queue.Close() })
	g, err := gateway.New(gateway.Options{
		Records: s.records, Users: s.accounts, Tokens: s.tokens, Objects: s.objects, Queue: s.queue,
		PublicURL: "http://localhost", OpenRegistration: true, SelfConfirm: true, MaxUploadBytes: 200 << 20, Log: log,
	})
	must(err)
	server := httptest.NewServer(s.count(g.Handler()))
	t.Cleanup(server.Close)
	s.url = server.URL

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.work(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("worker: %v", err)
		}
	})
	return s
}

// work takes one message after the other, until ctx is done.
func (s *stack) work(ctx context.Context) error {
	outbox := queue.Outbox{Records: s.records, Queue: s.queue, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	for {
		d, err := s.queue.Take(ctx, queue.CPU, time.Minute, time.Hour)
		if err != nil {
			return err
		}
		if err := s.finish(context.WithoutCancel(ctx), &outbox, d.Message); err != nil {
			return fmt.Errorf("%s: %w", d.ID(), err)
		}
		if err := s.queue.Ack(context.WithoutCancel(ctx), d); err != nil {
			return err
		}
	}
}

// finish ends a conversion: failed for a video named silent…, and at its first
// attempt for one named second…; never for one named stuck…; else with an MP3 that
// holds the video's name and size.
func (s *stack) finish(ctx context.Context, outbox *queue.Outbox, m queue.Message) error {
	const nonce = "worker"
	policy := conversion.DefaultPolicy
	var stuck, silent bool
	var key, text string
	c, err := outbox.Update(ctx, m.ConversionID, func(c *conversion.Conversion) error {
		stuck = strings.HasPrefix(c.Filename, "stuck")
		silent = strings.HasPrefix(c.Filename, "silent") || strings.HasPrefix(c.Filename, "second") && m.Attempt == 1
		if err := c.Begin(m.Attempt, policy, time.Now()); err != nil {
			return err
		}
		return c.Claim(m.Attempt, nonce, policy, time.Now())
	})
	if err != nil || stuck {
		return err
	}
	key, text = c.MP3Key(m.Attempt), fmt.Sprintf("the sound of %s, %d bytes\n", c.Filename, c.Object.Size)
	if c.Options.BitrateKbps > 0 {
		text += "at " + strconv.Itoa(c.Options.BitrateKbps)
	}
	o, err := s.objects.Put(ctx, key, strings.NewReader(text))
	if err != nil {
		return err
	}
	_, err = outbox.Update(ctx, c.ID, func(c *conversion.Conversion) error {
		if silent {
			return c.FailAttempt(m.Attempt, conversion.Failure{Code: conversion.CodeNoAudio, Message: "The video has no sound."}, conversion.Final, policy, time.Now())
		}
		sum := sha256.Sum256([]byte(text))
		return c.Complete(m.Attempt, nonce, conversion.Source{}, conversion.MP3{
			Key: key, ETag: o.ETag, Size: int64(len(text)), Duration: 187, SHA256: hex.EncodeToString(sum[:]),
		}, policy, time.Now())
	})
	return err
}

// makeFile: makefile NAME BYTES
func makeFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: makefile NAME BYTES")
	}
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o777))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte("v"), size), 0o666))
}

// ownLimits: ownlimits NAME=VALUE... sets limits of the script's user.
func (s *stack) ownLimits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: ownlimits NAME=VALUE...")
	}
	u, err := s.accounts.ByEmail(context.Background(), ts.Getenv("EMAIL"))
	ts.Check(err)
	for _, arg := range args {
		ts.Check(setLimit(&u.Limits, arg))
	}
	ts.Check(s.accounts.SetLimits(context.Background(), u.ID, u.Limits))
}

// makeDatabase: makedatabase PATH makes one of accounts, as a server does.
func makeDatabase(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: makedatabase PATH")
	}
	store, err := sqlaccount.OpenSQLite(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(store.Prepare(context.Background()))
	ts.Check(store.Close())
}

// halfway: halfway FILE makes a login one that began six hours ago.
func halfway(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: halfway FILE")
	}
	var s session
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &s))
	if left := time.Until(s.RefreshAt); left < 5*time.Hour || left > 6*time.Hour {
		ts.Fatalf("it is renewed in %s", left)
	}
	s.RefreshAt = time.Now().UTC().Add(-time.Second)
	b, err := json.Marshal(s)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// checkMode: mode OCTAL PATH…
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode OCTAL PATH…")
	}
	for _, path := range args[1:] {
		st, err := os.Stat(ts.MkAbs(path))
		ts.Check(err)
		if got := strconv.FormatUint(uint64(st.Mode().Perm()), 8); got != args[0] {
			ts.Fatalf("%s: got mode %s, want %s", path, got, args[0])
		}
	}
}

// exitCode: code N COMMAND… runs the command and wants this exit code.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		wantCode(ts, args[0], 0)
	case errors.As(err, &exit):
		wantCode(ts, args[0], exit.ExitCode())
	default:
		ts.Check(err)
	}
}

func wantCode(ts *testscript.TestScript, want string, got int) {
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit code: got %d, want %s", got, want)
	}
}

// interrupt: interrupt STATE COMMAND… runs the command, sends it SIGINT once it has
// asked the server for something and the user has a conversion in that state, and
// wants exit code 130. Its output lands in the files out and err.
func (s *stack) interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt STATE COMMAND…")
	}
	path, err := exec.LookPath(args[1]) // the test binary's own directory is in PATH
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "TONEARM_SERVER", "TONEARM_TOKEN"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	requests := s.requests("Bearer " + ts.Getenv("TOKEN"))
	before := requests.Load()
	ts.Check(cmd.Start())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for interrupted := false; ; {
		select {
		case <-exited:
			if !interrupted {
				ts.Fatalf("it ended by itself: %s%s", &stdout, &stderr)
			}
			wantCode(ts, "130", cmd.ProcessState.ExitCode())
			ts.Check(os.WriteFile(ts.MkAbs("out"), stdout.Bytes(), 0o666))
			ts.Check(os.WriteFile(ts.MkAbs("err"), stderr.Bytes(), 0o666))
			return
		case <-tick.C:
			if !interrupted && requests.Load() > before && ts.Exec("tonearm", "list", "--json", "--state", args[0]) == nil && ts.ReadFile("stdout") != "" {
				ts.Check(cmd.Process.Signal(os.Interrupt))
				interrupted = true
			}
		case <-deadline:
			_ = cmd.Process.Kill()
			ts.Fatalf("it did not end: %s%s", &stdout, &stderr)
		}
	}
}

// countConversions: conversions N wants the user to have this many.
func countConversions(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: conversions N")
	}
	ts.Check(ts.Exec("tonearm", "list", "--json", "--limit", "0"))
	if got := strconv.Itoa(strings.Count(ts.ReadFile("stdout"), "\n")); got != args[0] {
		ts.Fatalf("%s conversions, want %s", got, args[0])
	}
}

// oldJournal: oldjournal FILE turns what the journal says of an unfinished file into
// what versions before 0.2.0 kept, for the default options.
func oldJournal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oldjournal FILE")
	}
	file, state := ts.MkAbs(args[0]), filepath.Join(ts.Getenv("XDG_STATE_HOME"), "tonearm")
	st, err := os.Stat(file)
	ts.Check(err)
	db, err := sql.Open("sqlite", filepath.Join(state, "journal.db"))
	ts.Check(err)
	defer db.Close()
	var key string
	ts.Check(db.QueryRow("SELECT key FROM file WHERE path = ?", []byte(file)).Scan(&key))
	_, err = db.Exec("DELETE FROM file")
	ts.Check(err)
	id := fmt.Sprintf(`[%q,%q,%d,%d,{"filename":%q,"size":%d,"options":{}},0]`,
		ts.Getenv("SERVER"), file, st.Size(), st.ModTime().UnixNano(), filepath.Base(file), st.Size())
	sum := sha256.Sum256([]byte(id))
	ts.Check(os.MkdirAll(filepath.Join(state, "conversions"), 0o700))
	ts.Check(os.WriteFile(filepath.Join(state, "conversions", hex.EncodeToString(sum[:16])), []byte(key+"\n"), 0o600))
}
