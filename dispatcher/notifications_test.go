package dispatcher_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/blob"
	"tonearm/internal/blob/sqsnotify"
	"tonearm/internal/blob/sqsnotify/sqstest"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

const firstPause = 5 * time.Second // before a failed message comes again

// newQueueWorld returns a world whose store has no webhook and puts its
// notifications into a queue. After listen they are taken from there.
func newQueueWorld(t *testing.T) (*world, *sqstest.Queue) {
	t.Helper()
	q := sqstest.Start(t)
	n, err := sqsnotify.New(t.Context(), sqsnotify.Options{
		QueueURL: q.URL, Region: sqstest.Region, AccessKey: sqstest.AccessKey, SecretKey: sqstest.SecretKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, func(o *dispatcher.Options) { o.EventToken, o.EventSource = "", n }), q
}

// listen takes notifications until the test ends.
func (w *world) listen() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	ended := make(chan error, 1)
	d := w.serving.Load()
	go func() { ended <- d.ConsumeEvents(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("ConsumeEvents: %v", err)
		}
	})
}

func (w *world) notification(bucket, key string) string {
	w.Helper()
	body, err := blob.FormatNotification(blob.Event{Name: "ObjectCreated:Put", Bucket: bucket, Key: key})
	w.must(err)
	return string(body)
}

// emptied waits until every message was deleted.
func (w *world) emptied(q *sqstest.Queue) {
	w.Helper()
	w.until("all messages are deleted", func() bool { return len(q.Messages()) == 0 })
}

func TestNotificationFromQueue(t *testing.T) {
	t.Parallel()
	w, q := newQueueWorld(t)
	w.listen()
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	q.Send(w.notification(w.bucket, c.Object.Key))
	w.emptied(q)
	if got := w.read(c.ID); got.State != conversion.Queued || w.depth(queue.CPU) != 1 {
		t.Errorf("deleted while the conversion is %s, with %d messages", got.State, w.depth(queue.CPU))
	}
	w.run()
	w.wantMP3(w.become(c.ID, conversion.Done))
}

func TestNotificationDuplicates(t *testing.T) {
	t.Parallel()
	w, q := newQueueWorld(t)
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	for range 25 {
		q.Send(w.notification(w.bucket, c.Object.Key))
	}
	w.listen()
	w.emptied(q)
	if got := w.depth(queue.CPU); got != 1 {
		t.Errorf("%d messages", got)
	}
	for outcome, want := range map[string]float64{"recorded": 1, "repeated": 24} {
		if got := w.metric("tonearm_events_total", "outcome="+outcome); got != want {
			t.Errorf("%s %v times, want %v", outcome, got, want)
		}
	}
}

// A notification that could not be recorded, or perhaps not, stays and comes
// again.
func TestNotificationWhileStoresAreDown(t *testing.T) {
	t.Parallel()
	w, q := newQueueWorld(t)
	w.listen()
	for name, down := range map[string]*fault{
		"records": &w.records.before, "records, outcome unknown": &w.records.after, "objects": &w.objects.fault,
	} {
		c := w.create("owner", int64(len(source)))
		w.put(c.Object.Key, source)
		down.always()
		q.Send(w.notification(w.bucket, c.Object.Key))
		w.until(name+" down: it is put off", func() bool {
			left := q.Messages()
			return len(left) == 1 && left[0].Received == 1 && left[0].Hidden == firstPause
		})
		down.never()
		q.Advance(firstPause)
		w.emptied(q)
		if got := w.read(c.ID); got.State != conversion.Queued {
			t.Errorf("%s: the conversion is %s", name, got.State)
		}
	}
	if got := w.metric("tonearm_events_total", "outcome=failed"); got != 3 {
		t.Errorf("failed %v times", got)
	}
}

// A notification that nobody can read waits for the queue's redrive policy, and
// holds up no other. One that means nothing is deleted.
func TestNotificationUnreadable(t *testing.T) {
	t.Parallel()
	w, q := newQueueWorld(t)
	q.Redrive(2)
	bad := q.Send("hello")
	q.Send(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`)
	q.Send(w.notification("other", "uploads/x"))
	q.Send(w.notification(w.bucket, "mp3s/x"))
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	q.Send(w.notification(w.bucket, c.Object.Key))
	w.listen()
	w.become(c.ID, conversion.Queued)
	for came, pause := range []time.Duration{firstPause, 2 * firstPause} {
		w.until("only the unreadable one is left", func() bool {
			left := q.Messages()
			return len(left) == 1 && left[0].ID == bad && left[0].Received == came+1 && left[0].Hidden == pause
		})
		q.Advance(pause)
	}
	w.emptied(q)
	if got := q.Dead(); len(got) != 1 || got[0] != bad {
		t.Errorf("dead: %v", got)
	}
	for outcome, want := range map[string]float64{"recorded": 1, "foreign_bucket": 1, "foreign_key": 1, "malformed": 2} {
		if got := w.metric("tonearm_events_total", "outcome="+outcome); got != want {
			t.Errorf("%s %v times, want %v", outcome, got, want)
		}
	}
}

func TestNotificationQueueDown(t *testing.T) {
	t.Parallel()
	w, q := newQueueWorld(t)
	q.Refuse("AccessDenied")
	w.listen()
	w.until("it was refused", func() bool { return q.Refused() > 0 })
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	q.Send(w.notification(w.bucket, c.Object.Key))
	q.Refuse("")
	w.emptied(q)
	w.become(c.ID, conversion.Queued)
}

// Without a token nobody may call the webhook, whatever the call contains.
func TestNoWebhook(t *testing.T) {
	t.Parallel()
	w, _ := newQueueWorld(t)
	for _, header := range []string{"", "Bearer", "Bearer "} {
		body := strings.NewReader(w.notification(w.bucket, "uploads/x"))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/events/s3", body)
		w.must(err)
		req.Header.Set("Authorization", header)
		resp, err := http.DefaultClient.Do(req)
		w.must(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %s", header, resp.Status)
		}
	}
	o := w.options
	o.EventToken = "short"
	if _, err := dispatcher.New(o); err == nil {
		t.Error("a short token is taken beside a queue")
	}
	o.EventToken, o.EventSource = "", nil
	if _, err := dispatcher.New(o); err == nil {
		t.Error("neither webhook nor queue: want an error")
	}
}
