package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
)

// stubDispatcher stands in for a dispatcher that has one attempt to give out.
// It also takes the attempt's MP3: a file on the client's side of the link,
// where the peers' MP3s end up too.
type stubDispatcher struct {
	assignment attempt.Assignment
	mp3        string // path of the MP3
	reported   chan outcome
}

// outcome is the result and when it came.
type outcome struct {
	attempt.Result
	at time.Time
}

func newStubDispatcher(a attempt.Assignment, mp3 string) *stubDispatcher {
	return &stubDispatcher{assignment: a, mp3: mp3, reported: make(chan outcome, 1)}
}

func (d *stubDispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /attempts/{id}/claim", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(d.assignment) })
	mux.HandleFunc("POST /attempts/{id}/progress", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(attempt.ProgressReply{Source: d.assignment.Source, Target: d.assignment.Target})
	})
	mux.HandleFunc("POST /attempts/{id}/result", d.result)
	mux.HandleFunc("PUT /mp3", d.store)
	mux.ServeHTTP(w, r)
}

func (d *stubDispatcher) result(w http.ResponseWriter, r *http.Request) {
	got := outcome{at: time.Now()}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&got.Result); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case d.reported <- got:
	default: // the same result again
	}
	state := conversion.Done
	if got.Failure != nil {
		state = conversion.Failed
	}
	json.NewEncoder(w).Encode(attempt.ResultReply{State: state})
}

func (d *stubDispatcher) store(w http.ResponseWriter, r *http.Request) {
	f, err := os.Create(d.mp3)
	if err == nil {
		_, err = io.Copy(f, r.Body)
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("store the MP3: %v", err), http.StatusInternalServerError)
	}
}
