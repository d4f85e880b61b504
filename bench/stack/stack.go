// Package stack runs `tonearm up`, as it is built in bin, for measurements, and
// sends files through it as clients do.
package stack

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"tonearm/bench/link"
	"tonearm/internal/api"
	"tonearm/internal/client"
)

// Up is everything in one process.
type Up struct {
	Server string // URL of the gateway
	PID    int

	in      *link.Namespace
	cmd     *exec.Cmd
	drained chan struct{} // closed once standard output has ended
}

// Start runs it from the repository's root. Its data are in the folder data,
// its log is in data.log. Start returns once everything is ready.
func Start(ctx context.Context, data string, args ...string) (*Up, error) {
	return StartIn(ctx, nil, data, args...)
}

// StartIn is Start in a network of its own.
func StartIn(ctx context.Context, in *link.Namespace, data string, args ...string) (*Up, error) {
	log, err := os.Create(data + ".log")
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, "bin/tonearm", append([]string{"up", "--data", data}, args...)...)
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := in.Start(cmd); err != nil {
		return nil, fmt.Errorf("bin/tonearm (make build makes it): %w", err)
	}
	u := &Up{PID: cmd.Process.Pid, in: in, cmd: cmd, drained: make(chan struct{})}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "gateway" {
			u.Server = words[1]
			go func() { defer close(u.drained); _, _ = io.Copy(io.Discard, out) }()
			return u, nil
		}
	}
	close(u.drained)
	u.Stop()
	return nil, fmt.Errorf("tonearm up did not start; its log is %s.log", data)
}

// Stop ends it and returns once it has ended.
func (u *Up) Stop() {
	_ = u.cmd.Cancel()
	<-u.drained
	_ = u.cmd.Wait()
}

// Account makes an account and returns its token.
func (u *Up) Account(ctx context.Context, email string) (token string, err error) {
	c, err := client.New(client.Options{Server: u.Server, Transport: u.transport()})
	if err != nil {
		return "", err
	}
	password := rand.Text()
	if _, err := c.CreateUser(ctx, api.NewUser{Email: email, Password: password}); err != nil {
		return "", fmt.Errorf("make an account: %w", err)
	}
	login, err := c.Login(ctx, email, password)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	return login.AccessToken, nil
}

// Client returns a client that is logged in to its own account.
func (u *Up) Client(ctx context.Context, email string) (*client.Client, error) {
	token, err := u.Account(ctx, email)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Server: u.Server, Token: token, Transport: u.transport()})
}

// transport reaches the server from its own network; nil for the client's own.
func (u *Up) transport() http.RoundTripper {
	if u.in == nil {
		return nil
	}
	return &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return u.in.Dial(ctx, address) }}
}

// Upload makes a conversion and uploads its source with one plain PUT. The
// dispatcher learns of the upload only from the store.
func Upload(ctx context.Context, c *client.Client, name string, source io.Reader, size int64) (api.Conversion, error) {
	made, err := c.Create(ctx, rand.Text(), api.NewConversion{Filename: name, Size: size})
	if err != nil {
		return api.Conversion{}, err
	}
	req, err := http.NewRequestWithContext(ctx, made.Upload.Method, made.Upload.URL, source)
	if err != nil {
		return api.Conversion{}, errors.New("the upload's URL is none")
	}
	for name, value := range made.Upload.Headers {
		req.Header.Set(name, value)
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return api.Conversion{}, errors.New("upload: the store was not reached") // without err, which has the URL
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return api.Conversion{}, fmt.Errorf("upload: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return api.Conversion{}, fmt.Errorf("upload: %s", resp.Status)
	}
	return made, nil
}
