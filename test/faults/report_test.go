package main

import (
	"strings"
	"testing"
)

// TestTable: the last result of each cell counts, and those of earlier programs
// name them.
func TestTable(t *testing.T) {
	at := func(cell, programs string, recovery float64, red ...string) result {
		return result{Cell: cell, Programs: programs, verdict: verdict{Red: red, Uploads: 7, Done: 6, RecoveryMax: recovery, Lost: len(red)}}
	}
	got := table(faults(), []result{
		at("lost/take/6", "old", 1), at("lost/put/10", "old", 1),
		at("lost/take/6", "new", 70, "lost: a file"), at("lost/take/6", "new", 12), at("lost/claim/8", "new", 3),
		at("redis-kill/take/2", "new", 5, "slow: very"), {Cell: "power/0", Programs: "new", Skipped: "needs root"}, at("self-mp3/0", "new", 0),
	})
	for _, want := range []string{
		"| `lost` × 3 | three answers are lost | take, claim, put | 21 | 0 | 0 | 0 | 0 | 0 | 3 s, 12 s | ok, `old` |",
		"those of `new` (4 cells) where",
		"| `redis-kill` × 1 |", "| 1 red |",
		"- `redis-kill/take/2` slow: very", "- `power/0` was not run: needs root",
		"5 cells, 1 red, 1 skipped, 0 not run; 28 uploads",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "self-") {
		t.Errorf("cells of the harness in\n%s", got)
	}
}
