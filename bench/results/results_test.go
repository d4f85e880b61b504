package results

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestMerge(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "results.json")
	if err := Merge(path, map[string]Figure{"a.first": Plain(1.23456, "s")}); err != nil {
		t.Fatalf("without a file: %v", err)
	}
	const foreign = `{"scale.rss_mb": {"ours": 41, "unit": "MB", "nodes": [1, 2]}, "a.first": {"ours": 9, "peer": 9, "unit": "s"}}`
	if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	compared := Against(2, 5, "s")
	compared.Spread = map[string]Range{"ours": NewRange(1.99999, 2.1)}
	if err := Merge(path, map[string]Figure{"a.first": Plain(7, "ms"), "b.second": compared}); err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(`{
		"scale.rss_mb": {"ours": 41, "unit": "MB", "nodes": [1, 2]},
		"a.first": {"ours": 7, "unit": "ms"},
		"b.second": {"ours": 2, "peer": 5, "ratio": 2.5, "unit": "s", "spread": {"ours": [2, 2.1]}}
	}`), &want)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if n := strings.Count(string(content), "\n"); n != 5 {
		t.Errorf("%d lines for three figures:\n%s", n, content)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files in the folder, want one", len(left))
	}
	read, err := Read(path)
	if err != nil || !reflect.DeepEqual(read["b.second"], compared) || read["scale.rss_mb"].Ours != 41 {
		t.Errorf("read %v, %v", read, err)
	}
}

func TestMergeKeepsWhatItCannotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(path, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Merge(path, map[string]Figure{"a": Plain(1, "s")}); err == nil {
		t.Error("a damaged file was taken")
	}
	if content, _ := os.ReadFile(path); string(content) != "{half" {
		t.Errorf("the file holds %q now", content)
	}
}

func TestRounded(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, 1.23456: 1.235, 0.000123456: 0.0001235, 98765: 98770, -2.00049: -2} {
		if got := rounded(x); got != want {
			t.Errorf("rounded(%v) = %v, want %v", x, got, want)
		}
	}
}
