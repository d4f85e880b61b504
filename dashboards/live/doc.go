// Package live holds the test that runs Tonearm, converts a mixed batch, scrapes
// it with a real Prometheus, and evaluates each query of the dashboards there as
// Grafana would.
package live
