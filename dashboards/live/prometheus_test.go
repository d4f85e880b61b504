package live

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tonearm/dashboards/grafana"
)

// scrapeEvery is the time between two scrapes, in place of the usual 15 s.
const scrapeEvery = time.Second

// prometheus is a running server that scrapes a Tonearm.
type prometheus struct {
	t     *testing.T
	url   string
	began time.Time
}

// startPrometheus runs Prometheus with a data folder of its own and waits until
// it has scraped target.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	config := filepath.Join(dir, "prometheus.yml")
	err := os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: %s}
scrape_configs:
- job_name: tonearm
  static_configs:
  - targets: [%q]
    labels: {cluster: test, namespace: tonearm}
`, scrapeEvery, target), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	s := &prometheus{t: t, url: "http://" + addr, began: time.Now()}
	eventually(t, time.Minute, "Prometheus is ready", func() bool {
		p.running(t)
		resp, err := http.Get(s.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	s.scraped(3)
	return s
}

// scraped waits for n more scrapes that succeed.
func (s *prometheus) scraped(n float64) {
	s.t.Helper()
	count := func() float64 {
		all, err := s.query("sum(sum_over_time(up[1h]))", time.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		if len(all) == 0 {
			return 0
		}
		return all[0].points[0].value
	}
	before := count()
	eventually(s.t, time.Minute, "further scrapes", func() bool { return count() >= before+n })
}

// series is a line of a panel.
type series struct {
	labels map[string]string
	points []point
}

type point struct {
	at    time.Time
	value float64
}

// shown is how many points a panel would show.
func shown(all []series) (n int) {
	for _, s := range all {
		for _, p := range s.points {
			if !math.IsNaN(p.value) && !math.IsInf(p.value, 0) {
				n++
			}
		}
	}
	return n
}

// evaluate asks for the series of a query, in a view that ends at the time end.
func (s *prometheus) evaluate(q grafana.Target, v grafana.View, end time.Time) ([]series, error) {
	expr, err := v.Substitute(q.Expr)
	if err != nil {
		return nil, err
	}
	if q.Instant {
		return s.query(expr, end)
	}
	return s.get("query_range", url.Values{
		"query": {expr}, "start": {unix(end.Add(-v.Range))}, "end": {unix(end)}, "step": {strconv.FormatFloat(v.Step().Seconds(), 'f', -1, 64)},
	})
}

func (s *prometheus) query(expr string, at time.Time) ([]series, error) {
	return s.get("query", url.Values{"query": {expr}, "time": {unix(at)}})
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// values returns the values of a label, for label_values(METRIC, LABEL).
func (s *prometheus) values(query string) ([]string, error) {
	inner, ok := strings.CutPrefix(query, "label_values(")
	i := strings.LastIndex(inner, ", ")
	if !ok || i < 0 || !strings.HasSuffix(inner, ")") {
		return nil, fmt.Errorf("%s is no label_values(METRIC, LABEL)", query)
	}
	var values []string
	err := s.fetch("label/"+inner[i+2:len(inner)-1]+"/values", url.Values{"match[]": {inner[:i]}}, &values)
	return values, err
}

// get returns the result of a query. Scalars and vectors become series of one
// point.
func (s *prometheus) get(path string, form url.Values) ([]series, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  []any
			Values [][]any
		}
	}
	if err := s.fetch(path, form, &data); err != nil {
		return nil, err
	}
	var all []series
	for _, r := range data.Result {
		one := series{labels: r.Metric}
		if r.Value != nil {
			r.Values = [][]any{r.Value}
		}
		for _, v := range r.Values {
			value, err := strconv.ParseFloat(v[1].(string), 64)
			if err != nil {
				return nil, err
			}
			one.points = append(one.points, point{time.UnixMilli(int64(v[0].(float64) * 1000)), value})
		}
		all = append(all, one)
	}
	return all, nil
}

// fetch calls the API. Its errors are those that Grafana would show on the
// panel.
func (s *prometheus) fetch(path string, form url.Values, data any) error {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/api/v1/"+path+"?"+form.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Status, Error string
		Warnings      []string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w in %s", resp.Status, err, body)
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s: %s %v", resp.Status, answer.Error, answer.Warnings)
	}
	return json.Unmarshal(answer.Data, data)
}
