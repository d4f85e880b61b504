package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// eventPath is where MinIO posts its notifications.
const eventPath = "/events"

// relay passes on MinIO's notifications. MinIO must know its one receiver when
// it starts, but tests come later, each with a bucket of its own:
//
//	PUT /receivers/BUCKET {"url": "...", "token": "..."}    204
//	DELETE /receivers/BUCKET                                204
//
// A notification is posted to the receiver unchanged, with the token as bearer
// token. MinIO gets the status of the receiver's answer, or 502 if there is
// none. Notifications of buckets without a receiver are accepted and dropped.
type relay struct {
	mu        sync.Mutex
	receivers map[string]receiver // by bucket
}

type receiver struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

// startRelay serves a relay until s is closed.
func startRelay(ctx context.Context, s *Scratch) (url string, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(s.Host, "0"))
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: newRelay(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	s.closers = append(s.closers, func() { _ = server.Close() })
	return "http://" + l.Addr().String(), nil
}

func newRelay() http.Handler {
	r := &relay{receivers: map[string]receiver{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /receivers/{bucket}", r.register)
	mux.HandleFunc("DELETE /receivers/{bucket}", r.forget)
	mux.HandleFunc(eventPath, r.event)
	return mux
}

func (r *relay) register(w http.ResponseWriter, req *http.Request) {
	var to receiver
	if err := json.NewDecoder(req.Body).Decode(&to); err != nil || to.URL == "" {
		http.Error(w, `want {"url": "...", "token": "..."}`, http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receivers[req.PathValue("bucket")] = to
	w.WriteHeader(http.StatusNoContent)
}

func (r *relay) forget(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.receivers, req.PathValue("bucket"))
	w.WriteHeader(http.StatusNoContent)
}

func (r *relay) event(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	to, ok := r.receiver(body)
	if !ok {
		return
	}
	status, err := forward(req, to, body)
	if err != nil {
		http.Error(w, fmt.Sprintf("no answer: %v", err), http.StatusBadGateway)
		return
	}
	w.WriteHeader(status)
}

// receiver returns the receiver of a notification. MinIO also sends a request
// without a notification, to see whether anybody answers.
func (r *relay) receiver(body []byte) (receiver, bool) {
	var event struct {
		Records []struct {
			S3 struct {
				Bucket struct {
					Name string `json:"name"`
				} `json:"bucket"`
			} `json:"s3"`
		}
	}
	if json.Unmarshal(body, &event) != nil || len(event.Records) == 0 {
		return receiver{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	to, ok := r.receivers[event.Records[0].S3.Bucket.Name]
	return to, ok
}

func forward(req *http.Request, to receiver, body []byte) (status int, err error) {
	out, err := http.NewRequestWithContext(req.Context(), req.Method, to.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	out.Header.Set("Content-Type", req.Header.Get("Content-Type"))
	out.Header.Set("Authorization", "Bearer "+to.Token)
	response, err := http.DefaultClient.Do(out) //nolint:gosec // tests say where
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}
