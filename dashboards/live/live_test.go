package live

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"tonearm/dashboards/grafana"
)

var drawTo = flag.String("draw", "", "folder for pictures of the panels; '' for none")

// mayBeEmpty are the panels that may be empty on one machine, with the reason.
var mayBeEmpty = map[string]string{
	"Jobs": "attempts are processes here, Jobs on Kubernetes",
}

func TestDashboards(t *testing.T) {
	s := startTonearm(t)
	p := startPrometheus(t, s.admin)
	mails := s.batch()
	s.mailed(mails)
	p.scraped(3)
	end := time.Now()

	files, err := filepath.Glob("../*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	k := collectMetrics(t, s)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { check(t, file, p, k, end) })
	}
	t.Run("documents", func(t *testing.T) { k.checkDocuments(t) })
}

// mailed waits until that many mails have been counted.
func (s *tonearm) mailed(n int) {
	s.t.Helper()
	want := fmt.Sprintf(`tonearm_notices_total{outcome="sent",service="notifier"} %d`, n)
	eventually(s.t, time.Minute, want, func() bool {
		_, text := s.exposed()
		return strings.Contains(text, want+"\n")
	})
}

// metrics are the names of Tonearm's metrics, by the place where they occur.
type metrics struct {
	exposed    map[string]bool // on this machine
	kubernetes map[string]bool // only on Kubernetes
	apart      map[string]bool // only of services that run apart
	documented map[string]bool // in the runbook
}

// collectMetrics reads the names from these places.
func collectMetrics(t *testing.T, s *tonearm) metrics {
	t.Helper()
	m := metrics{kubernetes: map[string]bool{}, apart: map[string]bool{}, documented: map[string]bool{}}
	m.exposed, _ = s.exposed()
	source, err := os.ReadFile("../../internal/launch/kubelaunch/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	clock, err := os.ReadFile("../../internal/service/clock.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`Name: "(\w+)"`).FindAllStringSubmatch(string(clock), -1) {
		m.apart[name[1]] = true
	}
	for _, name := range regexp.MustCompile(`= gauge\("(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		m.kubernetes["tonearm_jobs_"+name[1]] = true
	}
	runbook, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\btonearm_[a-z0-9_]+\b`).FindAllString(string(runbook), -1) {
		m.documented[name] = true
	}
	if len(m.exposed) == 0 || len(m.kubernetes) == 0 || len(m.apart) == 0 {
		t.Fatalf("metrics: %v here, %v on Kubernetes, %v of services apart", m.exposed, m.kubernetes, m.apart)
	}
	return m
}

// checkDocuments: the runbook names every metric, and none that does not exist.
func (m metrics) checkDocuments(t *testing.T) {
	all := maps.Clone(m.exposed)
	maps.Copy(all, m.kubernetes)
	maps.Copy(all, m.apart)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !m.documented[name] {
			t.Errorf("docs/operations.md does not name %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.documented)) {
		if !all[name] {
			t.Errorf("docs/operations.md names %s, which there is not", name)
		}
	}
	fmt.Printf("documents: %d metrics, %d of them on Kubernetes alone, %d of services apart alone\n", len(all), len(m.kubernetes), len(m.apart))
}

// check evaluates every query of a dashboard: once with all values selected,
// and once with one value of each variable.
func check(t *testing.T, file string, p *prometheus, m metrics, end time.Time) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d grafana.Dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	all, one := views(t, d, p, end)
	panels, queries, selectors, drawn := 0, 0, 0, []picture{}
	for _, panel := range d.Panels {
		if panel.Type == "row" {
			drawn = append(drawn, picture{panel: panel})
			continue
		}
		panels++
		pic := picture{panel: panel}
		for _, q := range panel.Targets {
			queries++
			selectors += p.checkSelectors(t, panel.Title, q.Expr, all, m, end)
			for i, v := range []grafana.View{all, one} {
				got, err := p.evaluate(q, v, end)
				if err != nil {
					t.Errorf("%s: query %s: %v", panel.Title, q.RefID, err)
				} else if shown(got) == 0 && mayBeEmpty[panel.Title] == "" {
					t.Errorf("%s: query %s shows nothing: %s", panel.Title, q.RefID, q.Expr)
				}
				if i == 0 {
					pic.lines = append(pic.lines, named(q, got)...)
				}
			}
		}
		drawn = append(drawn, pic)
	}
	fmt.Printf("%s: %d panels, %d queries, %d selectors, evaluated over %s\n", filepath.Base(file), panels, queries, selectors, all.Range.Round(time.Second))
	for title, why := range mayBeEmpty {
		fmt.Printf("%s: %s may be empty: %s\n", filepath.Base(file), title, why)
	}
	if *drawTo != "" {
		draw(t, *drawTo, strings.TrimSuffix(filepath.Base(file), ".json"), drawn)
	}
}

// views asks for the values of the variables, as Grafana does when it loads the
// dashboard. It returns the view with All of each variable, and the view with
// the first value of each.
func views(t *testing.T, d grafana.Dashboard, p *prometheus, end time.Time) (all, one grafana.View) {
	t.Helper()
	all = grafana.View{Values: map[string][]string{}, Range: end.Sub(p.began), Points: 100, Interval: scrapeEvery}
	one = all
	one.Values = map[string][]string{}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		query, err := all.Substitute(v.Definition)
		if err != nil {
			t.Fatal(err)
		}
		values, err := p.values(query)
		if err != nil || len(values) == 0 {
			t.Fatalf("variable %s: %v, %v", v.Name, values, err)
		}
		all.Values[v.Name], one.Values[v.Name] = values, values[:1]
		if v.AllValue != "" {
			all.Values[v.Name] = []string{v.AllValue}
		}
	}
	return all, one
}

// checkSelectors checks each metric of a query by itself: the metric exists,
// and has series with the labels in the query. The whole query alone does not
// show that, since it may fall back to zero.
func (s *prometheus) checkSelectors(t *testing.T, title, expr string, v grafana.View, m metrics, end time.Time) (n int) {
	t.Helper()
	query, err := v.Substitute(expr)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %s: %v", title, query, err)
		return 0
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		n++
		if m.kubernetes[selector.Name] {
			return nil
		}
		got, err := s.query(fmt.Sprintf("count(last_over_time(%s[1h]))", selector), end)
		if err != nil || len(got) == 0 {
			t.Errorf("%s: there is no %s (%v)", title, selector, err)
		}
		return nil
	})
	return n
}
