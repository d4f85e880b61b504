package abuse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/test/world"
)

// flood is what somebody does to keep others from the service.
type flood struct {
	name string
	// begin begins it and returns once it is under way. What it starts ends with ctx.
	begin func(context.Context, *site)
	// other is what somebody else does meanwhile.
	other func(*site)
	times int // how often
}

// TestFloods prints how long somebody else waits, and how much memory the server takes,
// without and with each flood. TONEARM_TEST_BIN names the folder of other programs to
// try, such as those of an earlier version. It judges no time: they are of this machine.
func TestFloods(t *testing.T) {
	if os.Getenv("TONEARM_TEST_ABUSE") == "" {
		t.Skip("set TONEARM_TEST_ABUSE")
	}
	if other := os.Getenv("TONEARM_TEST_BIN"); other != "" {
		ours := bin
		bin = other
		defer func() { bin = ours }()
	}
	fmt.Println("| flood | alone: median, longest | under it | memory before | under it |\n|---|---|---|---|---|")
	for _, f := range []flood{
		{"400 connections of one address log in with unknown names", floodOfLogins, login, 20},
		{"10,000 requests of one user wait with `?wait=60`", floodOfWaiters, look, 20},
		{"60 slow uploads of one user through the gateway", floodOfUploads, sends, 10},
		{"six long files of one user, begun before the other's short one", longFiles, converts, 1},
		{"1,000 bodies that never end, without a login", floodOfBodies, look, 20},
		{"4,300 idle connections to the object store", floodOfConnections, sends, 10},
	} {
		t.Run(f.name, func(t *testing.T) { f.run(t) })
	}
}

func (f flood) run(t *testing.T) {
	s := start(t)
	measure := func() string {
		var all []time.Duration
		for range f.times {
			begin := time.Now()
			f.other(s)
			all = append(all, time.Since(begin))
		}
		slices.Sort(all)
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		return fmt.Sprintf("%.1f ms, %.1f ms", ms(all[len(all)/2]), ms(all[len(all)-1]))
	}
	alone, before := measure(), s.memory()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.begin(ctx, s)
	under := measure()
	fmt.Printf("| %s | %s | %s | %d MB | %d MB |\n", f.name, alone, under, before, s.memory())
}

// memory of the server and the store that belongs to it, in MB.
func (s *site) memory() (mb int) {
	for _, pid := range append(children(s.up.Cmd.Process.Pid), s.up.Cmd.Process.Pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if _, rest, ok := strings.Cut(string(b), "VmRSS:"); ok && filepath.Base(name) == "tonearm" {
			kb := 0
			_, _ = fmt.Sscan(rest, &kb)
			mb += kb / 1024
		}
	}
	return mb
}

// from is a client at an address of this machine.
func from(address string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 1000}}
}

var other = from("127.0.0.77")

// request is one of somebody else, who waits as long as it takes.
func (s *site) request(method, path, token string, body any) (int, []byte) {
	b, _ := json.Marshal(body)
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := other.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, got
}

func login(s *site) {
	if status, said := s.request("POST", "/v1/session", "", api.Credentials{Email: s.ada.Email, Password: world.Password}); status != 200 {
		s.t.Errorf("login: %d %s", status, said)
	}
}

func look(s *site) {
	if status, said := s.request("GET", "/v1/conversions/"+s.conversion.ID, s.ada.Token, nil); status != 200 {
		s.t.Errorf("get: %d %s", status, said)
	}
}

// sends uploads a file; whether it is converted does not matter.
func sends(s *site) { s.upload(s.ada, "a.mp4", s.tone) }

func converts(s *site) {
	if got := s.end(s.ada, s.upload(s.ada, "a.mp4", s.tone)); got != "done" {
		s.t.Errorf("it is %s", got)
	}
}

func floodOfLogins(ctx context.Context, s *site) {
	client := from("127.0.0.66")
	var asked atomic.Int64
	for i := range 400 {
		go func() {
			for ctx.Err() == nil {
				body := fmt.Sprintf(`{"email":"nobody%d-%d@example.org","password":"a guess of mine"}`, i, asked.Add(1))
				req, _ := http.NewRequestWithContext(ctx, "POST", s.server+"/v1/session", strings.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				if resp, err := client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		}()
	}
	time.Sleep(2 * time.Second) // all are connected, and what may wait waits
}

func floodOfWaiters(ctx context.Context, s *site) {
	c := s.eve.Create("x.mp4", 1)
	s.connect(ctx, 10_000, "127.0.2.", s.server, "GET /v1/conversions/"+c.ID+"?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+s.eve.Token+"\r\n\r\n")
}

func floodOfBodies(ctx context.Context, s *site) {
	s.connect(ctx, 1000, "127.0.3.", s.server, "POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
}

func floodOfConnections(ctx context.Context, s *site) { s.connect(ctx, 4300, "127.0.4.", s.s3, "") }

// connect opens n connections of several addresses and sends the same on each.
func (s *site) connect(ctx context.Context, n int, prefix, to, text string) {
	to = strings.TrimPrefix(to, "http://")
	var all sync.WaitGroup
	slots := make(chan struct{}, 50)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprint(prefix, 1+i%16))}, Timeout: 10 * time.Second}
			c, err := d.DialContext(ctx, "tcp", to)
			if err != nil {
				return // what is refused is no flood
			}
			context.AfterFunc(ctx, func() { c.Close() })
			_, _ = io.WriteString(c, text)
		})
	}
	all.Wait()
	time.Sleep(time.Second) // the server has read them
}

// dribble gives a byte now and then.
type dribble struct{ ctx context.Context }

func (d dribble) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return copy(p, make([]byte, 64)), nil
	}
}

func floodOfUploads(ctx context.Context, s *site) {
	client := from("127.0.0.66")
	for range 60 {
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "PUT", s.server+"/upload/x.mp4", dribble{ctx})
			req.ContentLength = 100 << 20
			req.Header.Set("Authorization", "Bearer "+s.eve.Token)
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
	}
	time.Sleep(5 * time.Second)
}

func longFiles(_ context.Context, s *site) {
	path := filepath.Join(s.t.TempDir(), "long.flac")
	ffmpeg(s.t, "-f", "lavfi", "-i", "anoisesrc=duration=60:amplitude=0.0001", "-c:a", "flac", "-ac", "1", "-ar", "8000", filepath.Join(filepath.Dir(path), "minute.flac"))
	ffmpeg(s.t, "-stream_loop", "179", "-i", filepath.Join(filepath.Dir(path), "minute.flac"), "-c:a", "flac", path)
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	for range 6 {
		s.upload(s.eve, "long.flac", b)
	}
	time.Sleep(2 * time.Second) // they have begun
}
