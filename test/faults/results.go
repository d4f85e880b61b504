package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// result is one cell's line in the file of results.
type result struct {
	Cell     string    `json:"cell"`
	Programs string    `json:"programs"` // which; see openPrograms
	Version  string    `json:"version,omitempty"`
	At       time.Time `json:"at"`
	Seconds  float64   `json:"seconds"`
	Skipped  string    `json:"skipped,omitempty"` // why it was not run
	Error    string    `json:"error,omitempty"`   // of the harness, not of Tonearm
	verdict
}

// build names the programs.
func (r result) build() string { return cmp.Or(r.Version, r.Programs) }

func (r result) green() bool { return r.Skipped == "" && r.Error == "" && len(r.Red) == 0 }

// record is the file of results. Cells that it has are not run again.
type record struct {
	mu   sync.Mutex
	path string // "" for none
	all  []result
}

// openRecord reads a file of results; it may be missing.
func openRecord(path string) (*record, error) {
	r := &record{path: path}
	if path == "" {
		return r, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one result
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r.all = append(r.all, one)
	}
	return r, lines.Err()
}

// has returns the last result of a cell with these programs that needs no
// repetition.
func (r *record) has(name, programs string) (result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.all) - 1; i >= 0; i-- {
		if one := r.all[i]; one.Cell == name && one.Programs == programs {
			return one, one.Error == "" && one.Skipped == ""
		}
	}
	return result{}, false
}

// add appends a result to the file.
func (r *record) add(one result) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
	if r.path == "" {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // figures for everybody
	if err != nil {
		return err
	}
	defer f.Close()
	return json.NewEncoder(f).Encode(one)
}
