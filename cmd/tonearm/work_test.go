package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tonearm/cmd/tonearm/internal/files"
	"tonearm/cmd/tonearm/internal/journal"
	"tonearm/cmd/tonearm/internal/screen"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// sound returns a task that sends a part of a file to server.
func sound(t *testing.T, server string) *task {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.mp4")
	if err := os.WriteFile(path, []byte("pictures and sound"), 0o600); err != nil {
		t.Fatal(err)
	}
	video, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { video.Close() })
	c, err := client.New(client.Options{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.InMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	s := screen.New(screen.Options{Err: &strings.Builder{}, Out: &strings.Builder{}, Quiet: true})
	t.Cleanup(s.Close)
	w := &work{file: files.List([]string{path}, false)[0]}
	conv := &converter{convertFlags: &convertFlags{noWait: true}, cmd: &cobra.Command{}, client: c, journal: j, old: journal.Old(t.TempDir()), screen: s}
	return &task{
		converter: conv, work: w, video: video, line: s.Begin("a.mp4", w.size()), outcome: &outcome{},
		content: &content{ReaderAt: strings.NewReader("sound"), size: 5, mode: string(conversion.SentSound), plan: "p1"},
	}
}

// TestEntryKeepsTheMode: a file goes on as it was begun.
func TestEntryKeepsTheMode(t *testing.T) {
	k := sound(t, "http://localhost:1")
	e, err := k.entry(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	want := conversion.Sent{What: conversion.SentSound, OriginalSize: 18}
	if e.Mode != "sound" || e.Request.Sent == nil || *e.Request.Sent != want || e.Request.Size != 5 {
		t.Errorf("begun with %+v, want %+v of 5 bytes", e, want)
	}
	if again, err := k.entry(t.Context(), false); err != nil || again.Key != e.Key {
		t.Errorf("the same plan: %+v, %v", again, err)
	}
	k.content.plan = "p2" // another version of the splitter
	other, err := k.entry(t.Context(), false)
	if err != nil || other.Key == e.Key {
		t.Errorf("another plan: %+v, %v", other, err)
	}
	begun := other
	begun.Mode, begun.Plan, begun.Key = "", "", "whole"
	if err := k.journal.Save(t.Context(), begun, ""); err != nil {
		t.Fatal(err)
	}
	if e, err := k.entry(t.Context(), false); err != nil || e.Key != "whole" || k.content.size != 18 || k.content.mode != "" {
		t.Errorf("begun whole: %+v, %v, sends %d bytes", e, err, k.content.size)
	}
}

// TestEarlierGateway: one that does not know the field gets the whole file.
func TestEarlierGateway(t *testing.T) {
	var bodies []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 1<<10)
		n, _ := r.Body.Read(b)
		bodies = append(bodies, string(b[:n]))
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(string(b[:n]), "sent") {
			w.WriteHeader(422)
			w.Write([]byte(`{"status":422,"code":"invalid_request","detail":"The request is not valid: body.sent: unknown field.","errors":[{"location":"body.sent","message":"unknown field"}]}`))
			return
		}
		w.Write([]byte(`{"id":"c","state":"queued"}`))
	}))
	defer gateway.Close()
	k := sound(t, gateway.URL)
	e, err := k.entry(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	cv, err := k.server(t.Context(), &e)
	if err != nil || cv.ID != "c" || len(bodies) != 2 {
		t.Fatalf("got %+v, %v after %q", cv, err, bodies)
	}
	if k.content.size != 18 || e.Mode != "" || e.Request.Size != 18 || e.Request.Sent != nil {
		t.Errorf("sends %d bytes as %+v", k.content.size, e.Request)
	}
	if unknownField(&client.Error{Problem: api.Problem{Errors: []api.Field{{Location: "body.size"}}}}, "sent") {
		t.Error("another field counts as unknown")
	}
}
