package conversion

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// checkRecord checks what is true of every conversion that was written at now.
func checkRecord(t *testing.T, c *Conversion, now time.Time) {
	t.Helper()
	noticed := c.Notice.State == NoticeOwed || c.Notice.State == NoticeSending
	owes := c.State == AwaitingUpload || c.State == Queued || c.State == Running || noticed ||
		!c.CleanAt.IsZero() || !c.SourceUntil.IsZero() || !c.MP3Until.IsZero() || c.SourceLeft || !c.RecordUntil.IsZero() || c.State == Deleted
	if owes && c.WakeAt.IsZero() {
		t.Error("something is owed and nobody will look")
	}
	if len(c.Outbox) > 0 && (c.WakeAt.IsZero() || c.WakeAt.After(now.Add(5*time.Second))) {
		t.Errorf("unpublished messages wait from %s until %s", now, c.WakeAt)
	}
	owed := c.Owed()
	switch {
	case c.State == Queued:
		if len(owed) != 1 || owed[0] != (Message{Kind: Work, Attempt: c.Attempt + 1, NotBefore: c.NotBefore}) {
			t.Errorf("queued owes %v", owed)
		}
	case noticed:
		if len(owed) != 1 || owed[0].Kind != Notify || owed[0].Attempt != c.Notice.Attempt ||
			c.State != Done && c.State != Failed {
			t.Errorf("%s with a notice %s owes %v", c.State, c.Notice.State, owed)
		}
	case len(owed) != 0:
		t.Errorf("%s with a notice %q owes %v", c.State, c.Notice.State, owed)
	}
	if noticed && (c.Notify == NotifyNone || c.Notify == NotifyFailures && c.State != Failed) {
		t.Errorf("a notice that nobody wants: %+v", c.Notice)
	}
	for _, m := range c.Outbox {
		if m.Kind != Stop && !slices.Contains(owed, m) {
			t.Errorf("%v is in the outbox and not owed", m)
		}
	}
	gpu := c.Options.Cover.Decodes()
	if want := map[bool]Class{true: GPU, false: CPU}[gpu && c.Fallback == nil]; c.Class != want ||
		c.Fallback != nil && (!gpu || c.Fallback.From != GPU || c.Fallback.At.IsZero()) {
		t.Errorf("cover %q in class %s with %+v", c.Options.Cover, c.Class, c.Fallback)
	}
	if limit := max(30*time.Second, now.Sub(c.QueuedAt)/2); c.State == Queued && c.Class == GPU && c.WakeAt.After(now.Add(limit)) && c.WakeAt.After(c.NotBefore.Add(limit)) {
		t.Errorf("it waits for a GPU since %s, and somebody looks at %s", c.QueuedAt, c.WakeAt)
	}
	if (c.State == Queued || c.State == Running) && c.QueuedAt.IsZero() {
		t.Error("queued at no time")
	}
	if c.State == Running && (c.Next != nil || c.Carrier != nil && c.Nonce == "") {
		t.Errorf("it runs, carried by %+v for nonce %q, and its launch went on with %+v", c.Carrier, c.Nonce, c.Next)
	}
	if c.Waiting != nil && c.State != Queued && (c.State != Running || c.Nonce != "") {
		t.Errorf("%s, claimed by %q, waits for %+v", c.State, c.Nonce, c.Waiting)
	}
	if c.State == Running && (c.Launch == "") != (c.Carrier != nil) {
		t.Errorf("launch %q, carried by %+v", c.Launch, c.Carrier)
	}
	if (c.State == Running) == c.LeaseUntil.IsZero() {
		t.Errorf("%s with a lease until %s", c.State, c.LeaseUntil)
	}
	if c.State.Terminal() == c.FinishedAt.IsZero() {
		t.Errorf("%s finished at %s", c.State, c.FinishedAt)
	}
	if !c.RecordUntil.IsZero() && (!c.State.Terminal() || c.State == Deleted) {
		t.Errorf("%s goes at %s", c.State, c.RecordUntil)
	}
	checkTimes(t, reflect.ValueOf(*c), "Conversion")
}

func checkTimes(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	if at, ok := v.Interface().(time.Time); ok {
		if at != at.UTC().Truncate(time.Millisecond) {
			t.Errorf("%s is %v, not UTC in milliseconds", name, at)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			checkTimes(t, v.Elem(), name)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			checkTimes(t, v.Field(i), name+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkTimes(t, v.Index(i), name)
		}
	}
}
