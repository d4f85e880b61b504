package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
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
	conv := &converter{convertFlags: &convertFlags{noWait: true, send: sendAuto}, cmd: &cobra.Command{}, client: c, journal: j, old: journal.Old(t.TempDir()), screen: s}
	k := conv.task(w, video, &outcome{})
	k.can.looked, k.can.sound = true, &content{ReaderAt: strings.NewReader("sound"), size: 5, mode: string(conversion.SentSound), plan: "p1"}
	return k
}

// receiver is a gateway that takes conversions on, and their uploads.
type receiver struct {
	*httptest.Server
	keys, bodies []string // of the requests for a conversion
	sent         string   // what was uploaded last
}

// receiving starts a gateway that says it is at an address; empty: where it is.
func receiving(t *testing.T, address string) *receiver {
	t.Helper()
	g := &receiver{}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, body string) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}
	mux.HandleFunc("POST /v1/conversions", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		g.keys, g.bodies = append(g.keys, r.Header.Get("Idempotency-Key")), append(g.bodies, string(b))
		var asked api.NewConversion
		if err := json.Unmarshal(b, &asked); err != nil {
			t.Errorf("%v in %s", err, b)
		}
		answer(w, `{"id":"c","state":"awaiting_upload","size":`+strconv.FormatInt(asked.Size, 10)+`,"upload":{"method":"PUT","url":"`+cmp.Or(address, g.URL)+`/object"}}`)
	})
	mux.HandleFunc("PUT /object", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		g.sent = string(b)
	})
	mux.HandleFunc("POST /v1/conversions/c/complete", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, `{"id":"c","state":"queued"}`)
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// again is the same file in another run of the command.
func (t *task) again() *task {
	k := t.task(t.work, t.video, &outcome{})
	k.can = t.can
	return k
}

// TestEntryKeepsTheMode: a file goes on as it was begun, whatever --send says now.
func TestEntryKeepsTheMode(t *testing.T) {
	k := sound(t, "http://localhost:1")
	e, err := k.entry(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	want := conversion.Sent{What: conversion.SentSound, OriginalSize: 18}
	if e.Mode != "sound" || e.Request.Sent == nil || *e.Request.Sent != want || e.Request.Size != 5 || k.content != k.can.sound {
		t.Errorf("begun with %+v, want %+v of 5 bytes", e, want)
	}
	kept := func() int {
		entries, err := os.ReadDir(string(k.old))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := kept(); n != 0 {
		t.Errorf("%d keys are kept for earlier versions, which cannot go on with a sound", n)
	}
	k.send = sendWhole
	k = k.again()
	if again, err := k.entry(t.Context(), false); err != nil || again.Key != e.Key || k.content != k.can.sound {
		t.Errorf("the same plan: %+v, %v", again, err)
	}
	k.can.sound.plan = "p2" // another version of the splitter
	k = k.again()
	other, err := k.entry(t.Context(), false)
	if err != nil || other.Key == e.Key || other.Mode != "" || k.content != k.can.all {
		t.Errorf("another plan: %+v, %v", other, err)
	}
	if n := kept(); n != 1 {
		t.Errorf("%d keys are kept for earlier versions, want the one of the whole file", n)
	}
	k.send = sendAuto
	k = k.again()
	if e, err := k.entry(t.Context(), false); err != nil || e.Key != other.Key || k.content != k.can.all || k.content.size != 18 {
		t.Errorf("begun whole: %+v, %v", e, err)
	}
}

// TestEntryOfAnotherProcess: of two that begin a file at the same time, one takes the
// other's key and what it sends, or goes its own way.
func TestEntryOfAnotherProcess(t *testing.T) {
	for name, tt := range map[string]struct {
		plan, mode string
		same       bool
	}{
		"the same":          {"p1", "sound", true},
		"all of it":         {"", "", true},
		"of another plan":   {"p2", "sound", false},
		"what is not known": {"p1", "pictures", false},
	} {
		k := sound(t, "http://localhost:1")
		d, err := k.decide(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		meanwhile := d.Entry
		meanwhile.Key, meanwhile.Plan, meanwhile.Mode = "theirs", tt.plan, tt.mode
		if _, err := k.journal.Begin(t.Context(), meanwhile, ""); err != nil {
			t.Fatal(err)
		}
		e, err := k.begin(t.Context(), d.Entry, d.replaced)
		if err != nil || (e.Key == "theirs") != tt.same {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if k.content.mode != e.Mode || k.content.plan != e.Plan {
			t.Errorf("%s: it sends %q of the plan %q, and %q of %q is awaited", name, k.content.mode, k.content.plan, e.Mode, e.Plan)
		}
	}
}

// TestSentEntryNeedsNoContent: what has arrived goes on, whatever would be sent now.
func TestSentEntryNeedsNoContent(t *testing.T) {
	k := sound(t, "http://localhost:1")
	e, err := k.entry(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	k.save(t.Context(), e, journal.Sent, "")
	k.can.looked, k.can.sound, k.can.err = true, nil, errTruncated
	k = k.again()
	if again, err := k.entry(t.Context(), false); err != nil || again.Key != e.Key || k.content != nil {
		t.Errorf("got %+v, %v, and %+v is sent", again, err, k.content)
	}
}

// TestSentButLost: the server has lost what had arrived. It is sent again, as it was
// before.
func TestSentButLost(t *testing.T) {
	g := receiving(t, "")
	k := sound(t, g.URL)
	e, err := k.entry(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	k.save(t.Context(), e, journal.Sent, "")
	k.send = sendWhole
	k = k.again()
	if err := k.run(t.Context()); err != nil || g.sent != "sound" || len(g.bodies) != 1 {
		t.Errorf("%v: sent %q after %q", err, g.sent, g.bodies)
	}
}

// TestSameContent: a file that was moved is known again by what was sent of it, all of
// it or only its sound, whatever would be sent now.
func TestSameContent(t *testing.T) {
	for name, tt := range map[string]struct{ before, now string }{
		"both whole": {sendWhole, sendWhole}, "both sound": {sendAuto, sendAuto},
		"whole before": {sendWhole, sendAuto}, "sound before": {sendAuto, sendWhole},
	} {
		k := sound(t, "http://localhost:1")
		k.send = tt.before
		e, err := k.entry(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if e.SHA256, err = k.content.sha256(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.Conversion = "c"
		k.save(t.Context(), e, journal.Done, "")
		k.file.Abs = "/moved/a.mp4"
		k.send = tt.now
		k = k.again()
		if same, err := k.entry(t.Context(), false); err != nil || same.Conversion != "c" || same.Path != "/moved/a.mp4" {
			t.Errorf("%s: %+v, %v", name, same, err)
		}
		k.file.Abs = "/moved again/a.mp4" // and its sound cannot be had any more
		k = k.again()
		k.can = &sendable{all: k.can.all, looked: true, err: errTruncated}
		same, err := k.entry(t.Context(), false)
		switch known := tt.before == sendWhole; {
		case known && (err != nil || same.Conversion != "c"),
			!known && tt.now == sendAuto && !errors.Is(err, errTruncated),
			!known && tt.now == sendWhole && (err != nil || same.Conversion != ""):
			t.Errorf("%s, without a sound: %+v, %v", name, same, err)
		}
		k.can.sound = &content{size: 5}
		k.can.all.ReaderAt, k.can.sound.ReaderAt = strings.NewReader("Pictures and sound"), strings.NewReader("Sound")
		k.file.Abs = "/another/a.mp4"
		k = k.again()
		k.can = &sendable{all: &content{ReaderAt: k.can.all.ReaderAt, size: 18}, looked: true,
			sound: &content{ReaderAt: k.can.sound.ReaderAt, size: 5, mode: "sound", plan: "p1"}}
		if other, err := k.entry(t.Context(), false); err != nil || other.Conversion != "" {
			t.Errorf("%s, other content: %+v, %v", name, other, err)
		}
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
	if k.content != k.can.all || e.Mode != "" || e.Request.Size != 18 || e.Request.Sent != nil {
		t.Errorf("sends %d bytes as %+v", k.content.size, e.Request)
	}
	k = k.again()
	k.file.Abs = "/next/a.mp4" // it is not asked about again
	if e, err := k.entry(t.Context(), false); err != nil || e.Request.Sent != nil {
		t.Errorf("the next file: %+v, %v", e, err)
	}
	if unknownField(&client.Error{Problem: api.Problem{Errors: []api.Field{{Location: "body.size"}}}}, "sent") {
		t.Error("another field counts as unknown")
	}
}
