package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adrg/xdg"
	"github.com/rogpeppe/go-internal/testscript"

	"tonearm/internal/api"
)

// tokenFrom puts the text of a file into TONEARM_TOKEN.
func tokenFrom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tokenfrom FILE")
	}
	ts.Setenv("TONEARM_TOKEN", strings.TrimSpace(ts.ReadFile(args[0])))
}

// A command that runs for days keeps each token of its session, until another
// command logs in or out.
func TestKeptSession(t *testing.T) {
	t.Cleanup(xdg.Reload) // after the variable is back
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	xdg.Reload()
	check := func(want string) {
		t.Helper()
		s, err := loadSession()
		if err != nil || s.Token != want || s.Server != "http://localhost" || s.Email != "ada@example.org" {
			t.Errorf("kept is %+v, %v; want the token %q", s, err, want)
		}
	}
	renew := func(keep func(api.Token), token string) { keep(api.Token{AccessToken: token, ExpiresIn: 43200}) }
	s := session{Server: "http://localhost", Email: "ada@example.org"}.with(api.Token{AccessToken: "first", ExpiresIn: 43200})
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	keep := s.keep()
	renew(keep, "second")
	check("second")
	renew(keep, "third")
	check("third")
	if s, _ := loadSession(); time.Until(s.RefreshAt) < 5*time.Hour {
		t.Errorf("it is renewed at %s", s.RefreshAt)
	}
	if info, err := os.Stat(sessionPath()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if err := forget("http://elsewhere"); err != nil {
		t.Fatal(err)
	}
	check("third")
	if err := forget("http://localhost"); err != nil {
		t.Fatal(err)
	}
	check("")
	renew(keep, "fourth")
	check("")
}
