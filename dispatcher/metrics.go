package dispatcher

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

type metrics struct {
	events       *prometheus.CounterVec
	launched     *prometheus.CounterVec
	ended        *prometheus.CounterVec
	fallbacks    *prometheus.CounterVec
	conversions  *prometheus.CounterVec
	relayed      prometheus.Counter
	removed      prometheus.Counter
	strangers    *prometheus.GaugeVec
	unknownOwner prometheus.Gauge
}

func newMetrics(o Options) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tonearm_" + name, Help: help}, labels)
	}
	m := &metrics{
		events:      counter("events_total", "Store notifications and sweep finds, by what came of them.", "outcome"),
		launched:    counter("attempts_launched_total", "Attempts launched.", "class"),
		ended:       counter("attempts_ended_total", "Launches that ended, by reason.", "reason"),
		fallbacks:   counter("dispatcher_fallbacks_total", "Conversions of class gpu that went to class cpu, by reason.", "reason"),
		conversions: counter("conversions_finished_total", "Conversions that became done or failed.", "class", "state", "code"),
		relayed: prometheus.NewCounter(prometheus.CounterOpts{Name: "tonearm_outbox_relayed_total",
			Help: "Records whose messages were published by the relay, not by their writer."}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{Name: "tonearm_objects_removed_total",
			Help: "Objects removed: refused results and objects of deleted conversions."}),
		strangers: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tonearm_stranger_objects",
			Help: "Objects in the bucket that no record knows, at the last count."}, []string{"prefix"}),
		unknownOwner: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tonearm_inbox_unknown_owner_objects",
			Help: "Inbox drops that wait for their owner's account, at the last listing."}),
	}
	for _, reason := range []string{conversion.FallbackWaited, conversion.FallbackOff} {
		m.fallbacks.WithLabelValues(reason) // so that the first one is seen as a rise
	}
	o.Registerer.MustRegister(m.events, m.launched, m.ended, m.fallbacks, m.conversions, m.relayed, m.removed,
		m.strangers, m.unknownOwner, depthCollector{o.Queue})
	return m
}

// finished counts c if it has just become done or failed.
func (m *metrics) finished(c conversion.Conversion) {
	code := ""
	switch {
	case c.State == conversion.Done:
	case c.State == conversion.Failed && c.Error != nil:
		code = string(c.Error.Code)
	default:
		return
	}
	m.conversions.WithLabelValues(string(c.Class), string(c.State), code).Inc()
}

// depthCollector reads the queue's depth when it is scraped.
type depthCollector struct{ queue queue.Queue }

var depthDesc = prometheus.NewDesc("tonearm_queue_messages", "Messages in the queue, by class and by what they wait for.",
	[]string{"class", "waiting_for"}, nil)

func (c depthCollector) Describe(ch chan<- *prometheus.Desc) { ch <- depthDesc }

func (c depthCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, class := range queue.Classes {
		depth, err := c.queue.Depth(ctx, class)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(depthDesc, err)
			return
		}
		for what, n := range map[string]int64{"taker": depth.Waiting, "time": depth.Delayed, "acknowledgement": depth.Leased} {
			ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(n), string(class), what)
		}
	}
}
