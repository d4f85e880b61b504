package grafana

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// View is what a person has selected: values of variables and a time range.
type View struct {
	Values   map[string][]string // by variable; several become alternatives of a regular expression
	Range    time.Duration       // of the time axis
	Points   int                 // that fit on a panel
	Interval time.Duration       // between two scrapes, from the data source's settings
}

// Step returns the time between two points: at least the data source's
// interval.
func (v View) Step() time.Duration {
	return max(v.Range/time.Duration(max(v.Points, 1)), v.Interval).Round(time.Second)
}

// RateInterval is what Grafana puts in place of $__rate_interval.
func (v View) RateInterval() time.Duration {
	return max(v.Step()+v.Interval, 4*v.Interval)
}

// Substitute returns the query that Grafana sends to Prometheus.
func (v View) Substitute(expr string) (string, error) {
	pairs := []string{
		"$__rate_interval", seconds(v.RateInterval()),
		"$__range", seconds(v.Range),
		"$__interval", seconds(v.Step()),
	}
	for name, values := range v.Values {
		pairs = append(pairs, "$"+name, alternatives(values), "${"+name+"}", alternatives(values))
	}
	got := strings.NewReplacer(pairs...).Replace(expr)
	if strings.Contains(got, "$") {
		return "", fmt.Errorf("a variable is left in %s", got)
	}
	return got, nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(math.Ceil(d.Seconds()))) }

// alternatives returns a regular expression for any of values, as Grafana
// writes it between quotes. A value that already is one, as an allValue, must
// be the only value.
func alternatives(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	escaped := make([]string, len(values))
	for i, value := range values {
		escaped[i] = strings.ReplaceAll(regexp.QuoteMeta(value), `\`, `\\`)
	}
	return "(" + strings.Join(escaped, "|") + ")"
}
