//go:build nokubernetes

package launcher

import (
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/dispatcher"
	"tonearm/internal/launch"
)

// openKubernetes refuses: the demo is built without Kubernetes' client, which
// takes as long to compile as a third of the rest.
func (fl *Flags) openKubernetes(dispatcher.Options, *slog.Logger, prometheus.Registerer) (launch.Launcher, Leading, error) {
	return nil, nil, errors.New("this program was built without Kubernetes. Build the whole one with: make build")
}
