package kubelaunch

import (
	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/conversion"
)

// collector counts the Jobs when it is scraped.
type collector struct{ l *Launcher }

func gauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("tonearm_jobs_"+name, help, []string{"class"}, nil)
}

var (
	runningDesc       = gauge("running", "Jobs whose container runs.")
	pendingDesc       = gauge("pending", "Jobs whose container does not run yet, for whatever reason.")
	unschedulableDesc = gauge("unschedulable", "Pending Jobs that no node takes.")
	withoutPodDesc    = gauge("without_pod", "Pending Jobs without a pod: suspended, or held back by a quota of pods.")
	unstartableDesc   = gauge("unstartable", "Pending Jobs whose container cannot be made: image missing, or the like.")
)

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{runningDesc, pendingDesc, unschedulableDesc, withoutPodDesc, unstartableDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	counts := map[*prometheus.Desc]map[conversion.Class]float64{
		runningDesc: {}, pendingDesc: {}, unschedulableDesc: {}, withoutPodDesc: {}, unstartableDesc: {},
	}
	c.l.mu.Lock()
	for name, t := range c.l.attempts {
		if t.ended {
			continue
		}
		w := forStart
		job, pods := c.l.cache.get(name)
		if len(pods) > 0 {
			w, _ = waitingFor(pods[0])
		}
		if w == forNothing {
			counts[runningDesc][t.Class]++
			continue
		}
		counts[pendingDesc][t.Class]++
		if job != nil && len(pods) == 0 {
			counts[withoutPodDesc][t.Class]++
		}
		switch w {
		case forNode:
			counts[unschedulableDesc][t.Class]++
		case forRepair:
			counts[unstartableDesc][t.Class]++
		}
	}
	c.l.mu.Unlock()
	for desc, byClass := range counts {
		for class := range c.l.o.Classes {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, byClass[class], string(class))
		}
	}
}
