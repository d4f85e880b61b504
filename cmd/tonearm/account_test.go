package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// tokenFrom puts the text of a file into TONEARM_TOKEN.
func tokenFrom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tokenfrom FILE")
	}
	ts.Setenv("TONEARM_TOKEN", strings.TrimSpace(ts.ReadFile(args[0])))
}
