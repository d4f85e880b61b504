package dispatcher_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

func TestEventRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	good, err := blob.FormatNotification(blob.Event{Name: "ObjectCreated:Put", Bucket: w.bucket, Key: c.Object.Key})
	w.must(err)
	for name, r := range map[string]struct {
		token  string
		body   []byte
		status int
		code   string
	}{
		"no token":    {"", good, http.StatusUnauthorized, "unauthenticated"},
		"wrong token": {"token-of-somebody-else", good, http.StatusUnauthorized, "unauthenticated"},
		"part of it":  {eventToken[:len(eventToken)-1], good, http.StatusUnauthorized, "unauthenticated"},
		"no JSON":     {eventToken, []byte("hello"), http.StatusBadRequest, "invalid_request"},
		"a key twice": {eventToken, []byte(`{"Records":[{"eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a","key":"b","size":3}}}]}`), http.StatusBadRequest, "invalid_request"},
		"no records":  {eventToken, []byte("{}"), http.StatusBadRequest, "invalid_request"},
		"no key":      {eventToken, []byte(`{"Records":[{"eventName":"s3:ObjectCreated:Put"}]}`), http.StatusBadRequest, "invalid_request"},
		"too long":    {eventToken, []byte(`{"Records":[],"x":"` + strings.Repeat("x", 1<<20) + `"}`), http.StatusBadRequest, "invalid_request"},
	} {
		if status, code := w.post("/events/s3", r.token, r.body, nil); status != r.status || code != r.code {
			t.Errorf("%s: got %d %s, want %d %s", name, status, code, r.status, r.code)
		}
	}
	if got := w.read(c.ID).State; got != conversion.AwaitingUpload {
		t.Errorf("the conversion is %s", got)
	}
	if resp, err := http.Get(w.server.URL + "/events/s3"); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v %v", resp, err)
	}
}

func TestEventOfNoInterest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("owner", 0)
	for _, key := range []string{
		conversion.UploadKey("owner", conversion.NewID()), // belongs to no conversion
		conversion.UploadKey("other", c.ID),               // belongs to another owner
		"uploads/owner/" + c.ID + "/other",
		"uploads/x", "mp3s/owner/" + c.ID + "/1.mp3", "x", "inbox/file", "inbox/a@b", "inbox/a@b/", "inbox/a@b/../c",
		c.Object.Key, "inbox/a@b.c/not there.mp4", // the events come before the objects
	} {
		w.tell(key)
	}
	foreign, err := blob.FormatNotification(blob.Event{Name: "ObjectCreated:Put", Bucket: "other", Key: c.Object.Key})
	w.must(err)
	removed, err := blob.FormatNotification(blob.Event{Name: "ObjectRemoved:Delete", Bucket: w.bucket, Key: c.Object.Key})
	w.must(err)
	for _, body := range [][]byte{foreign, removed, []byte(`{"Event":"s3:TestEvent"}`), []byte(`{"Records":[]}`)} {
		if status, code := w.post("/events/s3", eventToken, body, nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", body, status, code)
		}
	}
	if got := w.read(c.ID); got.State != conversion.AwaitingUpload || got.Revision != c.Revision {
		t.Errorf("the conversion is %s, revision %d", got.State, got.Revision)
	}
	for outcome, want := range map[string]float64{
		"unknown_key": 2, "foreign_key": 8, "not_there": 2, "foreign_bucket": 1,
	} {
		if got := w.metric("tonearm_events_total", "outcome="+outcome); got != want {
			t.Errorf("%s counted %v times, want %v", outcome, got, want)
		}
	}
}

// Ten events at a time, and one that comes too early, make one message and one
// attempt.
func TestEventDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("owner", int64(len(source)))
	w.tell(c.Object.Key)
	w.put(c.Object.Key, source)
	status := make(chan int)
	for range 10 {
		go func() { status <- w.event(c.Object.Key) }()
	}
	for range 10 {
		if got := <-status; got != http.StatusOK {
			t.Errorf("answered %d", got)
		}
	}
	if got := w.read(c.ID); got.State != conversion.Queued || len(got.Outbox) != 0 || got.Object.ETag == "" {
		t.Errorf("%s, outbox %v, ETag %q", got.State, got.Outbox, got.Object.ETag)
	}
	if got := w.depth(queue.CPU); got != 1 {
		t.Errorf("%d messages", got)
	}
	w.run()
	c = w.become(c.ID, conversion.Done)
	w.tell(c.Object.Key)                                                                        // and once more when all is over
	if again := w.read(c.ID); again.Revision > c.Revision+1 || again.State != conversion.Done { // +1, because the outbox may be settled
		t.Errorf("a late event changed revision %d to %d, %s", c.Revision, again.Revision, again.State)
	}
	w.wantMP3(c)
	if got := w.launcher.started(c.ID); len(got) != 1 || got[1] != 1 {
		t.Errorf("attempts started: %v", got)
	}
	if got := w.metric("tonearm_events_total", "outcome=recorded"); got != 1 {
		t.Errorf("recorded %v times", got)
	}
}

func TestEventAfterDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("owner", int64(len(source)))
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.put(c.Object.Key, source)
	w.tell(c.Object.Key)
	if got := w.keys("uploads/"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	if got := w.read(c.ID).State; got != conversion.Deleted {
		t.Errorf("the conversion is %s", got)
	}
}

func TestUploadRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, u := range map[string]struct {
		declared int64
		content  string
		code     conversion.Code
	}{
		"empty":   {0, "", conversion.CodeEmpty},
		"shorter": {10, "short", conversion.CodeSizeMismatch},
	} {
		c := w.create("owner", u.declared)
		w.put(c.Object.Key, u.content)
		w.tell(c.Object.Key)
		c = w.read(c.ID)
		if c.State != conversion.Failed || c.Error.Code != u.code || c.Notice.State != conversion.NoticeOwed || c.Attempt != 0 {
			t.Errorf("%s: %s %v, notice %+v", name, c.State, c.Error, c.Notice)
		}
	}
	if got := w.metric("tonearm_conversions_finished_total", "state=failed"); got != 2 {
		t.Errorf("%v failures counted", got)
	}
	if got := w.depth(queue.Notice); got != 2 {
		t.Errorf("%d notices queued", got)
	}
}

// The store sends an event again if the answer was not 200.
func TestEventWhileStoresAreDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	for name, f := range map[string]*fault{"records": &w.records.before, "objects": &w.objects.fault} {
		f.always()
		if got := w.event(c.Object.Key); got != http.StatusServiceUnavailable {
			t.Errorf("%s down: %d", name, got)
		}
		f.never()
	}
	w.records.after.always() // written, but the answer was lost
	if got := w.event(c.Object.Key); got != http.StatusServiceUnavailable {
		t.Errorf("outcome unknown: %d", got)
	}
	w.records.after.never()
	w.tell(c.Object.Key)
	if got := w.read(c.ID).State; got != conversion.Queued {
		t.Errorf("the conversion is %s", got)
	}
	w.run() // publishes what could not be published because the answer was lost
	w.wantMP3(w.become(c.ID, conversion.Done))
}

// Without the queue the record keeps the message.
func TestEventWhileQueueIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis.SetError("LOADING")
	c := w.uploaded("owner")
	if c.State != conversion.Queued || len(c.Outbox) != 1 {
		t.Errorf("%s with outbox %v", c.State, c.Outbox)
	}
	w.redis.SetError("")
	w.run()
	w.wantMP3(w.become(c.ID, conversion.Done))
}

func TestSweepFindsUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lost := w.create("owner", int64(len(source)))
	never := w.create("owner", int64(len(source)))
	w.put(lost.Object.Key, source)
	w.run()
	w.clock.advance(31 * time.Second)
	w.wantMP3(w.become(lost.ID, conversion.Done))
	w.until("the sweep has looked for the other one", func() bool { return w.read(never.ID).Revision > never.Revision })
	c := w.read(never.ID)
	if c.State != conversion.AwaitingUpload || !c.WakeAt.After(w.clock.Now().Add(20*time.Second)) {
		t.Errorf("%s, next look at %s", c.State, c.WakeAt)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	c := w.create("owner", int64(len(source)))
	upload, err := w.objects.CreateUpload(ctx, c.Object.Key)
	w.must(err)
	part, err := w.objects.PresignPart(ctx, c.Object.Key, upload, 1, int64(len(source)), time.Minute, blob.Internal)
	w.must(err)
	w.must(store(ctx, onWire(part), source))
	w.act(c.ID, func(c *conversion.Conversion) error {
		c.Upload = &conversion.Upload{ID: upload, PartSize: 16 << 20, Parts: 1}
		return nil
	})
	w.run()
	w.clock.advance(time.Hour + time.Second)
	w.become(c.ID, conversion.Expired)
	w.until("it is counted", func() bool { return w.metric("tonearm_conversions_finished_total", "state=expired") == 1 })
	w.until("the open upload is aborted", func() bool {
		_, err := w.objects.Parts(ctx, c.Object.Key, upload)
		return err != nil && w.read(c.ID).Upload.ID == ""
	})
	if got := w.read(c.ID); got.WakeAt.Before(w.clock.Now()) || got.Notice.State != conversion.NoticeNone {
		t.Errorf("wakes at %s, notice %s", got.WakeAt, got.Notice.State)
	}
	w.clock.advance(time.Hour)
	w.until("nobody looks any more", func() bool { return w.read(c.ID).WakeAt.IsZero() })

	w.put(c.Object.Key, source) // the upload turns up after all
	w.tell(c.Object.Key)
	w.wantMP3(w.become(c.ID, conversion.Done))
}

// An upload that was under way when its time was over is found without an
// event: by the last look, and after that by a scan.
func TestExpiredLostEvent(t *testing.T) {
	t.Parallel()
	for name, scan := range map[string]time.Duration{"last look": time.Hour, "scan": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *dispatcher.Options) { o.OrphanScanEvery = scan })
			c := w.create("owner", int64(len(source)))
			w.run()
			w.clock.advance(time.Hour + time.Second)
			w.become(c.ID, conversion.Expired)
			if name == "scan" {
				w.clock.advance(time.Hour)
				w.until("the last look is over", func() bool { return w.read(c.ID).WakeAt.IsZero() })
			}
			w.put(c.Object.Key, source)
			if name == "last look" {
				w.until("the scan is over", func() bool { return w.metric("tonearm_orphan_objects") == 0 })
				w.clock.advance(time.Hour)
			}
			w.wantMP3(w.become(c.ID, conversion.Done))
		})
	}
}

// Uploads that take long hold up nobody, also in a store that answers a HEAD only
// once the upload has ended.
func TestUploadUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.objects.stored.Store(true)
	slow := w.create("owner", int64(len(source)))
	w.run()
	w.clock.advance(time.Hour + time.Second)
	w.become(slow.ID, conversion.Expired)
	w.objects.stored.Store(false)
	w.put(slow.Object.Key, source)
	w.clock.advance(time.Hour)
	w.wantMP3(w.become(slow.ID, conversion.Done))
}

// An object that is listed is there, however long its HEAD takes.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	w.objects.stored.Store(true)
	w.run()
	w.clock.advance(time.Hour + time.Second)
	w.until("it is looked at for longer", func() bool { return w.objects.headed.Load() > 1 })
	if got := w.read(c.ID).State; got != conversion.AwaitingUpload {
		t.Errorf("became %s", got)
	}
	w.objects.stored.Store(false)
	w.wantMP3(w.become(c.ID, conversion.Done))
}
