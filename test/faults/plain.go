package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"time"

	"tonearm/test/faults/proxy"
	"tonearm/test/server"
)

// plain uploads as a form, as curl -F does. Whatever a client repeats carries the
// same key and digest.
func plain(ctx context.Context, r *run) error {
	rule := &proxy.Rule{Match: proxy.Regexp(`^POST /upload `), Times: 2, Do: proxy.LoseAnswer}
	defer r.gate[gateAPI].Add(rule)()
	var answers []byte
	for i := range r.cell.files {
		u := r.add(r.client, mix[i%3], false)
		var answer []byte
		var err error
		for range 5 {
			if answer, err = r.form(ctx, u); err == nil {
				break
			}
			pause(ctx, 500*time.Millisecond)
		}
		if err != nil {
			u.refused = err
		} else {
			u.acknowledged()
			answers = append(answers, answer...)
		}
		u.ended = true
	}
	r.struck, r.ended = rule.Struck(), time.Now()
	return r.rename(ctx, answers)
}

// rename gives uploads the keys of the documents that were made for them, in a
// version that does not take the client's. Documents of requests whose answers
// were lost stay without an upload.
func (r *run) rename(ctx context.Context, answers []byte) error {
	s, err := r.see(ctx, false, nil)
	if err != nil {
		return err
	}
	var keys []string // in the order of their ids, which is that of the requests
	for _, d := range s.documents {
		if bytes.Contains(answers, []byte(d.ID)) {
			keys = append(keys, d.IdempotencyKey)
		}
	}
	if own := r.uploads[1:]; len(keys) == len(own) { // the first one warmed the world
		for i, u := range own {
			u.key = keys[i]
		}
	}
	return nil
}

// form sends a file in one request to the gateway.
func (r *run) form(ctx context.Context, u *upload) ([]byte, error) {
	content, err := os.ReadFile(u.tone.path)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	if err := w.SetBoundary("boundary-" + u.key); err != nil { // the same bytes each time
		return nil, err
	}
	part, err := w.CreateFormFile("file", u.tone.name)
	if err != nil {
		return nil, err
	}
	if _, err := part.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body.Bytes())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/upload", &body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Idempotency-Key", u.key)
	req.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return answer, err
}

// outage takes a server away for a minute in which nobody uploads. Without Redis
// the gateway must stay ready.
func outage(of func(*run) *server.Server) act {
	return func(ctx context.Context, r *run) error {
		down := of(r)
		down.Kill()
		r.struck = 1
		const times = 12
		unready := 0
		for range times {
			pause(ctx, 5*time.Second)
			if _, err := get(ctx, "http://"+r.services["gateway"].admin+"/readyz"); err != nil {
				unready++
			}
		}
		if unready > 0 && down == r.redis {
			r.red = append(r.red, fmt.Sprintf("unready: without Redis the gateway was not ready %d of %d times", unready, times))
		}
		if err := down.Restart(ctx); err != nil {
			return err
		}
		r.ended = time.Now()
		r.begin(ctx)
		return nil
	}
}
