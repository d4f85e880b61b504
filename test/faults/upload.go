package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/client"
)

// upload is one file on its way, as its client sees it.
type upload struct {
	tone   *tone
	key    string // Idempotency-Key
	client *client.Client
	parts  bool

	mu      sync.Mutex
	id      string
	acked   time.Time // when the store had answered that it has the file; zero until then
	refused error     // why the client gave up
	ended   bool
}

func (u *upload) state() (id string, acked time.Time, refused error, ended bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.id, u.acked, u.refused, u.ended
}

// file is the upload as judges see it.
func (u *upload) file() file {
	_, acked, refused, _ := u.state()
	f := file{name: u.tone.name, key: u.key, acked: !acked.IsZero(), want: u.tone.want, sum: u.tone.sum}
	if refused != nil {
		f.error = refused.Error()
	}
	return f
}

// send brings the file up as a client does that does not give up soon.
func (u *upload) send(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	err := u.try(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	if err != nil {
		u.refused = err
	}
}

func (u *upload) try(ctx context.Context) error {
	made, err := u.client.Create(ctx, u.key, api.NewConversion{Filename: u.tone.name, Size: u.tone.size, Parts: u.parts})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	u.mu.Lock()
	u.id = made.ID
	u.mu.Unlock()
	f, err := os.Open(u.tone.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if u.parts {
		if _, err := u.client.Send(ctx, made, f, func(int64) {}); err != nil {
			return fmt.Errorf("send in parts: %w", err)
		}
		u.acknowledged()
		return nil
	}
	to := made.Upload
	for {
		if to != nil {
			limited, cancel := context.WithTimeout(ctx, putLimit)
			err = put(limited, *to, io.NewSectionReader(f, 0, u.tone.size), u.tone.size)
			cancel()
			if err == nil {
				u.acknowledged()
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("upload: %w", err)
		case <-time.After(300 * time.Millisecond):
		}
		fresh, err := u.client.Upload(ctx, u.id, nil)
		var problem *client.Error
		switch {
		case errors.As(err, &problem) && problem.Status == http.StatusConflict:
			u.acknowledged() // an earlier try arrived, and is known
			return nil
		case err != nil:
			return fmt.Errorf("sign the upload again: %w", err)
		}
		to = &fresh
	}
}

func (u *upload) acknowledged() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.acked = time.Now()
}

// putLimit is how long a client waits for the store's answer to a small file.
const putLimit = 20 * time.Second

// put sends a file with one request. It succeeds also if an earlier try arrived.
func put(ctx context.Context, to api.Upload, source io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(ctx, to.Method, to.URL, source)
	if err != nil {
		return errors.New("the upload's URL is none")
	}
	for name, value := range to.Headers {
		req.Header.Set(name, value)
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.New("the store was not reached") // without err, which has the URL
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPreconditionFailed {
		return errors.New(resp.Status)
	}
	return nil
}
