package main

import (
	"strings"

	"tonearm/dashboards/grafana"
)

// selector restricts every metric; in queries {*} stands for it.
const selector = `cluster=~"$cluster",namespace=~"$namespace",job=~"$job"`

// source is the data source that is chosen at the top.
var source = &grafana.Datasource{Type: "prometheus", UID: "${datasource}"}

// Units of Grafana, and one that Grafana has no name for.
const (
	count       = "short"
	seconds     = "s"
	size        = "bytes"
	bytesPerS   = "Bps"
	share       = "percentunit"
	requests    = "reqps"
	filesPerH   = "suffix: files/h"
	perHour     = "suffix: /h"
	times       = "suffix: ×"
	cores       = "suffix: cores"
	hoursPerH   = "suffix: h/h"
	lookAt      = "look-at-it"
	whenWrong   = "when-something-is-wrong"
	kubernetes  = "on-kubernetes"
	gridWidth   = 24
	rowHeight   = 1
	graphHeight = 8
	statHeight  = 4
)

// row is a titled group of panels.
type row struct {
	title  string
	panels []panel
}

// panel is a picture, with the settings that differ between panels.
type panel struct {
	title, about string
	unit         string
	anchor       string // in docs/operations.md
	width        int    // of 24
	stat         bool   // one number in place of a graph
	bars         bool   // stacked, for counts of rare events
	many         bool   // has many series, so their list stands at the right
	dashed       string // refId of a query that shows a limit
	queries      []query
}

type query struct{ legend, expr string }

// quantiles returns the queries for p50, p95 and p99 of a histogram. of is its
// name without _bucket; which restricts it.
func quantiles(of, which string) []query {
	var all []query
	for _, q := range []struct{ legend, value string }{{"p50", "0.5"}, {"p95", "0.95"}, {"p99", "0.99"}} {
		all = append(all, query{q.legend, "histogram_quantile(" + q.value + ", sum by (le) (rate(" + of + "_bucket{*" + which + "}[$__rate_interval])))"})
	}
	return all
}

// arrange puts rows below each other, and the panels of each row from left to
// right.
func arrange(rows []row) []grafana.Panel {
	var all []grafana.Panel
	y := 0
	for _, r := range rows {
		open := false
		all = append(all, grafana.Panel{
			ID: len(all) + 1, Type: "row", Title: r.title, Collapsed: &open,
			GridPos: grafana.GridPos{H: rowHeight, W: gridWidth, Y: y},
		})
		y += rowHeight
		x, height := 0, 0
		for _, p := range r.panels {
			if x+p.width > gridWidth {
				x, y, height = 0, y+height, 0
			}
			drawn := p.draw(len(all) + 1)
			drawn.GridPos.X, drawn.GridPos.Y = x, y
			all = append(all, drawn)
			x, height = x+p.width, max(height, drawn.GridPos.H)
		}
		y += height
	}
	return all
}

func (p panel) draw(id int) grafana.Panel {
	g := grafana.Panel{
		ID: id, Type: "timeseries", Title: p.title, Description: p.about, Datasource: source,
		GridPos: grafana.GridPos{H: graphHeight, W: p.width},
		Links:   []grafana.Link{{Type: "link", Title: "What it means", URL: "${runbook}#" + p.anchor, TargetBlank: true}},
		FieldConfig: &grafana.FieldConfig{
			Defaults: grafana.Defaults{
				Unit: p.unit, Min: new(float64), Color: map[string]any{"mode": "palette-classic"},
				Thresholds: map[string]any{"mode": "absolute", "steps": []any{map[string]any{"color": "green", "value": nil}}},
				Custom:     p.style(),
			},
			Overrides: []grafana.Override{},
		},
		Options: p.legend(),
	}
	if p.stat {
		g.Type, g.GridPos.H, g.FieldConfig.Defaults.Custom = "stat", statHeight, nil
		g.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
		g.Options = map[string]any{
			"colorMode": "none", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	}
	for i, q := range p.queries {
		g.Targets = append(g.Targets, grafana.Target{
			RefID: string(rune('A' + i)), Datasource: source, EditorMode: "code",
			Expr: narrowed(q.expr), LegendFormat: q.legend, Instant: p.stat, Range: !p.stat,
		})
	}
	if p.dashed != "" {
		g.FieldConfig.Overrides = append(g.FieldConfig.Overrides, grafana.Override{
			Matcher: grafana.Matcher{ID: "byFrameRefID", Options: p.dashed},
			Properties: []grafana.Property{
				{ID: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{10, 10}}},
				{ID: "custom.fillOpacity", Value: 0},
			},
		})
	}
	return g
}

// narrowed puts the selector into a query.
func narrowed(expr string) string {
	return strings.ReplaceAll(expr, "{*", "{"+selector)
}

func (p panel) style() map[string]any {
	style := map[string]any{
		"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 10,
		"showPoints": "auto", "spanNulls": false, "stacking": map[string]any{"mode": "none", "group": "A"},
	}
	if p.bars {
		style["drawStyle"], style["fillOpacity"] = "bars", 80
		style["stacking"] = map[string]any{"mode": "normal", "group": "A"}
	}
	return style
}

func (p panel) legend() map[string]any {
	legend := map[string]any{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}}
	if p.many {
		legend["displayMode"], legend["placement"], legend["calcs"] = "table", "right", []string{"lastNotNull", "max"}
	}
	return map[string]any{"legend": legend, "tooltip": map[string]any{"mode": "multi", "sort": "desc", "hideZeros": true}}
}
