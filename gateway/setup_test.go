package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/embedded"
	"tonearm/internal/limit"
	"tonearm/internal/queue/redisqueue"
)

const password = "correct horse"

// The servers that all tests share; each test has a bucket, a key prefix and
// databases of its own.
var (
	objects *embedded.S3
	redis   *embedded.Redis
)

func TestMain(m *testing.M) {
	embedded.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	if objects, err = embedded.StartS3(ctx, embedded.S3Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		panic(err)
	}
	defer objects.Close()
	if redis, err = embedded.StartRedis(ctx); err != nil {
		panic(err)
	}
	defer redis.Close()
	return m.Run()
}

// stack is a gateway on real stores, and a client.
type stack struct {
	*Gateway
	t   testing.TB
	url string
}

func start(t testing.TB, change ...func(*Options)) *stack {
	t.Helper()
	dir := t.TempDir()
	records, err := sqliteconversion.Open(filepath.Join(dir, "tonearm.db"))
	check(t, err)
	t.Cleanup(func() { records.Close() })
	check(t, records.Prepare(t.Context()))
	accounts, err := sqlaccount.OpenSQLite(filepath.Join(dir, "accounts.db"))
	check(t, err)
	t.Cleanup(func() { accounts.Close() })
	check(t, accounts.Prepare(t.Context()))
	keys, err := jwttoken.LoadOrCreate(filepath.Join(dir, "keys.pem"))
	check(t, err)
	tokens, err := jwttoken.New(jwttoken.Options{Keys: keys, Issuer: "http://localhost"})
	check(t, err)
	name := strings.ReplaceAll(conversion.NewID(), "-", "")
	bucket, err := s3blob.New(s3blob.Options{
		Endpoint: objects.Endpoint(), Bucket: "b" + name, AccessKey: objects.AccessKey(), SecretKey: objects.SecretKey(),
	})
	check(t, err)
	check(t, bucket.Prepare(t.Context()))
	queue, err := redisqueue.Open(redis.URL(), name)
	check(t, err)
	t.Cleanup(func() { queue.Close() })
	o := Options{
		Records: records, Users: accounts, Tokens: tokens, Objects: bucket, Queue: queue,
		PublicURL: "http://localhost:8080", OpenRegistration: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&o)
	}
	g, err := New(o)
	check(t, err)
	server := httptest.NewServer(g.Handler())
	t.Cleanup(server.Close)
	return &stack{Gateway: g, t: t, url: server.URL}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// user is somebody with an account.
type user struct {
	account.User
	*stack
	token string
}

func (s *stack) user(email string, limit ...int64) *user {
	s.t.Helper()
	u, err := s.o.Users.Create(s.t.Context(), email, password, append(limit, 0)[0])
	check(s.t, err)
	token, _, err := s.o.Tokens.Access(u, s.o.Now())
	check(s.t, err)
	return &user{User: u, stack: s, token: token}
}

// key makes an API key of the user.
func (u *user) key(scopes ...account.Scope) (account.Key, string) {
	u.t.Helper()
	k, secret, err := u.o.Users.CreateKey(u.t.Context(), u.User, account.Key{Name: "k", Scopes: scopes})
	check(u.t, err)
	return k, secret
}

// with is the user with another token or key.
func (u *user) with(token string) *user { return &user{User: u.User, stack: u.stack, token: token} }

// forget lets a test ask for more mails than the limit of its network.
func (s *stack) forget() { s.limits = limit.NewShared(nil, s.o.Now, nil) }

// mail returns the newest mail of this kind that is owed to an address.
func (s *stack) mail(to string, kind account.MailKind) account.Mail {
	s.t.Helper()
	all, err := s.o.Users.DueMails(s.t.Context(), time.Now().Add(time.Second), 1000)
	check(s.t, err)
	for _, m := range slices.Backward(all) {
		if m.Recipient == to && m.Kind == kind {
			return m
		}
	}
	s.t.Fatalf("no mail %s to %s among %+v", kind, to, all)
	return account.Mail{}
}

// reply is an answer, unchanged.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// send makes one request without login and follows no redirect. body is a
// reader, a string, nil, or a value that becomes JSON; header are pairs.
func (s *stack) send(method, path string, body any, header ...string) reply {
	s.t.Helper()
	return s.sendTo("", method, path, body, header...)
}

// sendTo is send to another name of the server; an empty one is its own.
func (s *stack) sendTo(host, method, path string, body any, header ...string) reply {
	s.t.Helper()
	var content io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case io.Reader:
		content = b
	case string:
		content, kind = strings.NewReader(b), "application/json"
	default:
		j, err := json.Marshal(b)
		check(s.t, err)
		content, kind = bytes.NewReader(j), "application/json"
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, content)
	check(s.t, err)
	req.Host = host
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	check(s.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	check(s.t, err)
	return reply{s.t, res.StatusCode, res.Header, b}
}

// call is send with the user's token.
func (u *user) call(method, path string, body any, header ...string) reply {
	u.t.Helper()
	return u.send(method, path, body, append([]string{"Authorization", "Bearer " + u.token}, header...)...)
}

// want fails the test unless the status is this one and, for a problem, its
// code.
func (r reply) want(status int, code ...string) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("got status %d, want %d: %s", r.status, status, r.body)
	}
	if len(code) > 0 {
		p := decode[api.Problem](r)
		equal(r.t, "code", p.Code, code[0])
		equal(r.t, "status in the body", p.Status, status)
		equal(r.t, "content type", r.header.Get("Content-Type"), "application/problem+json")
		if p.Title == "" || p.Detail == "" {
			r.t.Errorf("the problem says nothing: %s", r.body)
		}
	}
	return r
}

func decode[T any](r reply) T {
	r.t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		r.t.Fatalf("%v in %s", err, r.body)
	}
	return v
}

// announce creates a conversion through the interface.
func (u *user) announce(size int64, parts bool) api.Conversion {
	u.t.Helper()
	return decode[api.Conversion](u.call("POST", "/v1/conversions", api.NewConversion{Filename: "Ünder way.mp4", Size: size, Parts: parts}).want(201))
}

// put sends body with a presigned request.
func put(t testing.TB, method, url string, headers map[string]string, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	check(t, err)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	check(t, err)
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("PUT: %s: %s", res.Status, answer)
	}
}

// advance brings the record of a conversion to a state as the other services
// would.
func (s *stack) advance(id string, to conversion.State) conversion.Conversion {
	s.t.Helper()
	now, p := s.o.Now(), conversion.DefaultPolicy
	c, err := s.o.Records.Update(s.t.Context(), id, func(c *conversion.Conversion) error {
		switch to {
		case conversion.AwaitingUpload:
			return conversion.ErrUnchanged
		case conversion.Expired:
			c.ExpiresAt = now
			return c.Expire(now)
		case conversion.Canceled:
			return c.Cancel(now)
		case conversion.Deleted:
			return c.Delete(now)
		}
		o := conversion.Object{Key: c.Object.Key, Version: "v" + c.ID, ETag: "e", Size: c.Object.Size}
		if err := c.Uploaded(o, now); err != nil || to == conversion.Queued {
			return err
		}
		if err := c.Begin(c.Attempt+1, p, now); err != nil || to == conversion.Running {
			return err
		}
		if err := c.Claim(c.Attempt, "nonce", p, now); err != nil {
			return err
		}
		if to == conversion.Failed {
			return c.FailAttempt(c.Attempt, conversion.Failure{Code: conversion.CodeNoAudio, Message: "There is no sound."}, conversion.Final, p, now)
		}
		quality := 2
		return c.Complete(c.Attempt, "nonce", conversion.Source{Codec: "aac", Duration: 3},
			conversion.MP3{Key: c.MP3Key(c.Attempt), ETag: "m", Size: 3, Duration: 3, VBRQuality: &quality, SampleRate: 48000, Channels: 2}, p, now)
	})
	check(s.t, err)
	equal(s.t, "state", c.State, to)
	return c
}

// object reads an object of the store, "" where there is none.
func (s *stack) object(key string) string {
	s.t.Helper()
	if _, err := s.o.Objects.Head(s.t.Context(), key); err != nil {
		if err := fmt.Errorf("%w", err); strings.Contains(err.Error(), blob.ErrNotExist.Error()) {
			return ""
		}
		s.t.Fatal(err)
	}
	r, err := s.o.Objects.Get(s.t.Context(), key, "", 0, -1)
	check(s.t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	check(s.t, err)
	return string(b)
}

const mib = 1 << 20
