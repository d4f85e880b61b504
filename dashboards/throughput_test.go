package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"tonearm/dashboards/grafana"
)

// load reads the dashboard from its file.
func load(t *testing.T) grafana.Dashboard {
	t.Helper()
	b, err := os.ReadFile("throughput.json")
	if err != nil {
		t.Fatal(err)
	}
	var d grafana.Dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFileIsCurrent(t *testing.T) {
	want, err := encode(throughput())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("throughput.json")
	if err != nil || string(got) != string(want) {
		t.Errorf("throughput.json is not what the program writes (%v): cd dashboards && go run .", err)
	}
	if regexp.MustCompile(`\$\{DS_|__inputs|__requires`).Match(got) {
		t.Error("it asks for inputs, which provisioning does not give")
	}
}

func TestHead(t *testing.T) {
	d := load(t)
	if !regexp.MustCompile(`^tonearm-[a-z-]{1,30}$`).MatchString(d.UID) || d.Title == "" || d.Description == "" || !slices.Contains(d.Tags, "tonearm") {
		t.Errorf("uid %q, title %q, description %q, tags %v", d.UID, d.Title, d.Description, d.Tags)
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		if v.Type == "query" && (v.Datasource == nil || v.Datasource.UID != "${datasource}" || !v.IncludeAll) {
			t.Errorf("variable %s does not use the chosen data source, or has no All", v.Name)
		}
	}
	if want := []string{"datasource", "cluster", "namespace", "job", "runbook"}; !slices.Equal(names, want) {
		t.Errorf("variables %v, want %v", names, want)
	}
	var rows []string
	for _, p := range d.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		}
	}
	if want := []string{"Rate", "Errors", "Duration", "Queue", "Resources"}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
}

func TestPanels(t *testing.T) {
	runbook, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	titles, ids := map[string]bool{}, map[int]bool{}
	for _, p := range load(t).Panels {
		if ids[p.ID] || titles[p.Title] {
			t.Errorf("%s: another panel has its title or its id %d", p.Title, p.ID)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: want a description, a unit, queries and the chosen data source", p.Title)
		}
		for _, q := range p.Targets {
			if q.Datasource.UID != "${datasource}" || p.Type != "stat" && q.LegendFormat == "" {
				t.Errorf("%s: query %s: want the chosen data source and a legend", p.Title, q.RefID)
			}
			checkExpr(t, p.Title, q.Expr)
		}
		for _, l := range p.Links {
			checkAnchor(t, p.Title, l.URL, string(runbook))
		}
	}
}

// checkExpr: the query is PromQL, every metric is restricted by all variables,
// and windows follow the time range that is shown.
func checkExpr(t *testing.T, title, expr string) {
	t.Helper()
	view := grafana.View{
		Values: map[string][]string{"cluster": {".*"}, "namespace": {".*"}, "job": {"a", "b"}},
		Range:  time.Hour, Points: 100, Interval: 15 * time.Second,
	}
	query, err := view.Substitute(expr)
	if err != nil {
		t.Errorf("%s: %v", title, err)
		return
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %s: %v", title, query, err)
		return
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			var names []string
			for _, m := range s.LabelMatchers {
				names = append(names, m.Name)
			}
			for _, want := range []string{"cluster", "namespace", "job"} {
				if !slices.Contains(names, want) {
					t.Errorf("%s: %s is not narrowed by %s", title, s.Name, want)
				}
			}
		}
		return nil
	})
	for _, window := range regexp.MustCompile(`\[([^\]]*)\]\)`).FindAllStringSubmatch(expr, -1) {
		if window[1] != "$__rate_interval" && window[1] != "$__range" {
			t.Errorf("%s: a window of %s", title, window[1])
		}
	}
}

// checkAnchor: the link leads to a heading of the runbook.
func checkAnchor(t *testing.T, title, url, runbook string) {
	t.Helper()
	anchor, ok := strings.CutPrefix(url, "${runbook}#")
	heading := "\n## " + strings.ReplaceAll(anchor, "-", " ") + "\n"
	if !ok || !strings.Contains(strings.ToLower(runbook), heading) {
		t.Errorf("%s: its link leads to %s, which docs/operations.md has not", title, url)
	}
}

// TestGrid: no panel overlaps another one or goes beyond the edge.
func TestGrid(t *testing.T) {
	taken := map[[2]int]string{}
	for _, p := range load(t).Panels {
		g := p.GridPos
		if g.X+g.W > gridWidth {
			t.Errorf("%s: beyond the edge", p.Title)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
