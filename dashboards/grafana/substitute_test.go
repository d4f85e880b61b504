package grafana

import (
	"testing"
	"time"
)

func TestSubstitute(t *testing.T) {
	v := View{
		Values: map[string][]string{"cluster": {".*"}, "job": {"a.b", "c"}, "namespace": {"tonearm"}},
		Range:  6 * time.Hour, Points: 1000, Interval: 15 * time.Second,
	}
	for expr, want := range map[string]string{
		`rate(x{cluster=~"$cluster"}[$__rate_interval])`: `rate(x{cluster=~".*"}[60s])`,
		`increase(x{job=~"$job"}[$__range])`:             `increase(x{job=~"(a\\.b|c)"}[21600s])`,
		`x{namespace=~"${namespace}"}`:                   `x{namespace=~"tonearm"}`,
		`deriv(x[$__interval])`:                          `deriv(x[22s])`,
	} {
		if got, err := v.Substitute(expr); err != nil || got != want {
			t.Errorf("%s becomes %s, %v; want %s", expr, got, err, want)
		}
	}
	if got, err := v.Substitute(`x{class=~"$class"}`); err == nil {
		t.Errorf("a variable that there is not becomes %s", got)
	}
	v.Range = 48 * time.Hour
	if got := v.RateInterval(); got != 188*time.Second {
		t.Errorf("rate interval over two days: %s", got)
	}
}
