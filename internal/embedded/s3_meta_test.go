package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/versity/versitygw/backend/meta"
)

func TestAttributesLeaveOutLongPartLists(t *testing.T) {
	bucket := t.TempDir()
	f, err := os.Create(filepath.Join(bucket, "object"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := attributes{}
	if a.Test(f.Name()) != nil {
		return // this file system has no attributes, so the type is never used here
	}
	if err := a.StoreAttribute(f, bucket, "object", partsAttribute, make([]byte, 8<<10)); err != nil {
		t.Errorf("a long list: %v", err)
	}
	if _, err := a.RetrieveAttribute(f, bucket, "object", partsAttribute); !errors.Is(err, meta.ErrNoSuchKey) {
		t.Errorf("a long list: got %v, want %v", err, meta.ErrNoSuchKey)
	}
	if err := a.StoreAttribute(f, bucket, "object", partsAttribute, make([]byte, 1<<10)); err != nil {
		t.Errorf("a short list: %v", err)
	}
	if got, err := a.RetrieveAttribute(f, bucket, "object", partsAttribute); err != nil || len(got) != 1<<10 {
		t.Errorf("a short list: got %d bytes, %v", len(got), err)
	}
}
