package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tonearm/test/server"
)

// Markers of the part of the page that report writes.
const (
	reportBegin = "<!-- cells: written by `go run ./test/faults -report -out FILE` -->\n"
	reportEnd   = "<!-- end -->"
)

// report writes the results into the page.
func report(r *record) error {
	if len(r.all) == 0 {
		return errors.New("no results; name their file with -out")
	}
	root, err := server.Repository()
	if err != nil {
		return err
	}
	path := filepath.Join(root, "docs", "reliability.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(page, []byte(reportBegin))
	_, after, closed := bytes.Cut(rest, []byte(reportEnd))
	if !ok || !closed {
		return fmt.Errorf("%s lacks the markers of the table", path)
	}
	page = slices.Concat(before, []byte(reportBegin+table(faults(), r.all)+reportEnd), after)
	return os.WriteFile(path, page, 0o644) //nolint:gosec // a page for everybody
}

// table shows the last result of each cell, a line for each fault. It names the
// programs of results that are of others than the last one.
func table(all []fault, results []result) string {
	last := map[string]result{}
	newest := results[len(results)-1].build()
	builds := map[string]int{} // cells
	for _, one := range results {
		last[one.Cell] = one
	}
	var b strings.Builder
	var whole totals
	var bad []string
	b.WriteString("| cells | what goes wrong | begins when | files | lost | unfinished | failed wrongly | doubled | second mails | recovery p50, max | |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range all {
		var sum totals
		var points, earlier []string
		for _, c := range cells() {
			one, ok := last[c.name()]
			if c.fault != f.name || !ok {
				continue
			}
			if c.wantRed == nil || !one.green() { // what shows that the harness sees is no result of Tonearm
				sum.add(one)
				whole.add(one)
				builds[one.build()]++
			}
			if b := "`" + one.build() + "`"; one.build() != newest && !slices.Contains(earlier, b) {
				earlier = append(earlier, b)
			}
			if c.cut != "" && !slices.Contains(points, c.cut) {
				points = append(points, c.cut)
			}
			for _, red := range one.Red {
				bad = append(bad, fmt.Sprintf("- `%s` %s", one.Cell, red))
			}
			if one.Error != "" || one.Skipped != "" {
				first, _, _ := strings.Cut(one.Error+one.Skipped, "\n")
				bad = append(bad, fmt.Sprintf("- `%s` was not run: %s", one.Cell, first))
			}
		}
		if sum.cells == 0 {
			continue
		}
		word := sum.word()
		if len(earlier) > 0 {
			word += ", " + strings.Join(earlier, ", ")
		}
		fmt.Fprintf(&b, "| `%s` × %d | %s | %s | %d | %d | %d | %d | %d | %d | %.0f s, %.0f s | %s |\n", f.name, sum.cells, f.text, strings.Join(points, ", "),
			sum.uploads, sum.lost, sum.unfinished, sum.wrong, sum.doubled, sum.secondMails, sum.percentile(0.5), sum.percentile(1), word)
	}
	fmt.Fprintf(&b, "\n%s.\n", whole.line())
	if len(builds) > 1 {
		fmt.Fprintf(&b, "The programs are those of `%s` (%d cells) where no other is named. Others are named by their commit, or by the hash of their programs.\n", newest, builds[newest])
	}
	if len(bad) > 0 {
		fmt.Fprintf(&b, "\nWhat is not right:\n\n%s\n", strings.Join(bad, "\n"))
	}
	return b.String()
}

// word says in a table whether everything was right.
func (t *totals) word() string {
	switch {
	case t.red > 0:
		return fmt.Sprintf("%d red", t.red)
	case t.broken+t.skipped > 0:
		return "not run"
	}
	return "ok"
}
