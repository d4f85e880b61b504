// Command dashboards writes Tonearm's Grafana dashboards beside itself:
//
//	cd dashboards && go run .
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"tonearm/dashboards/grafana"
)

func main() {
	for _, d := range []grafana.Dashboard{throughput()} {
		name := file(d)
		b, err := encode(d)
		if err == nil {
			err = os.WriteFile(name, b, 0o644) //nolint:gosec // everybody may read it
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "dashboards: write %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

// encode returns a dashboard as it is written to its file.
func encode(d grafana.Dashboard) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(d)
	return b.Bytes(), err
}
