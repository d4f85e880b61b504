package dispatcher

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// collector reads queue and launcher when it is scraped.
type collector struct{ d *Dispatcher }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tonearm_"+name, help, append([]string{"class"}, labels...), nil)
}

var (
	depthDesc   = desc("queue_messages", "Messages in the queue, by class and by what they wait for.", "waiting_for")
	workDesc    = desc("queue_work_seconds", "Predicted time of the attempts that wait for a taker, one after the other.")
	ageDesc     = desc("queue_oldest_seconds", "Age of the message that waits longest for a taker.")
	runningDesc = desc("attempts_running", "Attempts that have been launched and have not ended.")
	waitingDesc = desc("attempts_waiting", "Attempts that have been launched and wait for what they are to run on.", "reason")
	stoppedDesc = desc("attempts_stopped", "1 while no work of the class is taken because its machines are not well.")
	allowedDesc = desc("attempts_allowed", "Attempts that may run at present.")
	limitDesc   = desc("attempts_limit", "Attempts that may run at most.")
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{depthDesc, workDesc, ageDesc, runningDesc, waitingDesc, stoppedDesc, allowedDesc, limitDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, class := range queue.Classes {
		if err := c.queue(ctx, ch, class); err != nil {
			ch <- prometheus.NewInvalidMetric(depthDesc, err)
			break
		}
	}
	for class := range c.d.o.MaxJobs {
		if err := c.attempts(ctx, ch, class); err != nil {
			ch <- prometheus.NewInvalidMetric(runningDesc, err)
			break
		}
	}
}

func (c collector) queue(ctx context.Context, ch chan<- prometheus.Metric, class queue.Class) error {
	depth, err := c.d.o.Queue.Depth(ctx, class)
	if err != nil {
		return err
	}
	for what, n := range map[string]int64{"taker": depth.Waiting, "time": depth.Delayed, "acknowledgement": depth.Leased} {
		ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(n), string(class), what)
	}
	gauge(ch, ageDesc, string(class), depthAge(depth, c.d.o.Now()).Seconds())
	if p := c.d.pace[conversion.Class(class)]; p != nil {
		gauge(ch, workDesc, string(class), p.of(int(depth.Waiting), depth.WaitingSize).Seconds())
	}
	return nil
}

func (c collector) attempts(ctx context.Context, ch chan<- prometheus.Metric, class conversion.Class) error {
	running, err := c.d.running(ctx, class)
	if err != nil {
		return err
	}
	allowed, err := c.d.allowed(ctx, class, running)
	if err != nil {
		return err
	}
	gauge(ch, runningDesc, string(class), float64(len(running)))
	waiting := map[conversion.WaitReason]float64{}
	for _, reason := range conversion.Waits {
		waiting[reason] = 0
	}
	for _, a := range running {
		if a.Waiting != "" {
			waiting[a.Waiting]++
		}
	}
	for reason, n := range waiting {
		ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, n, string(class), string(reason))
	}
	stopped := 0.0
	if d := c.d; d.breakers[class] != nil && d.breakers[class].stopped() != "" {
		stopped = 1
	}
	gauge(ch, stoppedDesc, string(class), stopped)
	gauge(ch, allowedDesc, string(class), float64(allowed))
	gauge(ch, limitDesc, string(class), float64(c.d.o.MaxJobs[class]))
	return nil
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, class string, v float64) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, class)
}
