package conversion

import (
	"errors"
	"testing"
	"time"
)

func TestUploadInParts(t *testing.T) {
	c, later := fresh(t), epoch.Add(time.Minute)
	wake := c.WakeAt
	if err := c.PlanParts("first", 16, epoch); err != nil {
		t.Fatal(err)
	}
	if want := (Upload{ID: "first", PartSize: 16, Parts: 7}); *c.Upload != want { // 6 of 16 bytes, 1 of 4
		t.Errorf("planned %+v, want %+v", *c.Upload, want)
	}
	planned := c.Upload
	if err := c.RestartUpload("first", "second", later); err != nil {
		t.Fatal(err)
	}
	if want := (Upload{ID: "second", PartSize: 16, Parts: 7}); *c.Upload != want || !c.UpdatedAt.Equal(later) || !c.WakeAt.Equal(wake) {
		t.Errorf("restarted: %+v at %s, next look at %s, want %+v, %s, %s", *c.Upload, c.UpdatedAt, c.WakeAt, want, later, wake)
	}
	if planned.ID != "first" {
		t.Error("the upload before was changed in place")
	}

	c = fresh(t)
	c.Object.Size = 0 // sent through the gateway
	if err := c.PlanParts("upload", 16, epoch); !errors.Is(err, ErrState) || c.Upload != nil {
		t.Errorf("parts of an unknown size: %v, %+v", err, c.Upload)
	}
}

// A refused object is recorded like any upload, so that it makes no second
// conversion.
func TestRejectUpload(t *testing.T) {
	c := fresh(t)
	failure := Failure{CodeLimitExceeded, "Too large."}
	o := Object{Key: "ignored", Version: "v", ETag: "e", Size: 1 << 40}
	key := c.Object.Key
	if err := c.RejectUpload(o, failure, epoch); err != nil {
		t.Fatal(err)
	}
	if want := (Object{Key: key, Version: "v", ETag: "e", Size: 1 << 40}); c.Object != want || *c.Error != failure || c.Notice.State != NoticeOwed {
		t.Errorf("rejected: %+v, %+v, notice %+v, want %+v", c.Object, *c.Error, c.Notice, want)
	}
}
