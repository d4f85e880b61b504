package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/limit"
	"tonearm/internal/limit/redislimit"
	"tonearm/internal/waittest"
	"tonearm/test/server"
)

const proxy = "127.0.0.0/8" // the tests are behind it, and say where they come from

// counted counts the passwords that are compared: one hash each.
type counted struct {
	account.Store
	hashes *atomic.Int64
}

func (c counted) Authenticate(ctx context.Context, email, password string) (account.User, error) {
	u, err := c.Store.Authenticate(ctx, email, password)
	if err == nil || errors.Is(err, account.ErrCredentials) {
		c.hashes.Add(1)
	}
	return u, err
}

// still lets no try come back while a test goes on.
func still(o *Options) {
	now := time.Now()
	o.Now = func() time.Time { return now }
}

// attacked starts a gateway behind a proxy, which counts the hashes.
func attacked(t *testing.T, change ...func(*Options)) (*stack, *atomic.Int64) {
	t.Helper()
	hashes := new(atomic.Int64)
	return start(t, append([]func(*Options){behind(proxy), still, func(o *Options) { o.Users = counted{o.Users, hashes} }}, change...)...), hashes
}

// answers are how many answers had each status.
type answers struct {
	mu    sync.Mutex
	count map[int]int
}

// atOnce calls ask this many times at once, and counts the answers. A 429 says
// when to try again.
func atOnce(t *testing.T, n int, ask func(i int) reply) map[int]int {
	t.Helper()
	got := answers{count: map[int]int{}}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			r := ask(i)
			if r.status == 429 && r.header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			got.count[r.status]++
		})
	}
	all.Wait()
	return got.count
}

// wantTested wants some answers with this status, of a password that was tested,
// and at most so many; all others refused. On a busy machine some may have waited
// in vain (503): they tested nothing.
func wantTested(t *testing.T, got map[int]int, status, most int) {
	t.Helper()
	n := 0
	for _, of := range got {
		n += of
	}
	if got[status] == 0 || got[status] > most || got[status]+got[429]+got[503] != n {
		t.Errorf("answers are %v, want %d at most %d times, and 429", got, status, most)
	}
}

// 400 connections of one network, each with another unknown name: few of them cost
// a hash, and a right login from another network gets its turn.
func TestFloodOfNames(t *testing.T) {
	s, hashes := attacked(t)
	s.user("a@example.org")
	flood := make(chan map[int]int)
	go func() {
		flood <- atOnce(t, 400, func(i int) reply { return s.logIn("192.0.2.66", fmt.Sprintf("nobody%d@example.org", i), "a guess") })
	}()
	s.logIn("192.0.2.1", "a@example.org", password).want(200)
	got := <-flood
	wantTested(t, got, 401, wholeNetwork.Burst)
	equal(t, "hashes", hashes.Load(), int64(got[401]+1))
}

// One network may be wrong only so often, whatever the accounts.
func TestSpray(t *testing.T) {
	s, hashes := attacked(t)
	s.user("a@example.org")
	for i := 0; i <= wholeNetwork.Burst && s.logIn("192.0.2.66", fmt.Sprintf("nobody%d@example.org", i), "a guess").status == 401; i++ {
	}
	equal(t, "hashes", hashes.Load(), int64(wholeNetwork.Burst))
	s.logIn("192.0.2.66", "a@example.org", password).want(429, "too_many_logins")
	s.logIn("192.0.2.67", "a@example.org", password).want(200)
}

// 80 guesses at once, by whichever way, test no more passwords than one after the
// other.
func TestParallelGuesses(t *testing.T) {
	basic := func(s *stack, method, path string) reply {
		return s.send(method, path, nil, "X-Forwarded-For", "192.0.2.66", "Authorization", basicOf("a@example.org", "a guess"))
	}
	for name, guess := range map[string]func(*stack) reply{
		"session":  func(s *stack) reply { return s.logIn("192.0.2.66", "A@Example.org ", "a guess") },
		"login":    func(s *stack) reply { return basic(s, "POST", "/login") },
		"download": func(s *stack) reply { return basic(s, "GET", "/download?mp3_id=x") },
		"upload":   func(s *stack) reply { return basic(s, "PUT", "/upload/a.mp4") },
		"in turn": func(s *stack) reply {
			return []func() reply{
				func() reply { return basic(s, "POST", "/login") },
				func() reply { return s.logIn("192.0.2.66", "a@example.org", "a guess") },
			}[time.Now().UnixNano()%2]()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, hashes := attacked(t)
			s.user("a@example.org")
			got := atOnce(t, 80, func(int) reply { return guess(s) })
			wantTested(t, got, 401, accountFromNetwork.Burst)
			equal(t, "hashes", hashes.Load(), int64(got[401]))
		})
	}
}

// All ways to write an address share the tries of its account.
func TestGuessesBySpelling(t *testing.T) {
	s, _ := attacked(t)
	s.user("a@exämple.org")
	spellings := []string{"a@exämple.org", "A@EXÄMPLE.org", "a@xn--exmple-cua.org", "a@exa\u0308mple.org", "a@ｅｘämple.org"}
	for _, email := range spellings { // a reset marks the stored one, which may be of an earlier version
		equal(t, "the mark of "+email, knownKey(email, "n"), knownKey(spellings[0], "n"))
	}
	got := atOnce(t, 80, func(i int) reply { return s.logIn("192.0.2.66", spellings[i%len(spellings)], "a guess") })
	wantTested(t, got, 401, accountFromNetwork.Burst)
	s.logIn("192.0.2.1", "a@xn--exmple-cua.org", password).want(200)
	s.useUp("a@exämple.org")
	s.logIn("192.0.2.1", "a@exa\u0308mple.org", password).want(200) // a network that knows the account, however it is written
}

// With a stolen token, 80 guesses at once test no more either, and count with
// those of logins.
func TestParallelGuessesWithToken(t *testing.T) {
	s, _ := attacked(t)
	u := s.user("a@example.org")
	s.logIn("192.0.2.66", u.Email, "a guess").want(401)
	got := atOnce(t, 80, func(int) reply {
		return u.call("PUT", "/v1/me/password", api.PasswordChange{Password: "a guess", NewPassword: "the thief's password"}, "X-Forwarded-For", "192.0.2.66")
	})
	wantTested(t, got, 403, accountFromNetwork.Burst-1)
}

// 25 networks together test no more passwords of an account than the account has
// tries, and none of them keeps its owner out where the owner has logged in. The
// owner's own mistakes are not theirs. Whether there is such an account makes no
// difference to them.
func TestManyNetworks(t *testing.T) {
	s, hashes := attacked(t)
	s.user("a@example.org")
	s.logIn("192.0.2.1", "a@example.org", password).want(200)
	for range accountFromNetwork.Burst - 2 {
		s.logIn("192.0.2.1", "a@example.org", "a mistake").want(401)
	}
	codes := map[string]string{}
	for _, email := range []string{"a@example.org", "nobody@example.org"} {
		before := hashes.Load()
		got := atOnce(t, 250, func(i int) reply { return s.logIn(fmt.Sprintf("198.51.100.%d", i%25), email, "a guess") })
		wantTested(t, got, 401, wholeAccount.Burst)
		s.useUp(email)
		equal(t, "hashes", hashes.Load()-before, int64(wholeAccount.Burst))
		fresh := s.logIn("203.0.113.1", email, password).want(429, "too_many_logins")
		fresh.header.Del("Date")
		codes[email] = fmt.Sprint(fresh.header, string(fresh.body))
	}
	equal(t, "the answer to nobody", codes["nobody@example.org"], codes["a@example.org"])

	for range 2 * accountFromNetwork.Burst { // what is right costs nothing
		s.logIn("192.0.2.1", "a@example.org", password).want(200)
	}
	s.logIn("192.0.2.1", "a@example.org", "a mistake").want(401)
	s.logIn("192.0.2.1", "a@example.org", password).want(200)
	s.logIn("192.0.2.2", "a@example.org", password).want(429, "too_many_logins")
}

// useUp guesses until the account has no try left for networks that it does not know.
func (s *stack) useUp(email string) {
	s.t.Helper()
	for i := 0; s.logIn(fmt.Sprintf("203.0.113.%d", 10+i/5), email, "a guess").status != 429; i++ {
		if i > 10*wholeAccount.Burst {
			s.t.Fatal("it has tries without end")
		}
	}
}

// From a network that the account does not know, a mail is the way past others
// who use up the account's tries.
func TestResetLetsIn(t *testing.T) {
	s, _ := attacked(t)
	s.user("a@example.org")
	s.useUp("a@example.org")
	here := []string{"X-Forwarded-For", "192.0.2.9"}
	s.logIn(here[1], "a@example.org", password).want(429)
	s.send("POST", "/v1/users/reset", api.EmailOnly{Email: "a@example.org"}, here...).want(202)
	link := api.Link{Token: s.mail("a@example.org", account.MailReset).Token, Password: "another password"}
	s.send("POST", "/v1/users/password", link, here...).want(200)
	s.logIn(here[1], "a@example.org", "another password").want(200)
}

// A network is known for 30 days.
func TestKnownFor(t *testing.T) {
	var later atomic.Int64
	s, _ := attacked(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) } })
	s.user("a@example.org")
	s.logIn("192.0.2.1", "a@example.org", password).want(200)
	for age, status := range map[time.Duration]int{29 * 24 * time.Hour: 200, 31 * 24 * time.Hour: 429} {
		s.forget()
		later.Store(0)
		s.logIn("192.0.2.1", "a@example.org", password).want(200)
		later.Store(int64(age))
		s.useUp("a@example.org")
		s.logIn("192.0.2.1", "a@example.org", password).want(status)
	}
}

// Right passwords at once are no attack, however many come from one network, and
// from one that is not known yet.
func TestManyRightLogins(t *testing.T) {
	s, _ := attacked(t)
	s.user("a@example.org")
	const many = 12 // more than accountFromNetwork.Burst
	got := atOnce(t, many, func(int) reply { return s.logIn("192.0.2.1", "a@example.org", password) })
	equal(t, "logins", got[200], many)
	equal(t, "lanes left", len(s.lanes.all), 0)
	for range 2 * accountFromNetwork.Burst {
		s.logIn("192.0.2.2", "a@example.org", password).want(200)
	}
}

// 400 connections for one account from one network do not all wait.
func TestFloodOfLogins(t *testing.T) {
	lanes := newLanes()
	var leave []func()
	for range laneWidth {
		out, err := lanes.enter(t.Context(), "k")
		check(t, err)
		leave = append(leave, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var all sync.WaitGroup
	var canceled, busy atomic.Int64
	for range 400 {
		all.Go(func() {
			switch _, err := lanes.enter(ctx, "k"); {
			case errors.Is(err, context.Canceled):
				canceled.Add(1)
			case errors.Is(err, account.ErrBusy):
				if busy.Add(1) == 400-laneLength+laneWidth {
					cancel() // the others wait
				}
			}
		})
	}
	all.Wait()
	cancel()
	equal(t, "refused at once", busy.Load(), 400-laneLength+laneWidth)
	equal(t, "waited", canceled.Load(), laneLength-laneWidth)
	for _, out := range leave {
		out()
	}
	equal(t, "lanes left", len(lanes.all), 0)
}

// Requests for mails are limited by network, whatever they are for.
func TestMailsOfNetwork(t *testing.T) {
	s, _ := attacked(t)
	u := s.user("a@example.org")
	from := func(address string) []string { return []string{"X-Forwarded-For", address} }
	ask := func(i int, header []string) reply {
		email := fmt.Sprintf("x%d@example.org", i)
		switch i % 4 {
		case 0:
			return s.send("POST", "/v1/users", api.NewUser{Email: email, Password: password}, header...)
		case 1:
			return u.call("POST", "/v1/me/confirmation", nil, header...)
		case 2:
			return u.call("PUT", "/v1/me/email", api.EmailChange{Password: password, Email: email}, header...)
		}
		return s.send("POST", "/v1/users/reset", api.EmailOnly{Email: email}, header...)
	}
	for i := range mailsOfNetwork.Burst {
		if r := ask(i, from("192.0.2.1")); r.status == 429 {
			t.Errorf("request %d: %d %s", i, r.status, r.body)
		}
	}
	for i := range 4 {
		ask(i, from("192.0.2.1")).want(429, "too_many_requests")
		if r := ask(i, from("192.0.2.2")); r.status == 429 {
			t.Errorf("from another network: %d %s", r.status, r.body)
		}
	}
}

// Nothing that the limits keep names an account or a network, or is long,
// whatever anybody sends.
func TestKeysNameNobody(t *testing.T) {
	o, err := goredis.ParseURL(redis.URL())
	check(t, err)
	client := goredis.NewClient(o)
	defer client.Close()
	s, _ := attacked(t, func(o *Options) { o.Limits = redislimit.New(client, "nobody-"+t.Name()) })
	s.user("a@example.org")
	s.logIn("192.0.2.1", "a@example.org", password).want(200)
	s.logIn("192.0.2.1", strings.Repeat("a", 50<<10)+"@example.org", password).want(401, "wrong_credentials")
	s.logIn("192.0.2.2", "nobody", password).want(401, "wrong_credentials")
	s.send("POST", "/login", nil, "Authorization", basicOf(strings.Repeat("b", 50<<10), password)).want(401, "wrong_credentials")
	keys, err := client.Keys(t.Context(), "nobody-"+t.Name()+":*").Result()
	check(t, err)
	if len(keys) < 7 {
		t.Errorf("keys are %q", keys)
	}
	for _, key := range keys {
		if strings.Contains(key, "192.0") || strings.Contains(key, "example") || strings.Contains(key, "aaaa") || len(key) > 100 {
			t.Errorf("a key is %q", key)
		}
	}
}

// beside starts another gateway on the stores of s.
func (s *stack) beside() *stack {
	return start(s.t, func(o *Options) {
		o.Users, o.Tokens, o.Limits, o.TrustedProxies, o.Now = s.o.Users, s.o.Tokens, s.o.Limits, s.o.TrustedProxies, s.o.Now
	})
}

// Two gateways count together: guesses, marks and requests for mails.
func TestTwoGateways(t *testing.T) {
	common := miniredis.RunT(t)
	common.SetTime(time.Now()) // and there it stays
	client := goredis.NewClient(&goredis.Options{Addr: common.Addr()})
	defer client.Close()
	one, hashes := attacked(t, func(o *Options) { o.Limits = redislimit.New(client, t.Name()) })
	two := one.beside()
	one.limits.Patience, two.limits.Patience = time.Minute, time.Minute
	one.user("a@example.org")
	one.logIn("192.0.2.1", "a@example.org", password).want(200)
	before := hashes.Load()
	got := atOnce(t, 40, func(i int) reply { return []*stack{one, two}[i%2].logIn("192.0.2.66", "a@example.org", "a guess") })
	wantTested(t, got, 401, accountFromNetwork.Burst)
	one.useUp("a@example.org")
	two.useUp("a@example.org")
	equal(t, "guesses tested", hashes.Load()-before, int64(wholeAccount.Burst))
	two.logIn("192.0.2.1", "a@example.org", password).want(200) // it is known here, too
	two.logIn("192.0.2.2", "a@example.org", password).want(429)

	got = atOnce(t, 40, func(i int) reply {
		return []*stack{one, two}[i%2].send("POST", "/v1/users/reset", api.EmailOnly{Email: fmt.Sprintf("x%d@example.org", i)})
	})
	equal(t, "requests for mails", got[202], mailsOfNetwork.Burst)
}

// Redis is killed, comes back, and stands still: logins go on, each gateway counts
// what it has seen itself, and once Redis is back they count together again.
func TestLimitsWithoutRedis(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	servers := &server.Scratch{Host: server.Loopback}
	check(t, servers.Open())
	t.Cleanup(servers.Close)
	r, err := servers.Redis(t.Context())
	check(t, err)
	client := goredis.NewClient(&goredis.Options{Addr: r.Addr, ContextTimeoutEnabled: true, DialerRetries: 1})
	t.Cleanup(func() { client.Close() })
	shared := redislimit.New(client, "test")
	one, _ := attacked(t, func(o *Options) { o.Limits = shared })
	two := one.beside()
	guess := func(s *stack, email string, want int) {
		t.Helper()
		tested := 0
		for tested <= want && s.logIn("192.0.2.66", email, "a guess").status == 401 {
			tested++
		}
		equal(t, "guesses tested of "+email, tested, want)
	}
	for _, email := range []string{"a@example.org", "b@example.org", "c@example.org", "d@example.org"} {
		one.user(email)
	}
	one.logIn("192.0.2.1", "a@example.org", password).want(200)
	for range 6 {
		one.logIn("192.0.2.66", "a@example.org", "a guess").want(401)
	}

	r.Kill()
	one.logIn("192.0.2.1", "a@example.org", password).want(200)
	guess(one, "a@example.org", 4) // it has seen six
	guess(two, "a@example.org", 10)
	one.logIn("192.0.2.1", "a@example.org", password).want(200)

	check(t, r.Restart(t.Context()))
	together := func(email string) {
		t.Helper()
		for _, s := range []*stack{one, two} { // neither asks a store for a while that has just failed
			waittest.Until(t, time.Minute, "the gateway asks Redis", func() bool {
				key := limit.Key(email + s.url)
				s.limits.Mark(t.Context(), key, time.Hour)
				there, err := shared.Marked(t.Context(), key)
				return err == nil && there
			})
		}
		for range 5 {
			one.logIn("192.0.2.66", email, "a guess").want(401)
		}
		guess(two, email, 5)
	}
	together("b@example.org")

	check(t, r.Signal(syscall.SIGSTOP))
	one.logIn("192.0.2.1", "c@example.org", password).want(200)
	guess(one, "c@example.org", 10)
	check(t, r.Signal(syscall.SIGCONT))
	together("d@example.org")
}

func basicOf(email, password string) string {
	req, _ := http.NewRequest(http.MethodGet, "/", nil)
	req.SetBasicAuth(email, password)
	return req.Header.Get("Authorization")
}
