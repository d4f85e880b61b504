package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// process is one process of this machine. Its start time distinguishes it from
// a later process with the same id.
type process struct {
	pid   int
	start string
}

// stat returns the parent and the start time of a process. ok is false if the
// process is gone or a zombie.
func stat(pid int) (parent int, start string, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", false
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 || f[0] == "Z" {
		return 0, "", false
	}
	parent, _ = strconv.Atoi(f[1])
	return parent, f[19], true
}

// family returns pid and all its descendants.
func family(pid int) []process {
	children := map[int][]process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			if parent, start, ok := stat(id); ok {
				children[parent] = append(children[parent], process{id, start})
			}
		}
	}
	_, start, _ := stat(pid)
	all := []process{{pid, start}}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all
}

func (p process) alive() bool {
	_, start, ok := stat(p.pid)
	return ok && start == p.start
}

// phase is a moment on a file's way when the process is killed.
type phase struct {
	name string
	// query finds a record in that phase. '' if the relay stops a transcoder there.
	query string
}

var phases = []phase{
	{name: "upload", query: `SELECT count(*) FROM conversion WHERE json_extract(document, '$.state') = 'awaiting_upload'`},
	{name: "queued", query: `SELECT count(*) FROM conversion WHERE json_extract(document, '$.state') = 'queued'`},
	{name: "running", query: `SELECT count(*) FROM conversion WHERE json_extract(document, '$.state') = 'running' AND json_extract(document, '$.progress.phase') NOT IN ('storing', 'reporting')`},
	{name: "storing"},
	{name: "reporting"},
	{name: "mailing", query: `SELECT count(*) FROM conversion WHERE json_extract(document, '$.notice.state') = 'sending'`},
}

// relay stands between the transcoders and the server. In the phases storing and
// reporting it stops one transcoder: half of its MP3 is stored, or all of it and
// nobody knows. So the kill comes at that moment on a machine of any speed.
type relay struct {
	addr  string       // of the relay
	s3    atomic.Value // string: the store's URL
	phase atomic.Value // string: the phase to stop in
	held  chan struct{}
}

func startRelay(t *testing.T, dispatcher string) *relay {
	r := &relay{addr: world.FreeAddr(t), held: make(chan struct{}, 1)}
	r.s3.Store("")
	r.phase.Store("")
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			if strings.HasPrefix(p.In.URL.Path, "/attempts/") {
				p.SetURL(&url.URL{Scheme: "http", Host: dispatcher})
				return
			}
			store, err := url.Parse(r.s3.Load().(string))
			if err != nil {
				t.Error(err)
				return
			}
			p.SetURL(store)
			p.Out.Host = store.Host // the signature holds it
		},
		// The URLs that a transcoder gets lead through the relay as well.
		ModifyResponse: func(resp *http.Response) error {
			if !strings.HasPrefix(resp.Request.URL.Path, "/attempts/") {
				return nil
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			b = bytes.ReplaceAll(b, []byte(r.s3.Load().(string)+"/"), []byte("http://"+r.addr+"/"))
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
			resp.Header.Set("Content-Length", strconv.Itoa(len(b)))
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch ph := r.phase.Load(); {
		case ph == "reporting" && strings.HasSuffix(req.URL.Path, "/result"):
			r.hold(req.Context())
		case ph == "storing" && req.Method == http.MethodPut:
			half := req.ContentLength / 2
			req.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(req.Body, half), holding{r, req.Context()}, req.Body), req.Body}
		}
		proxy.ServeHTTP(w, req)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return r
}

// hold says that a transcoder is stopped, and waits until it is gone or another
// phase is set.
func (r *relay) hold(ctx context.Context) {
	phase := r.phase.Load()
	select {
	case r.held <- struct{}{}:
	default:
	}
	for ctx.Err() == nil && r.phase.Load() == phase {
		pause(ctx)
	}
}

// holding is a reader without bytes that is read at the place where to stop.
type holding struct {
	r   *relay
	ctx context.Context
}

func (h holding) Read([]byte) (int, error) {
	h.r.hold(h.ctx)
	return 0, io.EOF
}

// TestKill kills `tonearm up` twelve times while twenty files go through, at
// least once in each phase. It kills alternately the process alone and its whole
// group.
func TestKill(t *testing.T) { //nolint:funlen // one run: each kill goes on from the one before
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TONEARM_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("TONEARM_TEST_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	const wanted, kills = 20, 12 // more files are sent if these do not reach a phase
	const most = 3 * wanted
	sink := world.StartSink(t, nil)
	sink.Hold = make(chan struct{}) // mails wait until the test lets them pass
	dir := t.TempDir()
	listenAddr, events := world.FreeAddr(t), world.FreeAddr(t)
	relay := startRelay(t, events)
	args := []string{"--listen", listenAddr, "--events-listen", events, "--dispatcher-url", "http://" + relay.addr, "--smtp-host", sink.Host, "--smtp-port", sink.Port, "--smtp-tls", "none",
		"--smtp-timeout", "5s", "--attempt-lease", "3s", "--attempt-url-expiry", "1m", "--retry-backoff", "200ms", "--max-attempts", "20", "--max-jobs", "1"}
	u := startUp(t, dir, args...)
	relay.s3.Store(u.s3)
	owner := world.NewUser(t, u.server, "owner@example.org")

	short, _ := makeVideo(t, "short.mp4", 20, 440)
	long, _ := makeVideo(t, "long.mp4", 600, 440)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ids := make([]string, most)
	var uploads sync.WaitGroup
	begin := make(chan int, most)
	for range 3 {
		uploads.Go(func() {
			for i := range begin {
				path := short
				if i%4 == 3 {
					path = long
				}
				ids[i] = uploadStubbornly(ctx, t, owner, i, path)
			}
		})
	}

	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "tonearm.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found := func(query string) bool {
		var n int
		if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return n > 0
	}

	order := make([]phase, 0, kills)
	for len(order) < kills {
		order = append(order, phases...)
	}
	rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	files := 0
	more := func(n int) {
		for ; n > 0 && files < most; n-- {
			begin <- files
			files++
		}
	}
	for k, ph := range order {
		more(2)
		pass, stopPassing := context.WithCancel(ctx)
		if ph.name != "mailing" { // meanwhile mails may pass
			go func() {
				for {
					select {
					case sink.Hold <- struct{}{}:
					case <-pass.Done():
						return
					}
				}
			}()
		}
		if ph.query == "" {
			select {
			case <-relay.held: // of an earlier life
			default:
			}
			relay.phase.Store(ph.name)
		}
		fed := time.Now()
		waittest.Until(t, 3*time.Minute, "a file is in phase "+ph.name, func() bool {
			if time.Since(fed) > 2*time.Second {
				more(2)
				fed = time.Now()
			}
			if ph.query != "" {
				return found(ph.query)
			}
			return len(relay.held) > 0
		})
		alone := k%2 == 0
		before := family(u.Cmd.Process.Pid)
		if alone {
			u.Cmd.Process.Kill()
		} else {
			syscall.Kill(-u.Cmd.Process.Pid, syscall.SIGKILL)
		}
		stopPassing()
		<-u.End
		relay.phase.Store("")
		fmt.Printf("kill %d: %s, %s, %d processes\n", k+1, ph.name, map[bool]string{true: "parent alone", false: "whole group"}[alone], len(before))
		u = startUp(t, dir, args...)
		waittest.Until(t, 5*time.Second, "no process of the earlier life is left", func() bool {
			for _, p := range before {
				if p.alive() {
					return false
				}
			}
			return true
		})
	}
	more(wanted - files) // none if the phases needed more
	close(begin)
	go func() {
		for {
			select {
			case sink.Hold <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	uploads.Wait()

	owner.Login()
	mp3s := map[string]bool{}
	for i, id := range ids[:files] {
		c := owner.Final(id, 3*time.Minute)
		if c.State != conversion.Done {
			t.Fatalf("file %d ended as %s: %+v", i, c.State, c.Error)
		}
		mp3s[c.MP3.ID] = true
	}
	waittest.Until(t, 2*time.Minute, "every notice is sent", func() bool {
		return !found(`SELECT count(*) FROM conversion WHERE json_extract(document, '$.notice.state') <> 'sent'`)
	})
	var list api.Conversions
	if status, body := owner.Do("GET", "/v1/conversions?limit=200", nil, &list); status != http.StatusOK {
		t.Fatalf("list: %d %s", status, body)
	}
	objects, _ := filepath.Glob(filepath.Join(dir, "s3", "data", "tonearm", "mp3s", "*", "*", "*.mp3"))
	mailed := map[string]int{}
	for _, l := range sink.Letters(t) {
		mailed[l.MessageID]++
	}
	letters := len(sink.Letters(t))
	fmt.Printf("%d files, %d kills: %d MP3s, %d documents, %d MP3 objects, %d mails with %d ids\n",
		files, len(order), len(mp3s), len(list.Conversions), len(objects), letters, len(mailed))
	if len(mp3s) != files || len(list.Conversions) != files || len(mailed) != files {
		t.Errorf("want %d of each", files)
	}
	if letters > files+len(order) {
		t.Errorf("%d mails for %d files and %d kills", letters, files, len(order))
	}
}

// uploadStubbornly creates a conversion and uploads its file, however often the
// server is killed meanwhile.
func uploadStubbornly(ctx context.Context, t *testing.T, owner *world.User, i int, path string) string {
	client := &world.User{T: t, Server: owner.Server, Token: owner.Token}
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return ""
	}
	var c api.Conversion
	for ctx.Err() == nil && c.ID == "" {
		c = createOnce(client, fmt.Sprintf("file %d.mp4", i), fmt.Sprintf("key-%d", i), info.Size())
		pause(ctx)
	}
	for ctx.Err() == nil {
		if err := world.Put(ctx, c.Upload, path); err == nil || strings.HasPrefix(err.Error(), "upload: 412 ") {
			return c.ID // 412: an earlier try arrived
		}
		pause(ctx)
		var fresh api.Upload
		if status, _ := client.Do("POST", "/v1/conversions/"+c.ID+"/parts", nil, &fresh); status == http.StatusOK {
			c.Upload = &fresh
		} else if status == http.StatusConflict {
			return c.ID // it is queued already
		}
	}
	return c.ID
}

// createOnce sends one request for a conversion under an idempotency key. If
// there is no answer, it returns the zero value.
func createOnce(u *world.User, filename, key string, size int64) (c api.Conversion) {
	body := strings.NewReader(fmt.Sprintf(`{"filename":%q,"size":%d}`, filename, size))
	req, err := http.NewRequestWithContext(u.T.Context(), "POST", u.Server+"/v1/conversions", body)
	if err != nil {
		return c
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+u.Token)
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return c
	}
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return api.Conversion{}
	}
	return c
}

// pause waits a moment before the next request to a server that may be down.
func pause(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	<-ctx.Done()
}
