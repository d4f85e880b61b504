package sqsnotify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/blob/sqsnotify"
	"tonearm/internal/blob/sqsnotify/sqstest"
	"tonearm/internal/waittest"
)

const patience = 20 * time.Second // for what must happen, on a slow machine

var errFailed = errors.New("failed by the test")

func open(t *testing.T, q *sqstest.Queue) *sqsnotify.Queue {
	t.Helper()
	return with(t, sqsnotify.Options{QueueURL: q.URL, Region: sqstest.Region, AccessKey: sqstest.AccessKey, SecretKey: sqstest.SecretKey})
}

func with(t *testing.T, o sqsnotify.Options) *sqsnotify.Queue {
	t.Helper()
	n, err := sqsnotify.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReceive(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	const sent = 25
	for i := range sent {
		q.Send(fmt.Sprintf("böd¥ %d", i))
	}
	var mu sync.Mutex
	var got []string
	for _, want := range []int{10, 20, sent} {
		must(t, n.Consume(t.Context(), func(_ context.Context, body []byte) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(body))
			return nil
		}))
		if len(got) != want || len(q.Messages()) != sent-want {
			t.Errorf("received %d, %d are left; want %d and %d", len(got), len(q.Messages()), want, sent-want)
		}
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != sent || !slices.Contains(got, "böd¥ 7") {
		t.Errorf("got %q", got)
	}
}

// All messages of a batch are taken at once: each take waits until the last
// begins.
func TestReceiveAtOnce(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	for range 10 {
		q.Send("body")
	}
	var there atomic.Int32
	must(t, n.Consume(t.Context(), func(ctx context.Context, _ []byte) error {
		there.Add(1)
		waittest.Until(t, patience, "all are there", func() bool { return there.Load() == 10 })
		return nil
	}))
	if got := q.Messages(); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}

func TestReceiveNothing(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	ended := make(chan error, 1)
	go func() {
		ended <- n.Consume(t.Context(), func(context.Context, []byte) error { return errFailed })
	}()
	waittest.Until(t, patience, "it waits", func() bool { return q.Waits() == 1 })
	q.Advance(19 * time.Second)
	waittest.Until(t, patience, "it still waits", func() bool { return q.Waits() == 2 })
	q.Advance(time.Second)
	must(t, <-ended)
}

func TestReceiveWhatComesLater(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	ended := make(chan error, 1)
	go func() {
		ended <- n.Consume(t.Context(), func(context.Context, []byte) error { return nil })
	}()
	waittest.Until(t, patience, "it waits", func() bool { return q.Waits() == 1 })
	q.Send("body")
	must(t, <-ended)
	if got := q.Messages(); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}

// A failed message comes again, later each time, and holds up no other. In the
// end the redrive policy moves it away.
func TestFailedComesAgain(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	bad := q.Send("bad")
	var pauses []time.Duration
	for i := range 10 {
		good := fmt.Sprint("good ", i)
		q.Send(good)
		must(t, n.Consume(t.Context(), func(_ context.Context, body []byte) error {
			if string(body) == "bad" {
				return errFailed
			}
			return nil
		}))
		left := q.Messages()
		if len(left) != 1 || left[0].ID != bad || left[0].Received != i+1 {
			t.Fatalf("after %s: left %+v", good, left)
		}
		pauses = append(pauses, left[0].Hidden)
		q.Advance(left[0].Hidden)
	}
	s := time.Second
	if want := []time.Duration{5 * s, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 320 * s, 640 * s, 900 * s, 900 * s}; !slices.Equal(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
	q.Redrive(10)
	q.Send("good")
	must(t, n.Consume(t.Context(), func(context.Context, []byte) error { return nil }))
	if got := q.Dead(); !slices.Equal(got, []string{bad}) || len(q.Messages()) != 0 {
		t.Errorf("dead %v, left %+v", got, q.Messages())
	}
}

// Nobody else gets a message while it is worked on, and the work ends before
// others may see the message again.
func TestHiddenWhileTaken(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	q.Send("body")
	must(t, n.Consume(t.Context(), func(ctx context.Context, _ []byte) error {
		end, ok := ctx.Deadline()
		if got := q.Messages()[0]; !ok || got.Hidden < time.Until(end)+5*time.Second {
			t.Errorf("hidden for %s, deadline %s", got.Hidden, end)
		}
		return nil
	}))
}

func TestStopWhileWaiting(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- n.Consume(ctx, func(context.Context, []byte) error { return nil })
	}()
	waittest.Until(t, patience, "it waits", func() bool { return q.Waits() == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A message that was handled is deleted even though the process stops. Others
// go back at once, so that another process gets them.
func TestStopWhileTaking(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	q.Send("done")
	q.Send("not done")
	ctx, cancel := context.WithCancel(t.Context())
	must(t, n.Consume(ctx, func(taking context.Context, body []byte) error {
		cancel()
		<-taking.Done()
		if string(body) == "done" {
			return nil
		}
		return taking.Err()
	}))
	if got := q.Messages(); len(got) != 1 || got[0].Body != "not done" || got[0].Hidden != 0 {
		t.Errorf("left: %+v", got)
	}
}

// Errors are those of the queue. They have its code, and not its text, which
// may repeat what was sent.
func TestQueueRefuses(t *testing.T) {
	t.Parallel()
	q := sqstest.Start(t)
	n := open(t, q)
	body := func(context.Context, []byte) error { q.Refuse("AccessDenied"); return nil }
	fails := func(context.Context, []byte) error { q.Refuse("AccessDenied"); return errFailed }
	for name, call := range map[string]func() error{
		"SQS DeleteMessage: AccessDenied":           func() error { q.Send("body"); return n.Consume(t.Context(), body) },
		"SQS ChangeMessageVisibility: AccessDenied": func() error { q.Send("body"); return n.Consume(t.Context(), fails) },
		"SQS ReceiveMessage: AccessDenied":          func() error { q.Refuse("AccessDenied"); return n.Consume(t.Context(), body) },
	} {
		err := call()
		if err == nil || !strings.HasSuffix(err.Error(), name) || strings.Contains(err.Error(), sqstest.SecretKey) {
			t.Errorf("got %v, want %s", err, name)
		}
		q.Refuse("")
	}
	other := with(t, sqsnotify.Options{QueueURL: q.URL + "-other", Region: sqstest.Region, AccessKey: sqstest.AccessKey, SecretKey: sqstest.SecretKey})
	if err := other.Consume(t.Context(), body); err == nil || !strings.Contains(err.Error(), "QueueDoesNotExist") {
		t.Errorf("another queue: got %v", err)
	}
}

// Without keys the SDK's credentials and region are used.
func TestSettingsOfTheSDK(t *testing.T) {
	q := sqstest.Start(t)
	none := t.TempDir() + "/none"
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": sqstest.AccessKey, "AWS_SECRET_ACCESS_KEY": sqstest.SecretKey, "AWS_REGION": sqstest.Region,
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	o := sqsnotify.Options{QueueURL: q.URL, Region: "xx-test-1"}
	take := func(context.Context, []byte) error { return nil }
	q.Send("body")
	must(t, with(t, o).Consume(t.Context(), take))
	t.Setenv("AWS_REGION", "")
	if err := with(t, o).Consume(t.Context(), take); err == nil {
		t.Error("no region but the default one: want a refusal")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	o.Region = sqstest.Region
	if err := with(t, o).Consume(t.Context(), take); err == nil {
		t.Error("no credentials: want an error")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []sqsnotify.Options{
		{}, {QueueURL: "tonearm"}, {QueueURL: "https://sqs.eu-central-1.amazonaws.com"}, {QueueURL: "ftp://h/1/q"},
		{QueueURL: "https://h/1/q?x=1"}, {QueueURL: "https://u:p@h/1/q"}, {QueueURL: "https://h/1/q", AccessKey: "a"},
	} {
		if _, err := sqsnotify.New(t.Context(), o); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}
