package blob_test

import (
	"testing"

	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

func TestRecord(t *testing.T) {
	for _, tt := range []struct {
		object blob.Object
		want   conversion.Object
	}{
		{blob.Object{Key: "k", ETag: "e", Version: "v", Size: 1}, conversion.Object{Key: "k", ETag: "e", Version: "v", Size: 1}},
		{blob.Object{Key: "k", ETag: "e", Size: 1}, conversion.Object{Key: "k", ETag: "e", Version: "e", Size: 1}},
	} {
		if got := tt.object.Record(); got != tt.want {
			t.Errorf("%+v: got %+v, want %+v", tt.object, got, tt.want)
		}
	}
}
