package client_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

func TestParseServer(t *testing.T) {
	for in, want := range map[string]string{
		"https://tonearm.example.org/": "https://tonearm.example.org",
		"tonearm.example.org":          "https://tonearm.example.org",
		"localhost:8080":               "http://localhost:8080",
		"127.0.0.1:8080":               "http://127.0.0.1:8080",
		"[::1]:8080":                   "http://[::1]:8080",
		" http://host/below/ ":         "http://host/below",
	} {
		if u, err := client.ParseServer(in); err != nil || u.String() != want {
			t.Errorf("%q: got %v, %v, want %s", in, u, err, want)
		}
	}
	for _, in := range []string{"", "ftp://host", "https://", "https://user:password@host", "https://host/?x=1", "://"} {
		if u, err := client.ParseServer(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, u)
		}
	}
}

// roundTripper answers without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, header http.Header, body string) (*http.Response, error) {
	w := httptest.NewRecorder()
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	w.WriteString(body)
	return w.Result(), nil
}

func TestUnavailableServerIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries, said, again := 0, 0, 0
		c := open(t, client.Options{
			Server: "http://gateway", Patience: time.Minute,
			Waiting: func(error, time.Duration) { said++ },
			Again:   func() { again++ },
			Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				switch tries++; tries {
				case 1:
					return nil, errors.New("connection refused")
				case 2:
					return answer(503, nil, `{"code":"unavailable"}`)
				case 3:
					return answer(429, http.Header{"Retry-After": {"20"}}, `{"code":"too_many"}`)
				}
				return answer(200, nil, `{"id":"x"}`)
			}),
		})
		start := time.Now()
		cv, err := c.Conversion(t.Context(), "x")
		if err != nil || cv.ID != "x" {
			t.Fatalf("got %+v, %v", cv, err)
		}
		if tries != 4 || said != 3 || again != 1 {
			t.Errorf("got %d tries, %d notes and %d that it works again, want 4, 3 and 1", tries, said, again)
		}
		if _, err := c.Conversion(t.Context(), "x"); err != nil || again != 1 {
			t.Errorf("after a call without trouble: %v, %d notes that it works again", err, again)
		}
		if took := time.Since(start); took < 20*time.Second || took > 25*time.Second {
			t.Errorf("took %v, want what Retry-After asked for", took)
		}
	})
}

// Where a quota is used up by the user's own uploads and conversions, the call waits for
// them, however long that takes. A quota of a day ends the call.
func TestQuota(t *testing.T) {
	for limit, waits := range map[string]bool{
		"open_uploads": true, "queued_conversions": true, "waiters": true, "waiters_overall": true, "gateway_uploads_overall": true,
		"stored_bytes": false, "daily_bytes": false, "daily_sound_seconds": false, "": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			retryAfter := "2"
			if !waits {
				retryAfter = "3600"
			}
			c := open(t, client.Options{
				Server: "http://gateway", Patience: time.Minute,
				Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					if tries++; tries <= 1000 {
						return answer(429, http.Header{"Retry-After": {retryAfter}}, `{"code":"quota_exceeded","limit":"`+limit+`","detail":"You have enough."}`)
					}
					return answer(201, nil, `{"id":"x"}`)
				}),
			})
			_, err := c.Create(t.Context(), "k", api.NewConversion{Filename: "a.mp4", Size: 1})
			var refusal *client.Error
			if waits && err != nil || !waits && (tries != 1 || !errors.As(err, &refusal) || refusal.Limit != limit) {
				t.Errorf("%q: %d tries, %v", limit, tries, err)
			}
		})
	}
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, client.Options{
			Server: "http://gateway", Patience: time.Minute, Token: "secret-token",
			Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }),
		})
		start := time.Now()
		_, err := c.Conversion(t.Context(), "x")
		if err == nil || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took < 40*time.Second || took > time.Minute {
			t.Errorf("gave up after %v, want about a minute", took)
		}
	})
}

// TestNoAnswer: what a person reads where no answer came, and whether it is worth
// another try.
func TestNoAnswer(t *testing.T) {
	closed, plain := httptest.NewServer(nil), httptest.NewServer(nil)
	closed.Close()
	defer plain.Close()
	secure := httptest.NewUnstartedServer(nil)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	fails := func(err error) http.RoundTripper {
		return roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	tls := strings.Replace(plain.URL, "http:", "https:", 1)
	for name, tt := range map[string]struct {
		server    string
		transport http.RoundTripper
		want      string
		again     bool
	}{
		"nothing listens":   {closed.URL, nil, "cannot reach " + closed.URL + ": is the server running?", true},
		"unknown name":      {"https://gateway/x", fails(&net.DNSError{IsNotFound: true}), "cannot reach https://gateway: there is no such host; check the address", false},
		"no route":          {"https://gateway/x", fails(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}), "cannot reach https://gateway: dial tcp: no route to host", true},
		"no TLS":            {tls, nil, tls + " does not speak TLS: is its address " + plain.URL + "?", false},
		"unknown authority": {secure.URL, nil, "cannot trust " + secure.URL + ": tls: failed to verify certificate: x509: certificate signed by unknown authority", false},
		"broken off":        {"https://gateway/x", fails(io.ErrUnexpectedEOF), "the connection to https://gateway failed: unexpected EOF", true},
	} {
		waits := 0
		c := open(t, client.Options{
			Server: tt.server, Token: "secret-token", Transport: tt.transport, Patience: 300 * time.Millisecond,
			Waiting: func(error, time.Duration) { waits++ },
		})
		if _, err := c.Conversion(t.Context(), "x"); err == nil || err.Error() != tt.want || waits > 0 != tt.again {
			t.Errorf("%s: got %v after %d waits, want %q, and another try: %t", name, err, waits, tt.want, tt.again)
		}
	}
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 413, 422, 501} {
		tries := 0
		c := open(t, client.Options{
			Server: "http://gateway", Patience: time.Minute,
			Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				tries++
				return answer(status, nil, `{"code":"some_code","detail":"What is wrong."}`)
			}),
		})
		_, err := c.Conversion(t.Context(), "x")
		var e *client.Error
		if !errors.As(err, &e) || e.Status != status || e.Code != "some_code" || e.Error() != "What is wrong." || tries != 1 {
			t.Errorf("%d: got %v after %d tries", status, err, tries)
		}
		if client.IsLogin(err) != (status == 401) {
			t.Errorf("%d: IsLogin is %t", status, client.IsLogin(err))
		}
	}
}

func TestAnswersThatAreNoProblems(t *testing.T) {
	c := open(t, client.Options{Server: "http://gateway", Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		return answer(http.StatusBadGateway, nil, "<html>proxy</html>")
	})})
	_, err := c.Conversion(t.Context(), "x")
	var e *client.Error
	if !errors.As(err, &e) || e.Code != "http_502" || e.Error() != "the server answered 502 Bad Gateway" {
		t.Errorf("got %#v", err)
	}
}

// TestErrorsAreOneLine: what a server says cannot look like more than one message.
func TestErrorsAreOneLine(t *testing.T) {
	for _, p := range []api.Problem{{Detail: "no\nSaved as x\x1b[2J\u202e"}, {Title: "no\nSaved as x\x1b[2J\u202e"}} {
		if got, want := (&client.Error{Problem: p}).Error(), `no\nSaved as x\x1b[2J\u202e`; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := (&client.StoreError{Status: 403, Code: "No\n\x1b"}).Error(); strings.ContainsAny(got, "\n\x1b") {
		t.Errorf("got %q", got)
	}
}

func TestAnswersThatBreakOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := open(t, client.Options{Server: "http://gateway", Patience: time.Minute, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			if tries++; tries == 1 {
				return answer(200, nil, `{"id":`)
			}
			return answer(200, nil, `{"id":"x"}`)
		})})
		if cv, err := c.Conversion(t.Context(), "x"); err != nil || cv.ID != "x" {
			t.Errorf("got %+v, %v", cv, err)
		}
	})
	c := open(t, client.Options{Server: "http://gateway", Patience: time.Minute, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		return answer(200, nil, `<html>another service</html>`)
	})})
	if _, err := c.Conversion(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "is it a Tonearm server?") {
		t.Errorf("got %v", err)
	}
}

func TestCancellationIsTheCause(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := open(t, client.Options{Server: "http://gateway", Patience: time.Hour, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		cancel(stop)
		return answer(503, nil, "")
	})})
	if _, err := c.Conversion(ctx, "x"); !errors.Is(err, stop) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestRequests(t *testing.T) {
	var got *http.Request
	c := open(t, client.Options{Server: "http://gateway/base", Token: "tok", Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		got = r
		return answer(200, nil, `{"access_token":"t"}`)
	})})
	want := func(method, url, auth string) {
		t.Helper()
		if got.Method != method || got.URL.String() != url || got.Header.Get("Authorization") != auth {
			t.Errorf("got %s %s %q, want %s %s %q", got.Method, got.URL, got.Header.Get("Authorization"), method, url, auth)
		}
	}
	ctx := t.Context()
	_, _ = c.Login(ctx, "a@example.org", "p:w")
	want("POST", "http://gateway/base/login", "Basic YUBleGFtcGxlLm9yZzpwOnc=")
	_, _ = c.List(ctx, []conversion.State{conversion.Done, conversion.Failed}, "c", 7)
	want("GET", "http://gateway/base/v1/conversions?cursor=c&limit=7&state=done%2Cfailed", "Bearer tok")
	_, _ = c.Wait(ctx, "x", 3)
	want("GET", "http://gateway/base/v1/conversions/x?revision=3&wait=30", "Bearer tok")
	_, _ = c.Cancel(ctx, "../y")
	want("POST", "http://gateway/base/v1/conversions/..%2Fy/cancel", "Bearer tok")
	_ = c.Delete(ctx, "x")
	want("DELETE", "http://gateway/base/v1/conversions/x", "Bearer tok")
}

// A session is renewed once halfway, by one of the calls, and goes on if that
// fails.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var auth []string
		renewals, fails := 0, true
		var kept []string
		c := open(t, client.Options{
			Server: "http://gateway", Token: "old", RefreshAt: time.Now().Add(6 * time.Hour),
			Refreshed: func(got api.Token) { kept = append(kept, got.AccessToken) },
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path != "/v1/session/refresh" {
					auth = append(auth, r.Header.Get("Authorization"))
					return answer(200, nil, `{}`)
				}
				if got := r.Header.Get("Authorization"); got != "Bearer old" && renewals < 2 {
					t.Errorf("renewed with %q", got)
				}
				if renewals++; fails {
					return answer(401, nil, `{"code":"password_needed"}`)
				}
				return answer(200, nil, `{"access_token":"new","expires_in":43200}`)
			})})
		call := func(want string, renewed int) {
			t.Helper()
			if _, err := c.Conversion(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if got := auth[len(auth)-1]; got != "Bearer "+want || renewals != renewed {
				t.Errorf("sent %q after %d renewals, want %q after %d", got, renewals, want, renewed)
			}
		}
		call("old", 0)
		time.Sleep(6 * time.Hour)
		call("old", 1)
		call("old", 1)
		fails = false
		time.Sleep(11 * time.Minute)
		call("new", 2)
		call("new", 2)
		time.Sleep(6 * time.Hour)
		call("new", 3)
		if len(kept) != 2 || kept[0] != "new" {
			t.Errorf("kept %q", kept)
		}
	})
}

func TestCreateKeepsItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		c := open(t, client.Options{Server: "http://gateway", Patience: time.Minute, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			switch len(keys) {
			case 1:
				return nil, errors.New("the answer was lost")
			case 2:
				return answer(409, nil, `{"code":"conflict"}`)
			}
			return answer(200, nil, `{"id":"x"}`)
		})})
		if _, err := c.Create(t.Context(), "the key", api.NewConversion{}); err != nil {
			t.Fatal(err)
		}
		if strings.Join(keys, ",") != "the key,the key,the key" {
			t.Errorf("keys: got %q", keys)
		}
	})
}

func TestNewUserIsNotRepeated(t *testing.T) {
	var tries atomic.Int32
	c := open(t, client.Options{Server: "http://gateway", Patience: time.Hour, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		tries.Add(1)
		return nil, errors.New("the answer was lost")
	})})
	if _, err := c.CreateUser(t.Context(), api.NewUser{}); err == nil || tries.Load() != 1 {
		t.Errorf("got %v after %d tries, want an error after one", err, tries.Load())
	}
}

func open(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
