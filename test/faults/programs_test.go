package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestKnown: flags that a program lacks are left out.
func TestKnown(t *testing.T) {
	dir := t.TempDir()
	help := "#!/bin/sh\ncat <<'END'\nServer:\n      --listen ADDRESS     ADDRESS, as in --other\n      --open-registration  let anybody in\n  -h, --help      help\ngateway version v1 go1.26.0\nEND\n"
	for _, name := range []string{"gateway", "dispatcher", "notifier", "transcoder", "tonearm"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(help), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p, err := openPrograms(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.version != "v1" {
		t.Errorf("version %q", p.version)
	}
	got, err := p.known(t.Context(), []string{"gateway"}, []string{"--listen=:1", "--other=x", "--open-registration=true", "--listens=2"})
	if want := []string{"--listen=:1", "--open-registration=true"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
