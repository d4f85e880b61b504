package gateway

import (
	"fmt"
	"net/http"
	"testing"

	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

// A store without room is not one that is away.
func TestFullStores(t *testing.T) {
	for _, full := range []error{blob.ErrFull, conversion.ErrFull, account.ErrFull} {
		p := problemOf(fmt.Errorf("store something: %w: no space left on device", full))
		if p.Status != http.StatusInsufficientStorage || p.Code != "storage_full" || p.header.Get("Retry-After") != "60" {
			t.Errorf("%v becomes %d %s with %v", full, p.Status, p.Code, p.header)
		}
	}
}
