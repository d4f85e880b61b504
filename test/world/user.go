package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/waittest"
)

// User is somebody with an account who talks to a gateway by plain HTTP.
type User struct {
	T                    *testing.T
	Server, Email, Token string
}

// Password is the password of every account.
const Password = "correct horse battery"

// NewUser makes an account and logs in.
func NewUser(t *testing.T, server, email string) *User {
	t.Helper()
	u := &User{T: t, Server: server, Email: email}
	status, body := u.Do("POST", "/v1/users", api.NewUser{Email: email, Password: Password}, nil)
	if status != http.StatusCreated {
		t.Fatalf("make account: %d %s", status, body)
	}
	u.Login()
	return u
}

// Login gets a token.
func (u *User) Login() {
	u.T.Helper()
	req, _ := http.NewRequestWithContext(u.T.Context(), "POST", u.Server+"/login", nil)
	req.SetBasicAuth(u.Email, Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		u.T.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		u.T.Fatalf("login: %d %s", resp.StatusCode, body)
	}
	u.Token = strings.TrimSpace(string(body))
}

// Do sends one request and returns status and body. If into is not nil, a
// successful answer is decoded into it. Status 0 means that nobody answered.
func (u *User) Do(method, path string, body, into any) (int, string) {
	u.T.Helper()
	return u.do(method, path, nil, body, into)
}

// Create asks for a conversion.
func (u *User) Create(filename string, size int64) api.Conversion {
	u.T.Helper()
	var c api.Conversion
	if status, body := u.Do("POST", "/v1/conversions", api.NewConversion{Filename: filename, Size: size}, &c); status != http.StatusCreated {
		u.T.Fatalf("create: %d %s", status, body)
	}
	return c
}

// CreateUnder asks for a conversion with an idempotency key.
func (u *User) CreateUnder(key string, n api.NewConversion) (status int, c api.Conversion) {
	u.T.Helper()
	status, body := u.do("POST", "/v1/conversions", http.Header{"Idempotency-Key": {key}}, n, &c)
	if status >= 300 {
		u.T.Fatalf("create: %d %s", status, body)
	}
	return status, c
}

func (u *User) do(method, path string, header http.Header, body, into any) (int, string) {
	u.T.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			u.T.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(u.T.Context(), method, u.Server+path, r)
	if err != nil {
		u.T.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if u.Token != "" {
		req.Header.Set("Authorization", "Bearer "+u.Token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	if into != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(got, into); err != nil {
			u.T.Fatalf("%s %s: %v in %s", method, path, err, got)
		}
	}
	return resp.StatusCode, string(got)
}

// Put uploads a file by the presigned request of up.
func Put(ctx context.Context, up *api.Upload, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, up.Method, up.URL, f)
	if err != nil {
		return err
	}
	for name, value := range up.Headers {
		req.Header.Set(name, value)
	}
	req.ContentLength = info.Size()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return fmt.Errorf("upload: %s %s", resp.Status, body)
	}
	return nil
}

// Final waits until a conversion has ended.
func (u *User) Final(id string, limit time.Duration) api.Conversion {
	u.T.Helper()
	var c api.Conversion
	waittest.Until(u.T, limit, "conversion "+id+" is final", func() bool {
		status, body := u.Do("GET", "/v1/conversions/"+id+"?wait=20", nil, &c)
		if status != 0 && status != http.StatusOK && status != http.StatusServiceUnavailable {
			u.T.Fatalf("get conversion: %d %s", status, body)
		}
		return status == http.StatusOK && c.State.Terminal()
	})
	return c
}
