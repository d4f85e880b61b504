package notifier

import "github.com/prometheus/client_golang/prometheus"

// Outcomes of messages, as metrics count them.
const (
	outcomeSent     = "sent"
	outcomeDelayed  = "delayed"  // refused for now, to be tried again
	outcomeUnknown  = "unknown"  // the connection broke before the answer; to be tried again, maybe a second time
	outcomeRefused  = "refused"  // given up
	outcomeObsolete = "obsolete" // nothing was owed any more
	outcomePoison   = "poison"   // delivered too often
)

type metrics struct {
	outcomes *prometheus.CounterVec
	delay    prometheus.Histogram
}

func newMetrics() metrics {
	m := metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tonearm_notices_total", Help: "Messages about notices, by what came of them.",
		}, []string{"outcome"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tonearm_notice_delay_seconds",
			Help:    "Time from a conversion's end to its mail being taken by the mail server.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 3600, 6 * 3600, 24 * 3600},
		}),
	}
	for _, o := range []string{outcomeSent, outcomeDelayed, outcomeUnknown, outcomeRefused, outcomeObsolete, outcomePoison} {
		m.outcomes.WithLabelValues(o) // so that it is shown from the start
	}
	return m
}

func (m metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.outcomes, m.delay}
}
