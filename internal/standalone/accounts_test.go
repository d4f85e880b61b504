package standalone_test

import (
	"net/url"
	"strings"
	"testing"

	"tonearm/internal/api"
)

// TestStoreAccounts: what people get is signed by the gateway's account, not by the
// store's root account.
func TestStoreAccounts(t *testing.T) {
	a, _ := running(t, options(t))
	cv, err := login(t, a.PublicURL, true).Create(t.Context(), "key", api.NewConversion{Filename: "a.mp4", Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(cv.Upload.URL)
	if err != nil {
		t.Fatal("no URL")
	}
	signer, _, _ := strings.Cut(u.Query().Get("X-Amz-Credential"), "/")
	if signer == "" || signer == a.S3.AccessKey {
		t.Errorf("signed by %q; root is %q", signer, a.S3.AccessKey)
	}
}
