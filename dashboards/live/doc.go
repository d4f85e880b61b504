// Package live holds a test that runs Tonearm and converts a mixed batch. It
// scrapes Tonearm with a real Prometheus, and evaluates each query of the
// dashboards there as Grafana would.
package live
