package embedded_test

// Over 500 lines: each test is short; together they are what clients of the embedded store rely on.

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/blob"
	"tonearm/internal/blob/blobtest"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/embedded"
)

const parentEnv = "TONEARM_TEST_S3_PARENT" // directory of a process that exists only to be killed

func TestMain(m *testing.M) {
	embedded.Main()
	if dir := os.Getenv(parentEnv); dir != "" {
		server, err := embedded.StartS3(context.Background(), embedded.S3Options{Dir: dir})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(server.Endpoint())
		select {}
	}
	os.Exit(m.Run())
}

// starts is a log handler that reports the pids of servers that have become
// ready.
type starts struct {
	slog.Handler
	pids chan int64
}

func (s starts) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pid" {
			s.pids <- a.Value.Int64()
		}
		return true
	})
	return s.Handler.Handle(ctx, r)
}

func start(t testing.TB, o embedded.S3Options) (*embedded.S3, chan int64) {
	t.Helper()
	pids := make(chan int64, 100)
	o.Log = slog.New(starts{slog.NewTextHandler(t.Output(), nil), pids})
	server, err := embedded.StartS3(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, pids
}

func open(t testing.TB, server *embedded.S3) *s3blob.Store {
	t.Helper()
	store, err := s3blob.New(s3blob.Options{Endpoint: server.Endpoint(), Bucket: "test", AccessKey: server.AccessKey(), SecretKey: server.SecretKey()})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func client(t testing.TB, server *embedded.S3) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(server.Endpoint(), "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(server.AccessKey(), server.SecretKey(), ""), Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, store *s3blob.Store, key string) {
	t.Helper()
	if _, err := store.Put(t.Context(), key, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
}

// link presigns a GET and returns a function that follows it.
func link(t *testing.T, store *s3blob.Store, key string) func() (string, error) {
	t.Helper()
	r, err := store.PresignGet(t.Context(), key, "", "", time.Hour, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	return func() (string, error) {
		resp, err := http.Get(r.URL)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	server, _ := start(t, embedded.S3Options{Dir: dir})
	store := open(t, server)
	put(t, store, "k")
	get := link(t, store, "k")
	server.Close()
	server.Close()
	if _, err := get(); err == nil {
		t.Error("it answers after Close")
	}
	info, err := os.Stat(filepath.Join(dir, "s3.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the keys' file: %v, %v", info.Mode(), err)
	}

	again, _ := start(t, embedded.S3Options{Dir: dir})
	if again.Endpoint() != server.Endpoint() || again.AccessKey() != server.AccessKey() || again.SecretKey() != server.SecretKey() {
		t.Errorf("got %s and other keys, want %s", again.Endpoint(), server.Endpoint())
	}
	if got, err := get(); got != "content" || err != nil {
		t.Errorf("an old link: got %q, %v", got, err)
	}
	again.Close()

	taken, err := net.Listen("tcp", strings.TrimPrefix(server.Endpoint(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other, _ := start(t, embedded.S3Options{Dir: dir})
	if other.Endpoint() == server.Endpoint() {
		t.Error("it has a port that is taken")
	}
	if got, err := link(t, open(t, other), "k")(); got != "content" || err != nil {
		t.Errorf("on another port: got %q, %v", got, err)
	}
	other.Close()
	if _, err := embedded.StartS3(t.Context(), embedded.S3Options{Dir: dir, Listen: taken.Addr().String()}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("on a taken address that was asked for: got %v", err)
	}
}

func TestListen(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir(), Listen: "0.0.0.0"})
	if !strings.HasPrefix(server.Endpoint(), "http://127.0.0.1:") {
		t.Errorf("got %s", server.Endpoint())
	}
	put(t, open(t, server), "k")
}

func TestCrash(t *testing.T) {
	server, pids := start(t, embedded.S3Options{Dir: t.TempDir()})
	store := open(t, server)
	put(t, store, "k")
	get := link(t, store, "k")
	for range 2 {
		pid := <-pids
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next := <-pids
		if next == pid {
			t.Fatal("the same process")
		}
		if got, err := get(); got != "content" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		pids <- next
	}
}

// The signals of a terminal go to all processes; the parent decides what they
// mean.
func TestIgnoresSignals(t *testing.T) {
	server, pids := start(t, embedded.S3Options{Dir: t.TempDir()})
	pid := <-pids
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(int(pid), s); err != nil {
			t.Fatal(err)
		}
	}
	put(t, open(t, server), "k")
	server.Close()
	if len(pids) > 0 {
		t.Error("it was started again")
	}
}

func TestParentKilled(t *testing.T) {
	dir := t.TempDir()
	var last string
	for range 3 {
		parent := exec.Command(os.Args[0])
		parent.Env = append(os.Environ(), parentEnv+"="+dir)
		parent.Stderr = t.Output()
		out, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		endpoint, err := bufio.NewReader(out).ReadString('\n')
		parent.Process.Kill()
		parent.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if last != "" && endpoint != last {
			t.Errorf("got %s, want %s", endpoint, last)
		}
		last = endpoint
	}
	server, _ := start(t, embedded.S3Options{Dir: dir}) // it has the lock, so the other processes are gone
	if server.Endpoint()+"\n" != last {
		t.Errorf("got %s, want %s", server.Endpoint(), last)
	}
}

// An upload that is under way when Close is called is finished.
func TestCloseDrains(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
	store := open(t, server)
	half := strings.Repeat("x", 16<<20) // more than sockets can hold: once all is sent, the gateway is reading it
	r, err := store.PresignPut(t.Context(), "k", int64(2*len(half)), time.Minute, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nIf-None-Match: *\r\n\r\n%s", u.RequestURI(), u.Host, 2*len(half), half)
	closed := make(chan struct{})
	go func() {
		server.Close()
		close(closed)
	}()
	untilRefused(t, server)
	io.WriteString(conn, half)
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "200") {
		t.Errorf("got %q, %v", line, err)
	}
	<-closed
}

// A download that is under way is finished too.
func TestCloseDrainsDownloads(t *testing.T) {
	const size = 32 << 20 // more than sockets can hold
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
	store := open(t, server)
	if _, err := store.Put(t.Context(), "k", io.LimitReader(zeros{}, size)); err != nil {
		t.Fatal(err)
	}
	body, err := store.Get(t.Context(), "k", "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	closed := make(chan struct{})
	go func() {
		server.Close()
		close(closed)
	}()
	untilRefused(t, server)
	if n, err := io.Copy(io.Discard, body); n != size || err != nil {
		t.Errorf("got %d bytes, %v; want %d", n, err, size)
	}
	<-closed
}

// untilRefused returns when the server accepts no more connections.
func untilRefused(t *testing.T, server *embedded.S3) {
	t.Helper()
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.Endpoint(), "http://"))
		if err != nil {
			return
		}
		conn.Close()
	}
}

// Connections that nobody uses do not hold up Close.
func TestCloseIsPrompt(t *testing.T) {
	for name, sent := range map[string]string{
		"nothing sent":    "",
		"half a request":  "GET / HTTP/1.1\r\n",
		"answered before": "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
			put(t, open(t, server), "k")
			var conns []net.Conn
			for range 20 {
				conn, err := net.Dial("tcp", strings.TrimPrefix(server.Endpoint(), "http://"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				io.WriteString(conn, sent)
				conns = append(conns, conn)
			}
			if name == "answered before" {
				for _, conn := range conns {
					if _, err := io.ReadAll(conn); err != nil {
						t.Fatal(err)
					}
				}
			}
			put(t, open(t, server), "k") // it has accepted the others by then
			began := time.Now()
			server.Close()
			if took := time.Since(began); took > 6*time.Second { // the gateway waits for 10 s
				t.Errorf("took %s", took)
			}
		})
	}
}

// The operator's log shows what is wrong, and nothing else.
func TestWarnings(t *testing.T) {
	warnings := &strings.Builder{}
	log := slog.New(slog.NewTextHandler(warnings, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server, err := embedded.StartS3(t.Context(), embedded.S3Options{Dir: t.TempDir(), WebhookURL: "http://127.0.0.1:1", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	put(t, open(t, server), "uploads/k")
	server.Close()
	if got := strings.TrimSpace(warnings.String()); strings.Count(got, "\n") != 0 || !strings.Contains(got, "could not send a notification") {
		t.Errorf("got %s", got)
	}
}

// A gateway that is killed while it joins parts leaves the upload under another
// name.
func TestRecoversUploads(t *testing.T) {
	for _, sidecar := range []bool{false, true} {
		t.Run(fmt.Sprint("sidecar ", sidecar), func(t *testing.T) {
			const key = "uploads/u/c/source"
			dir := t.TempDir()
			roots := []string{"data"}
			if sidecar {
				roots = append(roots, "meta")
				if err := os.Mkdir(filepath.Join(dir, "meta"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			server, _ := start(t, embedded.S3Options{Dir: dir})
			store := open(t, server)
			id, err := store.CreateUpload(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			r, err := store.PresignPart(t.Context(), key, id, 1, 4, time.Minute, blob.Public)
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequest(http.MethodPut, r.URL, strings.NewReader("part"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			server.Close()
			uploads := func(root string) string {
				return filepath.Join(dir, root, "test/.sgwtmp/multipart", fmt.Sprintf("%x", sha256.Sum256([]byte(key))))
			}
			for _, root := range roots {
				if err := os.Rename(filepath.Join(uploads(root), id), filepath.Join(uploads(root), id+".0123-1.inprogress")); err != nil {
					t.Fatal(err)
				}
			}

			server, _ = start(t, embedded.S3Options{Dir: dir})
			store = open(t, server)
			parts, err := store.Parts(t.Context(), key, id)
			if err != nil {
				t.Fatal(err)
			}
			if o, err := store.CompleteUpload(t.Context(), key, id, parts); err != nil || o.Size != 4 {
				t.Errorf("got %+v, %v", o, err)
			}
			server.Close()
			if !sidecar { // else the attribute is a file that the test can write
				return
			}

			leftover := filepath.Join(uploads("data"), id+".0123-1.inprogress")
			attribute := filepath.Join(uploads("meta"), "meta", "objname")
			err = errors.Join(os.MkdirAll(leftover, 0o700), os.MkdirAll(filepath.Dir(attribute), 0o700), os.WriteFile(attribute, []byte(key), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			server, _ = start(t, embedded.S3Options{Dir: dir})
			_, err = open(t, server).Parts(t.Context(), key, id)
			if !errors.Is(err, blob.ErrNotExist) {
				t.Errorf("the upload whose object is in place: got %v, want %v", err, blob.ErrNotExist)
			}
		})
	}
}

// film is a presigned form for one file.
type film struct{ url, contentType, head, tail string }

// around is the body of the form with the file.
func (f film) around(content io.Reader) io.Reader {
	return io.MultiReader(strings.NewReader(f.head), content, strings.NewReader(f.tail))
}

func filmForm(t *testing.T, server *embedded.S3, key string) film {
	t.Helper()
	policy := minio.NewPostPolicy()
	if err := errors.Join(policy.SetBucket("test"), policy.SetKey(key), policy.SetExpires(time.Now().Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	u, fields, err := client(t, server).PresignedPostPolicy(t.Context(), policy)
	if err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	form := multipart.NewWriter(&head)
	for name, value := range fields {
		form.WriteField(name, value)
	}
	form.CreateFormFile("file", "film.mp4")
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	return film{u.String(), form.FormDataContentType(), head.String(), tail}
}

// The form that mc shares may carry a whole film.
func TestFormStreams(t *testing.T) {
	const size = 256 << 20 // far above what the race detector adds on a busy machine, 45 MiB
	server, pids := start(t, embedded.S3Options{Dir: t.TempDir()})
	pid := <-pids
	store := open(t, server)
	form := filmForm(t, server, "k")
	req, err := http.NewRequest(http.MethodPost, form.url, form.around(io.LimitReader(zeros{}, size)))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(form.head) + size + len(form.tail))
	req.Header.Set("Content-Type", form.contentType)
	before := peak(t, pid)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if o, err := store.Head(t.Context(), "k"); err != nil || o.Size != size || resp.StatusCode != http.StatusNoContent {
		t.Errorf("got %s, %+v, %v", resp.Status, o, err)
	}
	if grown := peak(t, pid) - before; grown > size/2 {
		t.Errorf("the gateway took %d MiB for %d MiB", grown>>20, size>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// peak returns the most memory that a process has had, in bytes; 0 if the
// system does not report it as Linux does.
func peak(t *testing.T, pid int64) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, scanned := fmt.Sscan(rest, &kib); err != nil || scanned != nil {
		t.Fatal(err, scanned)
	}
	return kib << 10
}

func TestCopyNotifies(t *testing.T) {
	receivers := blobtest.NewReceivers(t)
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir(), WebhookURL: receivers.URL, WebhookToken: receivers.Token})
	events := receivers.Bucket("test")
	put(t, open(t, server), "elsewhere")
	_, err := client(t, server).CopyObject(t.Context(), minio.CopyDestOptions{Bucket: "test", Object: "inbox/a+b@example.org/x"}, minio.CopySrcOptions{Bucket: "test", Object: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Name != "ObjectCreated:Copy" || e.Key != "inbox/a+b@example.org/x" || e.Size != 7 || e.ETag == "" || e.Time.IsZero() {
		t.Errorf("got %+v", e)
	}
}

// A webhook that is down, wrong or stuck does not fail uploads.
func TestWebhookFails(t *testing.T) {
	release := make(chan struct{})
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stuck") {
			<-release
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer hook.Close()
	defer close(release)
	for _, url := range []string{"http://127.0.0.1:1", hook.URL, hook.URL + "/stuck"} {
		server, _ := start(t, embedded.S3Options{Dir: t.TempDir(), WebhookURL: url})
		store := open(t, server)
		began := time.Now()
		put(t, store, "uploads/k")
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: took %s", url, took)
		}
		var keys []string
		err := store.List(t.Context(), "", "", func(o blob.Object) bool {
			keys = append(keys, o.Key)
			return true
		})
		if err != nil || !slices.Equal(keys, []string{"uploads/k"}) {
			t.Errorf("got %v, %v", keys, err)
		}
	}
}
