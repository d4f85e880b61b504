package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tonearm/bench/results"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// latency measures, in `tonearm up`, the milliseconds from the end of an upload
// to the MP3, less what ffmpeg takes for the same file alone: the median over
// pairs.
func latency(ctx context.Context, l *lab) (results.Figure, error) {
	const pairs = 15
	path, err := l.inputs.MP4(ctx, 30, 2, false)
	if err != nil {
		return results.Figure{}, err
	}
	server, stop, err := startUp(ctx, filepath.Join(l.scratch, "up"))
	if err != nil {
		return results.Figure{}, err
	}
	defer stop()
	c, err := login(ctx, server)
	if err != nil {
		return results.Figure{}, err
	}
	mp3 := filepath.Join(l.scratch, "out.mp3")
	taken, err := alternate(ctx, pairs,
		contender{name: "tonearm up", run: func(ctx context.Context) (float64, error) { return convert(ctx, c, path) }},
		contender{name: "ffmpeg", run: func(ctx context.Context) (float64, error) { return ffmpeg(ctx, nil, path, mp3) }})
	if err != nil {
		return results.Figure{}, err
	}
	var over sample
	for i, seconds := range taken["tonearm up"] {
		over = append(over, 1000*(seconds-taken["ffmpeg"][i]))
	}
	f := results.Plain(over.median(), "ms")
	f.Spread = map[string]results.Range{"ours": over.spread()}
	f.More = map[string]float64{"ffmpeg": results.Plain(1000*taken["ffmpeg"].median(), "ms").Ours}
	return f, nil
}

// startUp runs everything in one process, and returns the gateway's URL.
func startUp(ctx context.Context, data string) (server string, stop func(), err error) {
	log, err := os.Create(data + ".log")
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, "bin/tonearm", "up", "--data", data, "--listen", "127.0.0.1:0")
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("bin/tonearm (make build makes it): %w", err)
	}
	drained := make(chan struct{})
	stop = func() { _ = cmd.Cancel(); <-drained; _ = cmd.Wait() }
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "gateway" {
			go func() { defer close(drained); _, _ = io.Copy(io.Discard, out) }()
			return words[1], stop, nil
		}
	}
	close(drained)
	stop()
	return "", nil, errors.New("tonearm up did not start")
}

// login returns a client with an account of its own.
func login(ctx context.Context, server string) (*client.Client, error) {
	c, err := client.New(client.Options{Server: server})
	if err != nil {
		return nil, err
	}
	const email = "bench@example.org"
	password := rand.Text()
	if _, err := c.CreateUser(ctx, api.NewUser{Email: email, Password: password}); err != nil {
		return nil, fmt.Errorf("make an account: %w", err)
	}
	token, err := c.Login(ctx, email, password)
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	return client.New(client.Options{Server: server, Token: token.AccessToken})
}

// convert uploads a file by one plain PUT, and returns the seconds from there
// to the MP3. Nobody but the store tells the dispatcher.
func convert(ctx context.Context, c *client.Client, path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	made, err := c.Create(ctx, rand.Text(), api.NewConversion{Filename: "bench.mp4", Size: info.Size()})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, made.Upload.Method, made.Upload.URL, f)
	if err != nil {
		return 0, errors.New("the upload's URL is none")
	}
	for name, value := range made.Upload.Headers {
		req.Header.Set(name, value)
	}
	req.ContentLength = info.Size()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("upload: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("upload: %s", resp.Status)
	}
	began := time.Now()
	for !made.State.Terminal() {
		if made, err = c.Wait(ctx, made.ID, made.Revision); err != nil {
			return 0, err
		}
	}
	if made.State != conversion.Done {
		return 0, fmt.Errorf("the conversion is %s", made.State)
	}
	return time.Since(began).Seconds(), nil
}
