package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/printable"
)

// evil clears a terminal, forges a line, and turns around what follows.
const evil = "x\x1b[2J\r\nFORGED\tdone\u2028FORGED\u2029\u009b31m\x7f\u202e\u2066gpj.4pm"

// TestHostileServer: whatever a server says, and in whichever field, no command
// prints a character that a terminal obeys, or a line that is not its own.
func TestHostileServer(t *testing.T) {
	const id, when = "0192f3a8-5f3c-7d21-9c1e-2b7a4f6d8e90", "2026-11-30T10:00:00Z"
	conversion := map[string]any{
		"id": evil, "state": evil, "filename": evil, "size": 5, "created_at": when, "class": evil, "attempt": 1, "notify": "none",
		"options":  map[string]any{"preset": evil, "tags": map[string]any{"title": evil}},
		"fallback": map[string]any{"from": evil, "reason": evil}, "waiting": map[string]any{"reason": evil, "since": when},
		"progress": map[string]any{"phase": evil},
		"mp3":      map[string]any{"id": evil, "name": evil, "cover": evil, "notes": []any{map[string]any{"code": evil, "message": evil}}},
		"error":    map[string]any{"code": evil, "message": evil},
	}
	ended := map[string]any{"id": evil, "state": "failed", "filename": evil, "created_at": when, "error": conversion["error"]}
	answer := map[string]any{
		"conversions": []any{conversion}, "email": evil, "mails": evil, "language": evil, "detail": evil, "until": when, "what": []any{evil},
		"key": map[string]any{"name": evil, "scopes": []any{evil}}, "keys": []any{map[string]any{"id": evil, "name": evil, "scopes": []any{evil}}},
		"secret": evil, "name": evil, "access_token": evil,
	}
	status, final := http.StatusOK, false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := map[string]any{"status": status, "code": evil, "title": evil}
		for k, v := range answer {
			out[k] = v
		}
		if strings.HasPrefix(r.URL.Path, "/v1/conversions/") || r.Method == http.MethodPost && r.URL.Path == "/v1/conversions" {
			of := conversion
			if final {
				of = ended
			}
			for k, v := range of {
				out[k] = v
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(out)
	}))
	defer server.Close()
	dir := t.TempDir()
	for name, value := range map[string]string{"TONEARM_SERVER": server.URL, "TONEARM_TOKEN": "t", "HOME": dir, "TERM": "dumb"} {
		t.Setenv(name, value)
	}
	video := filepath.Join(dir, "video.mp4")
	if err := os.WriteFile(video, []byte("video"), 0o600); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("correct horse\nbattery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"list"}, {"list", "--json"}, {"get", id}, {"get", id, "--json"}, {"cancel", id, id}, {"retry", id, id}, {"rm", id, id},
		{"get", id, "--wait"}, {"retry", id, "--wait"},
		{"account"}, {"account", "confirm"}, {"account", "language", "de"}, {"account", "email", "a@example.org", "--password-stdin"},
		{"account", "delete", "--password-stdin"}, {"key", "list"}, {"key", "list", "--json"}, {"key", "create", "k", "--password-stdin"}, {"key", "revoke", id},
		{"passwd", "--password-stdin"}, {"passwd", "--reset", "--user", "a@example.org"}, {"logout", "--everywhere"},
		{"convert", video, "--send", "whole", "--out", dir}, {"convert", video, "--send", "whole", "--force", "--json"}, {"__complete", "get", ""}, {"doctor"},
	} {
		for status = range map[int]bool{200: true, 403: true} {
			final = strings.Contains(strings.Join(args, " "), "wait") || args[0] == "convert"
			got := printed(t, password, args)
			for line := range strings.Lines(got) {
				if strings.HasPrefix(line, "FORGED") {
					t.Errorf("tonearm %s prints a line of the server's (%d):\n%q", strings.Join(args, " "), status, got)
					break
				}
			}
			for _, r := range got {
				if printable.Unsafe(r) && r != '\n' && (r != '\t' || args[0] != "__complete") {
					t.Errorf("tonearm %s prints %U (%d):\n%q", strings.Join(args, " "), r, status, got)
					break
				}
			}
			if args[len(args)-1] == "--json" && status == 200 && args[0] != "convert" {
				var back any
				if err := json.Unmarshal([]byte(got), &back); err != nil || !strings.Contains(fmt.Sprint(back), evil) {
					t.Errorf("tonearm %s: the line of JSON is %q, %v", strings.Join(args, " "), got, err)
				}
			}
		}
	}
}

// TestSavedName: an MP3 is saved under a name without control characters, whatever
// an earlier or a hostile server calls its video, and in the folder that was asked for.
func TestSavedName(t *testing.T) {
	const sound = "sound"
	sum := sha256.Sum256([]byte(sound))
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, file := strings.CutPrefix(r.URL.Path, "/object"); file {
			_, _ = io.WriteString(w, sound)
			return
		}
		http.Redirect(w, r, server.URL+"/object", http.StatusFound)
	}))
	defer server.Close()
	c, err := client.New(client.Options{Server: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		evil:                             "x\uFFFD[2J\uFFFD\uFFFDFORGED\uFFFDdone\uFFFDFORGED\uFFFD\uFFFD31m\uFFFDgpj.mp3",
		"../../evil\u202e3pm.mp4":        "evil3pm.mp3",
		"/etc/\x00passwd":                "\uFFFDpasswd.mp3",
		"C:\\Users\\a\\..\\talk\x1b.mp4": "talk\uFFFD.mp3",
	} {
		dir := t.TempDir()
		cv := api.Conversion{Filename: name, MP3: &api.MP3{ID: "m", Size: int64(len(sound)), SHA256: hex.EncodeToString(sum[:])}}
		path, err := saveMP3(t.Context(), c, cv, dir)
		if err != nil || path != filepath.Join(dir, want) {
			t.Errorf("%q: saved as %q, %v; want %q", name, path, err, want)
		}
	}
}

// printed runs the program in this process and returns what it prints.
func printed(t *testing.T, stdin string, args []string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "printed"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(stdin)
	if err != nil {
		t.Fatal(err)
	}
	out, errs, was := os.Stdout, os.Stderr, os.Stdin
	os.Stdout, os.Stderr, os.Stdin = f, f, in
	run(args)
	os.Stdout, os.Stderr, os.Stdin = out, errs, was
	in.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	return string(b)
}
