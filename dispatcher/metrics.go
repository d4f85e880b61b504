package dispatcher

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

type metrics struct {
	events       *prometheus.CounterVec
	found        *prometheus.CounterVec
	launched     *prometheus.CounterVec
	carried      *prometheus.CounterVec
	ended        *prometheus.CounterVec
	faults       *prometheus.CounterVec
	fallbacks    *prometheus.CounterVec
	conversions  *prometheus.CounterVec
	stages       *prometheus.HistogramVec
	sourceBytes  *prometheus.CounterVec
	readBytes    *prometheus.CounterVec
	mp3Bytes     *prometheus.CounterVec
	audio        *prometheus.CounterVec
	relayed      prometheus.Counter
	removed      prometheus.Counter
	orphans      *prometheus.GaugeVec
	orphansOld   *prometheus.GaugeVec // orphans under their old name, until the next release
	unknownOwner prometheus.Gauge
	tooOld       prometheus.Gauge
	usage        *prometheus.GaugeVec
}

// Stages of a file's way. After them comes the mail, which the notifier
// observes.
const (
	stageDetect  = "detect"  // upload finished → queued
	stageQueue   = "queue"   // queued → claimed by a transcoder
	stageConvert = "convert" // claimed → done

	// stageNotice is the old name of stageDetect. It is observed too, until the
	// next release.
	stageNotice = "notice"
)

// endedLost counts the attempts whose end nobody has seen.
const endedLost = "lost"

// endedSilent counts the attempts that were given up because they did not report
// any more.
const endedSilent = "silent"

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tonearm_" + name, Help: help}, labels)
	}
	orphanGauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"prefix"})
	}
	m := &metrics{
		events: counter("events_total", "Store notifications and sweep finds, by what came of them.", "outcome"),
		found: counter("uploads_found_total", "Uploads that became known, by how: by a notification of the object store, a sweep (a look at it), "+
			"the client's complete call, or as a plain form.", "by"),
		launched:    counter("attempts_launched_total", "Attempts launched.", "class"),
		carried:     counter("attempts_carried_total", "Attempts that went on in the launch of an earlier one.", "class"),
		ended:       counter("attempts_ended_total", "Launches that ended, by reason.", "reason"),
		faults:      counter("attempts_faults_total", "Attempts whose machine was not well, which do not count, by its fault.", "class", "fault"),
		fallbacks:   counter("dispatcher_fallbacks_total", "Conversions of class gpu that went to class cpu, by reason.", "reason"),
		conversions: counter("conversions_finished_total", "Conversions that became done, failed or expired (the upload never came).", "class", "state", "code"),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tonearm_stage_duration_seconds",
			Help: "Time of a file in each stage: detect (upload finished to queued; to the second where a sweep found it), " +
				"queue (queued to claimed by a transcoder), convert (claimed to done). Stage notice is the old name of detect and goes with the next release.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600},
		}, []string{"stage", "class"}),
		sourceBytes: counter("source_bytes_total", "Bytes of the videos that were converted.", "class"),
		readBytes:   counter("source_read_bytes_total", "Bytes of them that transcoders read.", "class"),
		mp3Bytes:    counter("mp3_bytes_total", "Bytes of the MP3s.", "class"),
		audio:       counter("audio_seconds_total", "Seconds of sound in the MP3s.", "class"),
		relayed: prometheus.NewCounter(prometheus.CounterOpts{Name: "tonearm_outbox_relayed_total",
			Help: "Records whose messages were published by the relay, not by their writer."}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{Name: "tonearm_objects_removed_total",
			Help: "Objects removed: refused results and objects of deleted conversions."}),
		orphans:    orphanGauge("tonearm_orphan_objects", "Objects in the bucket that no record knows, at the last scan."),
		orphansOld: orphanGauge("tonearm_stranger_objects", "The old name of tonearm_orphan_objects; it goes with the next release."),
		unknownOwner: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tonearm_inbox_unknown_owner_objects",
			Help: "Inbox drops that wait for their owner's account, at the last listing."}),
		tooOld: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tonearm_inbox_too_old_objects",
			Help: "Inbox drops that stay where they are, because their address was proven too long after them, at the last listing."}),
	}
	m.usage = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tonearm_usage",
		Help: "What users take, of all and of the one who takes most: stored_bytes, and of today's conversions daily_conversions, daily_bytes, daily_sound_seconds. Only the dispatcher that leads shows it.",
	}, []string{"what", "of"})
	m.zero()
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.events, m.found, m.launched, m.carried, m.ended, m.faults, m.fallbacks, m.conversions, m.stages, m.sourceBytes,
		m.readBytes, m.mp3Bytes, m.audio, m.relayed, m.removed, m.orphans, m.orphansOld, m.unknownOwner, m.tooOld, m.usage}
}

// used shows what users take.
func (m *metrics) used(all account.UsedByAll) {
	for of, u := range map[string]account.Used{"all": all.Used, "largest": all.Largest} {
		m.usage.WithLabelValues("stored_bytes", of).Set(float64(u.Stored))
		m.usage.WithLabelValues("daily_conversions", of).Set(float64(u.Today.Conversions))
		m.usage.WithLabelValues("daily_bytes", of).Set(float64(u.Today.Bytes))
		m.usage.WithLabelValues("daily_sound_seconds", of).Set(u.Today.Sound)
	}
}

// zero creates every series at the start, so that the first count of each one
// is seen as a rise.
func (m *metrics) zero() {
	for _, outcome := range eventOutcomes {
		m.events.WithLabelValues(string(outcome))
	}
	for _, by := range []foundBy{byNotification, bySweep} {
		m.found.WithLabelValues(string(by))
	}
	m.ended.WithLabelValues(endedLost)
	m.ended.WithLabelValues(endedSilent)
	for _, reason := range launch.Reasons {
		m.ended.WithLabelValues(string(reason))
	}
	for _, reason := range []string{conversion.FallbackWaited, conversion.FallbackOff} {
		m.fallbacks.WithLabelValues(reason)
	}
	for _, class := range classes {
		class := string(class)
		for _, fault := range append(slices.Clone(conversion.Faults), conversion.FaultLauncher) {
			m.faults.WithLabelValues(class, string(fault))
		}
		m.conversions.WithLabelValues(class, string(conversion.Done), "")
		m.conversions.WithLabelValues(class, string(conversion.Expired), "")
		for _, code := range conversion.Codes {
			m.conversions.WithLabelValues(class, string(conversion.Failed), string(code))
		}
		for _, stage := range []string{stageDetect, stageNotice, stageQueue, stageConvert} {
			m.stages.WithLabelValues(stage, class)
		}
		for _, c := range []*prometheus.CounterVec{m.launched, m.carried, m.sourceBytes, m.readBytes, m.mp3Bytes, m.audio} {
			c.WithLabelValues(class)
		}
	}
}

// silentGauge shows what Notifications says.
func (d *Dispatcher) silentGauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tonearm_notifications_silent",
		Help: "1 while uploads are found, but no notification of the object store has come for two minutes."}, func() float64 {
		if d.signals.silent(d.o.Now()) {
			return 1
		}
		return 0
	})
}

func (m *metrics) event(o eventOutcome) { m.events.WithLabelValues(string(o)).Inc() }

// scanned notes how many orphan objects a scan of a prefix found.
func (m *metrics) scanned(prefix string, orphans int) {
	for _, gauge := range []*prometheus.GaugeVec{m.orphans, m.orphansOld} {
		gauge.WithLabelValues(prefix).Set(float64(orphans))
	}
}

// finished counts c if it has just become done, failed or expired.
func (m *metrics) finished(c conversion.Conversion) {
	code := ""
	switch {
	case c.State == conversion.Done, c.State == conversion.Expired:
	case c.State == conversion.Failed && c.Error != nil:
		code = string(c.Error.Code)
	default:
		return
	}
	m.conversions.WithLabelValues(string(c.Class), string(c.State), code).Inc()
}

// detected observes an upload that was queued. at is when the upload finished; if
// zero, the object's Modified time is used.
func (m *metrics) detected(c conversion.Conversion, at time.Time, o blob.Object) {
	if at.IsZero() {
		at = o.Modified
	}
	if c.State == conversion.Queued {
		for _, stage := range []string{stageDetect, stageNotice} {
			m.stage(stage, c.Class, c.QueuedAt.Sub(at))
		}
	}
}

func (m *metrics) claimed(c conversion.Conversion) {
	if c.Attempt == 1 { // later attempts were queued before the first one failed
		m.stage(stageQueue, c.Class, c.ClaimedAt.Sub(c.QueuedAt))
	}
}

func (m *metrics) done(c conversion.Conversion) {
	class := string(c.Class)
	m.stage(stageConvert, c.Class, c.FinishedAt.Sub(c.ClaimedAt))
	m.sourceBytes.WithLabelValues(class).Add(float64(c.Object.Size))
	m.readBytes.WithLabelValues(class).Add(float64(c.Progress.BytesRead))
	m.mp3Bytes.WithLabelValues(class).Add(float64(c.MP3.Size))
	m.audio.WithLabelValues(class).Add(c.MP3.Duration)
}

func (m *metrics) stage(name string, class conversion.Class, took time.Duration) {
	m.stages.WithLabelValues(name, string(class)).Observe(max(0, took.Seconds())) // clocks differ
}
