package main

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"encoding/hex"
	"regexp"
	"strconv"
	"sync"
)

// headings are the comments that the queue's scripts have, by a short name.
var headings = map[string]string{
	"publish": "-- Adds a message",
	"take":    "-- Leases the next message",
	"ack":     "-- Removes a leased message",
	"extend":  "-- Makes a lease end later",
}

// scripts knows the scripts of the queue by what services send: a script's text
// is sent once, and afterwards only its hash.
type scripts struct {
	mu     sync.Mutex
	hashes map[string]string // by name
}

func newScripts() *scripts { return &scripts{hashes: map[string]string{}} }

var (
	eval   = regexp.MustCompile(`(?i)\r\n\$4\r\neval\r\n\$(\d+)\r\n`)
	isEval = eval.Match
)

// learn notes the hash of a script that is sent.
func (s *scripts) learn(request []byte) {
	at := eval.FindSubmatchIndex(request)
	if at == nil {
		return
	}
	n, err := strconv.Atoi(string(request[at[2]:at[3]]))
	text := request[at[1]:]
	if err != nil || len(text) < n {
		return
	}
	text = text[:n]
	sum := sha1.Sum(text) //nolint:gosec // see above
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, heading := range headings {
		if bytes.Contains(text, []byte(heading)) {
			s.hashes[name] = hex.EncodeToString(sum[:])
		}
	}
}

// runs matches requests that run a script for a class of messages.
func (s *scripts) runs(name, class string) func([]byte) bool {
	key := []byte("{" + class + "}")
	return func(request []byte) bool {
		if !bytes.Contains(request, key) {
			return false
		}
		s.mu.Lock()
		hash := s.hashes[name]
		s.mu.Unlock()
		return hash != "" && bytes.Contains(request, []byte(hash)) || bytes.Contains(request, []byte(headings[name]))
	}
}
